"""`mssmtp trust expected`: the rows the authority should publish for us."""

from __future__ import annotations

import csv
import sys
from dataclasses import astuple

import typer

from mssmtp import app as server
from mssmtp import own_rows
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, err, print_json
from mssmtp.errors import ConfigError

COLUMNS = (
    "Nom",
    "Description",
    "DNCertificatOperateur",
    "ResponsableContact",
    "SupportContact",
    "DateMAJ",
)


def expected(config: options.Config = None, as_json: options.Json = False) -> None:
    """Our rows, six columns, ready to send to ANS; exit 1 when the published ones differ."""
    settings = options.settings(config)
    if lacking := own_rows.lacking(settings):
        raise ConfigError(
            " and ".join(lacking),
            "not set, and the row of the list must hold it: peers call it when mail to us fails",
            "Write a name and an address there, or a telephone number and an address.",
        )
    now = server.CLOCK.now()
    rows = own_rows.expected_rows(settings, now)
    listed = server.stored_trust(settings).snapshot.whitelist
    found = () if listed is None else own_rows.differences(settings, rows, listed, now)
    if as_json:
        print_json(
            {
                "rows": [dict(zip(COLUMNS, astuple(row), strict=True)) for row in rows],
                "compared_with": None if listed is None else listed.date.isoformat(),
                "differences": [
                    {
                        "domain": each.domain,
                        "column": each.column,
                        "expected": each.expected,
                        "published": each.published,
                        "text": str(each),
                    }
                    for each in found
                ],
            }
        )
    else:
        table = csv.writer(sys.stdout, delimiter=";", lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(astuple(row) for row in rows)
        if listed is None:
            err.print("No list is in force to compare with.", style="yellow")
        else:
            _say(found, f"{listed.date:%Y-%m-%d %H:%M} UTC")
    if found:
        raise typer.Exit(EXIT_TROUBLE)


def _say(found: tuple[own_rows.Difference, ...], date: str) -> None:
    """On standard error: standard output is what is sent."""
    if not found:
        err.print(f"The list of {date} says the same.", style="green")
        return
    err.print(f"The list of {date} differs:", markup=False, style="red")
    for each in found:
        err.print(f"  {each.domain}: {each}", markup=False)
    err.print("Send the rows above to ANS, or correct our settings if the list is right.")
