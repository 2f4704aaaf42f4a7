"""`mssmtp trust explain`: who may speak for a domain, or what a certificate may do, right now."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import trust_explained as room
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, fail, out, print_json, print_table
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.mail import Domain
from mssmtp.own import Standing, standings_of
from mssmtp.trust import Snapshot
from mssmtp.whitelist_audit import certificates_of, read_file

_OF_FILES = frozenset({".pem", ".der", ".crt", ".cer"})
"""A mistyped path must not be told as a domain that is not listed."""
_COLOURS = {"accepted": "green", "deferred": "yellow", "refused": "red"}


def explain(
    target: Annotated[
        str, typer.Argument(metavar="DOMAIN|CERTIFICATE", help="A domain, or a PEM or DER file.")
    ],
    name: Annotated[
        str | None, typer.Option("--domain", help="With a certificate: may it speak for this one?")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Row, rule and reason, both ways, as decided now; exit 1 when something is not accepted."""
    settings = options.settings(config)
    snapshot, now = server.stored_trust(settings).snapshot, server.CLOCK.now()
    if Path(target).is_file():
        chain = certificates_of(read_file(Path(target)))
        if not chain:
            fail(target, "holds no certificate", "Give it in PEM or DER.")
        about = options.domain_name(name) if name is not None else None
        explained = room.of_certificate(chain, snapshot, settings, now, about)
    elif Path(target).suffix in _OF_FILES:
        raise ConfigError(target, "there is no such file", "Check the path.")
    else:
        wanted = options.domain_name(target)
        standing = _standing(settings, snapshot, wanted)
        explained = room.of_domain(wanted, snapshot, settings, now, standing)
    if as_json:
        print_json(asdict(explained))
    else:
        _print(explained)
    if not explained.is_accepted:
        raise typer.Exit(EXIT_TROUBLE)


def _standing(settings: Settings, snapshot: Snapshot, wanted: Domain) -> Standing | None:
    found = (
        standings_of(settings, snapshot.whitelist) if wanted in settings.operator.domains else ()
    )
    return next((each for each in found if each.domain == wanted), None)


def _print(explained: room.Explained) -> None:
    out.print(explained.what, markup=False, style="bold")
    for name, value in explained.facts:
        out.print(f"  {name}: {value}", markup=False)
    for each in explained.verdicts:
        out.print(f"{each.way:<9}", end="", markup=False)
        out.print(f"[{_COLOURS[each.decision]}]{each.decision}[/]: ", end="")
        out.print(each.why, markup=False)
        out.print(f"          rule: {each.rule}", markup=False)
        if each.reply:
            out.print(f"          reply: {each.reply}", markup=False)
        if each.remedy:
            out.print(f"          {each.remedy}", markup=False)
    if explained.rows:
        columns = ("row", "domain", "certificate name", "support", "updated")
        rows = [
            (r.number or "earlier list", r.row.domain, r.row.dn, r.row.support, r.row.updated)
            for r in explained.rows
        ]
        print_table("Rows of the list in force", columns, rows)
    for near in explained.near:
        out.print(f"Almost: {near.dn} ({', '.join(near.domains[:5])})", markup=False)
        for kind, listed, presented in near.parts:
            out.print(f"  {kind}: list « {listed} », certificate « {presented} »", markup=False)
    for hint in explained.hints:
        out.print(f"Note: {hint}", markup=False)
