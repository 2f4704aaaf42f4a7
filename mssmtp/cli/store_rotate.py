"""`mssmtp store rotate`: new keys, beside a running server; killed, it goes on when run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, err, fail, out, print_json, print_table
from mssmtp.mail import Address, domain
from mssmtp.storage import Owner, RotationReport, Store

Rotate = Callable[[Callable[[int, int], None]], RotationReport]

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class _Step:
    """One level of keys."""

    name: str
    run: Rotate


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
    if what not in ("master", "bal", "domain", "all") or (what in ("bal", "domain")) == (not whose):
        fail("store rotate", "is: master, bal ADDRESS, domain DOMAIN, or all", "See --help.", 2)
    if messages and what == "master":
        fail("store rotate", "a master key has no messages", "Use bal, domain or all.", 2)
    settings = options.settings(config)
    with server.store_of(settings) as store:
        if prepare:
            _prepare(store, as_json=as_json)
            return
        owner = _owner(store, what, whose)
        if dry_run:
            _count(store, what, owner, as_json=as_json)
            return
        steps = _steps(store, what, owner, messages=messages, give_up=finish)
        reports = {step.name: _run(step) for step in steps}
        store.scrub()
    _tell(reports, as_json=as_json)
    if not all(report.is_finished for report in reports.values()):
        raise typer.Exit(EXIT_TROUBLE)


def _owner(store: Store, what: str, whose: str) -> Owner | None:
    """Whose key; None: everybody's."""
    if what == "bal":
        found = store.read(lambda r: r.bal(Address.parse(whose))).result()
        if found is None:
            fail("store rotate", "there is no such box", "`mssmtp bal list` shows them.")
        return found.id
    return domain(whose) if what == "domain" else None


def _steps(
    store: Store, what: str, owner: Owner | None, *, messages: bool, give_up: bool
) -> list[_Step]:
    steps = []
    if what in ("master", "all"):
        run: Rotate = lambda told: store.rotate_master(give_up=give_up, progress=told)  # noqa: E731
        steps.append(_Step("master key", run))
    if what != "master":
        run = lambda told: store.rotate_owners(owner, give_up=give_up, progress=told)  # noqa: E731
        steps.append(_Step("keys of owners", run))
        if messages:
            run = lambda told: store.rotate_messages(owner, progress=told)  # noqa: E731
            steps.append(_Step("keys of messages", run))
    return steps


def _run(step: _Step) -> RotationReport:
    with _bar(step.name) as told:
        return step.run(told)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, silence elsewhere."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
    shown = err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=not shown) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


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


def _tell(reports: dict[str, RotationReport], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                name.replace(" ", "_"): {
                    "renewed": report.renewed,
                    "finished": report.is_finished,
                    "damaged": report.damaged,
                }
                for name, report in reports.items()
            }
        )
        return
    for name, report in reports.items():
        for one in report.damaged[:_SHOWN]:
            out.print(f"does not open: {one}", markup=False, style="red")
        out.print(f"{name}: {report.renewed} sealed anew")
        if report.is_finished:
            out.print("  The old key is needed by nothing any more.", style="green")
        else:
            out.print(
                "  The old key is kept for what does not open. Restore that from a backup and"
                " run this again, or give it up with --finish.",
                style="red",
            )
