"""`mssmtp doctor`: findings with their remedy."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import cache
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import doctor as room
from mssmtp import joining as room_joining
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json
from mssmtp.config import Settings
from mssmtp.outside import DnsResolver
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import TrustFiles

_COLOURS = {"error": "red", "warning": "yellow", "ok": "green"}


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Authenticate every sealed object too.")
    ] = False,
    joining: Annotated[
        bool, typer.Option("--joining", help="The order of joining the trust space, ticked.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what is wrong or soon will be, why, and what to do; exit 1 on an error."""
    settings = options.settings(config)
    if joining:
        _joining(settings, as_json=as_json)
        return
    findings = room.examine(settings, server.CLOCK.now(), deep=deep)
    if as_json:
        print_json(
            [
                {"severity": f.severity, "what": f.what, "why": f.why, "remedy": f.remedy}
                for f in findings
            ]
        )
    else:
        for finding in findings:
            mark = f"[{_COLOURS[finding.severity]}]{finding.severity:<8}[/]"
            out.print(mark, end="")
            out.print(f"{finding.what}: {finding.why}. {finding.remedy}".strip(), markup=False)
    if any(finding.severity is room.Severity.ERROR for finding in findings):
        raise typer.Exit(EXIT_TROUBLE)


def _joining(settings: Settings, *, as_json: bool) -> None:
    out_ = settings.smtp_out
    resolver = DnsResolver(server.ENTROPY, out_.nameservers, out_.nameserver_port)
    outside = asyncio.run(room_joining.look(settings, resolver))
    state = TrustFiles(settings.store.home / "trust").state()

    @cache
    def trust() -> Snapshot:
        return server.stored_trust(settings).snapshot

    steps = room_joining.steps(settings, trust, state, outside, server.CLOCK.now())
    if as_json:
        print_json([asdict(step) | {"mark": step.mark} for step in steps])
    else:
        for step in steps:
            _print_step(step)
    if any(step.mark is room_joining.Mark.MISSING for step in steps):
        raise typer.Exit(EXIT_TROUBLE)


_MARKS = {
    room_joining.Mark.DONE: "[green]✓[/]",
    room_joining.Mark.MISSING: "[red]✗[/]",
    room_joining.Mark.PERSON: "[yellow]?[/]",
}


def _print_step(step: room_joining.Step) -> None:
    out.print(f"{_MARKS[step.mark]} ", end="")
    out.print(f"{step.number}. {step.title} — {step.who}", markup=False)
    if step.mark is not room_joining.Mark.DONE:
        out.print(f"     {step.todo}", markup=False)
    for check in step.checks:
        out.print(
            f"     [{'green' if check.holds else 'red'}]{'✓' if check.holds else '✗'}[/] ", end=""
        )
        out.print(f"{check.what}: {check.why}. {check.remedy}".strip(), markup=False)
