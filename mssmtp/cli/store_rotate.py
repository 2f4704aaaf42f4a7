"""`mssmtp store rotate`: new keys, beside a running server; killed, it goes on when run again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import (
    EXIT_TROUBLE,
    EXIT_USAGE,
    fail,
    machine_names,
    out,
    print_json,
    print_table,
)
from mssmtp.cli.progress import Told, bars
from mssmtp.errors import BadAddress
from mssmtp.mail import domain
from mssmtp.storage import NoSuchBal, Owner, RotationReport, Store

_LEVELS = ("master", "bal", "domain", "all")
_SHOWN = 50

_MASTER, _OWNERS, _MESSAGES = "master key", "keys of owners", "keys of messages"


class _Run(Protocol):
    """The rotation of one level of keys."""

    def __call__(self, *, progress: partial[None]) -> RotationReport: ...


def rotate(
    what: Annotated[str, typer.Argument(help="master, bal, domain or all.")],
    whose: Annotated[str, typer.Argument(help="Address of the box, or the domain.")] = "",
    messages: Annotated[
        bool, typer.Option("--messages", help="Write every message anew under a key of its own.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sealed anew; change nothing.")
    ] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only write the next master key, to be copied first.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Give up rows that do not open; drop the old key.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Replace the master key, the key of a box or of a domain, or all of them.

    Nothing stops meanwhile. The old key is dropped once nothing needs it; the file of an old master
    key stays beside the new one, with its id in its name, until you remove it. Copy the new file to
    the safe place before anything else. Exit 1: rows did not open, and their old key is kept.
    """
    _require_sense(what, whose, messages=messages)
    settings = options.settings(config)
    with server.store_of(settings) as store, bars(as_json=as_json) as told:
        if prepare:
            _prepare(store, as_json=as_json)
            return
        owner = _owner(store, what, whose)
        if dry_run:
            _count(store, what, owner, as_json=as_json)
            return
        steps = _steps(store, what, owner, messages=messages, give_up=finish)
        reports = {name: _report(name, run, told) for name, run in steps.items()}
        store.scrub()
        key = store.read(lambda r: r.master_state(), patient=True).result().id
    _tell(reports, settings.store.master_key_file, key, as_json=as_json)
    if not all(report.is_finished for report in reports.values()):
        raise typer.Exit(EXIT_TROUBLE)


def _require_sense(what: str, whose: str, *, messages: bool) -> None:
    if what not in _LEVELS or (what in ("bal", "domain")) == (not whose):
        why = f"« {' '.join(filter(None, (what, whose)))} » is not a level of keys"
        remedy = "Write master, bal ADDRESS, domain DOMAIN, or all; --help says more."
        fail("store rotate", why, remedy, EXIT_USAGE)
    if messages and what == "master":
        remedy = "Use --messages with bal, domain or all."
        fail("store rotate", "no message hangs on the master key itself", remedy, EXIT_USAGE)


def _owner(store: Store, what: str, whose: str) -> Owner | None:
    """Whose key; None: everybody's."""
    if what == "bal":
        address = options.address(whose)
        found = store.read(lambda r: r.bal(address)).result()
        if found is None:
            fail(str(address), "is no box here", "`mssmtp bal list` prints them.")
        return found.id
    if what == "domain":
        try:
            named = domain(whose)
            store.read(lambda r: r.owner_ids(named)).result()
        except BadAddress as error:
            fail(f"« {whose} »", error.reply.text, "Write a domain, without @.", EXIT_USAGE)
        except NoSuchBal:
            why = "has no key here: it is not served, or nothing was sealed for it yet"
            fail(whose, why, "Nothing needs to be done.")
        return named
    return None


def _steps(
    store: Store, what: str, owner: Owner | None, *, messages: bool, give_up: bool
) -> dict[str, _Run]:
    steps: dict[str, _Run] = {}
    if what in ("master", "all"):
        steps[_MASTER] = partial(store.rotate_master, give_up=give_up)
    if what != "master":
        steps[_OWNERS] = partial(store.rotate_owners, owner, give_up=give_up)
        if messages:
            steps[_MESSAGES] = partial(store.rotate_messages, owner)
    return steps


def _report(name: str, run: _Run, told: Told) -> RotationReport:
    return run(progress=partial(told, name))


def _prepare(store: Store, *, as_json: bool) -> None:
    path, id = store.prepare_master()
    if as_json:
        print_json({"file": str(path), "key": id})
        return
    out.print(f"The next master key is {id}, in {path}.", markup=False)
    out.print("Copy it to the safe place and to every other node, then: mssmtp store rotate master")


def _count(store: Store, what: str, owner: Owner | None, *, as_json: bool) -> None:
    rows: dict[str, int] = {}
    if what in ("master", "all"):
        rows |= store.read(lambda r: r.rows_under_master(), patient=True).result()
    if what != "master":
        rows |= store.read(lambda r: r.rows_of(owner), patient=True).result()
    if as_json:
        print_json({"rows": rows, "total": sum(rows.values())})
        return
    print_table("Would be sealed anew", ("table", "rows"), list(rows.items()))
    out.print(f"{sum(rows.values())} rows; nothing was changed.")


def _tell(reports: dict[str, RotationReport], file: Path, key: str, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, dict[str, object]] = {
            name: {
                "renewed": report.renewed,
                "finished": report.is_finished,
                "damaged": report.damaged,
            }
            for name, report in reports.items()
        }
        if _MASTER in told:
            told[_MASTER] |= {"key": key, "file": str(file)}
        print_json(machine_names(told))
        return
    for name, report in reports.items():
        for one in report.damaged[:_SHOWN]:
            out.print(f"does not open: {one}", markup=False, style="red")
        out.print(f"{name}: {report.renewed} sealed anew")
        _tell_end(name, report, file, key)


def _tell_end(name: str, report: RotationReport, file: Path, key: str) -> None:
    """What has become of the old key, and what is left for the administrator to do."""
    if not report.is_finished and name == _MESSAGES:
        out.print(
            "  These letters cannot be read and were left as they are. Restore them from a backup;"
            " `mssmtp store check --contents` says more.",
            style="red",
        )
    elif not report.is_finished:
        out.print(
            "  The old key is kept for what does not open. Restore that from a backup and"
            " run this again, or give it up with --finish.",
            style="red",
        )
    elif name == _MESSAGES:
        out.print("  Letters of the last hour were left as they are: they may be on their way.")
    else:
        out.print("  The old key is needed by nothing any more.", style="green")
    if name == _MASTER and report.is_finished:
        out.print(
            f"  The key is {key} now, in {file}. Copy it to the safe places before anything else."
            " The former one lies beside it, its id in its name: keep it in the safe for old"
            " backups, and remove it from here.",
            markup=False,
        )
