"""`mssmtp store migrate`: the rows of a home from its SQLite file into PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, fail, machine_names, out, print_json, print_table
from mssmtp.cli.progress import bars

if TYPE_CHECKING:
    from mssmtp.storage.migrate import MovedTable
    from mssmtp.storage.model import CheckReport


def migrate(
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Let the SQLite file be opened again, as it was when left."),
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Move the store into the empty PostgreSQL database that store.database names.

    The server must be stopped. A move that was cut short goes on where it was. The SQLite file
    stays, marked, and is not opened any more.
    """
    from mssmtp.storage.migrate import NotTheSame, move  # the driver loads only here
    from mssmtp.storage.migrate import undo as undo_move

    settings = options.settings(config)
    if undo:
        undo_move(settings.store.home)
        _told_of_undo(as_json)
        return
    try:
        with bars(as_json=as_json) as told:
            tables = move(settings.store, server.CLOCK.now(), told)
    except NotTheSame as error:
        fail(
            f"table {error}",
            "differs after it was copied twice; nothing was switched over",
            "Check both disks. The SQLite store is untouched: leave store.database out to use it.",
        )
    with server.store_of(settings) as store:
        report = store.check()
    _print(tables, report, as_json=as_json)
    if not report.is_sound:
        raise typer.Exit(EXIT_TROUBLE)


def _told_of_undo(as_json: bool) -> None:
    if as_json:
        print_json({"undone": True})
        return
    out.print("The SQLite file may be opened again. Take store.database out of mssmtp.toml.")
    out.print(
        "What PostgreSQL has received since the move is not in it; its database is untouched, but"
        " belongs to this home no more. To move again, make a new one."
    )


def _print(tables: tuple[MovedTable, ...], report: CheckReport, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "tables": [
                    {"name": t.name, "rows": t.rows, "copied": t.copied, "digest": t.digest}
                    for t in tables
                ],
                "sound": report.is_sound,
                "counted": machine_names(report.counted),
                "problems": report.problems,
            }
        )
        return
    shown = [(t.name, t.rows, t.copied, t.digest[:16]) for t in tables]
    print_table("The same on both sides", ("table", "rows", "copied now", "digest"), shown)
    print_table("Looked at", ("what", "how many"), list(report.counted.items()))
    for problem in report.problems:
        out.print(problem, markup=False, style="red")
    if report.is_sound:
        out.print("Every invariant holds. Start the server: it serves from PostgreSQL now.")
    out.print(
        "The SQLite file stays in the home and is not opened any more; `--undo` takes that back."
    )
    out.print("Delete store.db once the first backup of the database has been proven.")
