"""`mssmtp doctor`: findings with their remedy."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import doctor as room
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json

_COLOURS = {"error": "red", "warning": "yellow", "ok": "green"}


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Authenticate every sealed object too.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what is wrong or soon will be, why, and what to do; exit 1 on an error."""
    settings = options.settings(config)
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
