"""`mssmtp store rebuild`: summaries and packs anew; killed, it goes on when run again."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, machine_names, out, print_json, print_table
from mssmtp.cli.progress import bars
from mssmtp.storage.rebuilding import RebuildReport

_SHOWN = 50


def rebuild(
    anew: Annotated[
        bool, typer.Option("--from-the-start", help="Do not go on where a stopped run was.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make what FETCH and SEARCH read fast anew from the messages, and compare.

    Summaries, packs of summaries, packs of texts for SEARCH. Nothing stops meanwhile. Exit 1: a
    message cannot be read. What differed was damaged, or made by an older release; it is replaced.
    """
    settings = options.settings(config)
    with server.store_of(settings) as store, bars(as_json=as_json) as told:
        report = store.rebuild(partial(told, "messages"), from_the_start=anew)
    _tell(report, as_json=as_json)
    if report.damaged:
        raise typer.Exit(EXIT_TROUBLE)


def _tell(report: RebuildReport, *, as_json: bool) -> None:
    sorts = {
        "summaries": report.summaries,
        "packs of summaries": report.packs,
        "packs of texts": report.texts,
    }
    if as_json:
        print_json(
            {
                "messages": report.messages,
                "resumed": report.resumed,
                "byte_identical": report.all_identical,
                "made": {
                    name: {
                        "identical": tally.identical,
                        "changed": tally.changed,
                        "missing": tally.missing,
                    }
                    for name, tally in machine_names(sorts).items()
                },
                "damaged": report.damaged,
            }
        )
        return
    rows = [
        (name, tally.total, tally.identical, tally.changed, tally.missing)
        for name, tally in sorts.items()
    ]
    columns = ("what", "made", "byte-identical", "replaced", "were missing")
    print_table(f"From {report.messages} messages", columns, rows)
    for one in report.damaged[:_SHOWN]:
        out.print(f"cannot be read: {one}", markup=False, style="red")
    if report.damaged:
        out.print(
            f"{len(report.damaged)} messages cannot be read: `mssmtp store check --contents`."
        )
    elif report.all_identical:
        out.print("Byte-identical: what was there is what the messages say.", style="green")
    if report.resumed:
        out.print("This run went on where the last one was stopped; it counts what it did itself.")
