"""`mssmtp store check`: every invariant of the store, each with how many objects it was seen in."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, machine_names, out, print_json, print_table
from mssmtp.cli.progress import bars
from mssmtp.storage import CheckReport

_DEFAULT = "Without --contents: rows, counters, references, lengths, files, ledger; nothing opened."
_SHOWN = 50


def check(
    contents: Annotated[
        bool,
        typer.Option("--contents", "--deep", help="Open every sealed object and read it whole."),
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Verify every promise of the store, beside a running server too; exit 1 when one is broken.

    By default rows against one another, counters, references both ways, lengths and files, queue
    and ledger: more than 50,000 messages a second. With --contents also everything sealed.
    """
    settings = options.settings(config)
    with server.store_of(settings) as store, bars(as_json=as_json) as told:
        report = store.check(deep=contents, told=told)
    if as_json:
        print_json(_as_dict(report, contents=contents))
    else:
        _print(report, contents=contents)
    if not report.is_sound:
        raise typer.Exit(EXIT_TROUBLE)


def _as_dict(report: CheckReport, *, contents: bool) -> dict[str, object]:
    return {
        "sound": report.is_sound,
        "contents": contents,
        "counted": machine_names(report.counted),
        "verified": [
            {
                "invariant": found.name,
                "of": found.of,
                "says": found.says,
                "objects": found.objects,
                "problems": found.problems,
            }
            for found in report.verified
        ],
        "problems": report.problems,
    }


def _print(report: CheckReport, *, contents: bool) -> None:
    rows = [
        (
            found.name,
            f"each of {found.objects} {found.of}: {found.says}",
            f"{found.problems} broken" if found.problems else "ok",
        )
        for found in report.verified
    ]
    print_table("Invariants", ("name", "what was verified", ""), rows)
    for problem in report.problems[:_SHOWN]:
        out.print(problem, markup=False, style="red")
    if len(report.problems) > _SHOWN:
        out.print(f"and {len(report.problems) - _SHOWN} more; --json lists them", style="red")
    if report.is_sound:
        out.print("Every invariant holds.", style="green")
    else:
        out.print("Keep a copy of the home before anything else; docs/admin.md, « The store ».")
    if not contents:
        out.print(_DEFAULT)
