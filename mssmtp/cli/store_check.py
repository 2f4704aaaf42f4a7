"""`mssmtp store check`: every invariant of the store, and what was looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json, print_table


def check(
    contents: Annotated[
        bool,
        typer.Option("--contents", "--deep", help="Open every sealed object and read it whole."),
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Verify every promise of the store, beside a running server too; exit 1 when one is broken."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        report = store.check(deep=contents)
    if as_json:
        print_json(
            {"sound": report.is_sound, "counted": report.counted, "problems": report.problems}
        )
    else:
        print_table("Looked at", ("what", "how many"), list(report.counted.items()))
        for problem in report.problems:
            out.print(problem, markup=False, style="red")
        if report.is_sound:
            out.print("Every invariant holds.", style="green")
    if not report.is_sound:
        raise typer.Exit(EXIT_TROUBLE)
