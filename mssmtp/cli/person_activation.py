"""`mssmtp person notify` and `finalise`: accounts that were loaded and wait for their holders."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json
from mssmtp.cli.progress import bars


def notify(
    person: Annotated[
        str | None,
        typer.Argument(metavar="PERSON", help="Usual address; all who wait when none is given."),
    ] = None,
    structure: Annotated[
        str | None, typer.Option("--structure", help="FINESS or SIRET; one's own when left out.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also who was told before; the older link ends.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Mail people who were loaded the link with which they finalise their account."""
    desk = options.desk(config)
    if person is not None:
        told = [desk.row("person.notify", {"person": person})]
    else:
        with bars(as_json=as_json) as shown:
            told = []
            asked: Row = {"structure": structure, "again": again}
            while page := desk.rows(
                "structure.notify", asked | {"after": told[-1]["id"] if told else 0}
            ):
                told += page
                shown("prévenus", len(told), len(told))
    if as_json:
        print_json({"told": [row["person"] for row in told]})
    else:
        out.print(f"Liens envoyés : {len(told)}.", markup=False)


def finalise(
    attests: Annotated[
        bool,
        typer.Option(
            "--attests",
            help="The holder attests the three conditions: takes part in the care, accesses what is"
            " strictly needed, has informed the person.",
        ),
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Finalise an account as the portal does: from standard input the secret of the link (what
    follows its #) on one line, the chosen password on the next, and again."""
    token, password, again = (sys.stdin.readline().rstrip("\r\n") for _ in range(3))
    asked: Row = {"token": token, "password": password, "again": again, "attests": attests}
    found = options.desk(config).row("person.finalise", asked)
    if as_json:
        print_json(found)
    else:
        out.print(f"{found['person']} : {found['state']}, {found['box']}", markup=False)
