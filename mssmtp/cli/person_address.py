"""`mssmtp person change-usual-address`; `mssmtp bal keep`."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import print_json, print_table

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="Present usual address of the person.")
]


def change_usual_address(
    person: Person,
    new_address: Annotated[str, typer.Argument(metavar="NEW", help="The new usual address.")],
    letter: Annotated[
        str, typer.Option("--letter", help="Queue id of the letter to the support box.")
    ],
    last_name: Annotated[str, typer.Option("--last-name", help="As declared.")],
    first_name: Annotated[str, typer.Option("--first-name", help="As declared.")],
    rpps: Annotated[str, typer.Option("--rpps", help="RPPS or ADELI, as declared.")],
    activity: Annotated[str, typer.Option("--activity", help="As declared.")],
    postal_address: Annotated[str, typer.Option("--postal-address", help="As declared.")],
    telephone: Annotated[str, typer.Option("--telephone", help="As declared.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Change a usual address as its holder asked by a letter to the support box (SEED-50)."""
    given: Row = {
        "person": person,
        "new_address": new_address,
        "letter": letter,
        "last_name": last_name,
        "first_name": first_name,
        "national_id": rpps,
        "activity": activity,
        "postal_address": postal_address,
        "telephone": telephone,
    }
    _print(options.desk(config).row("person.change-usual-address", given), as_json=as_json)


def keep(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Restart the year after which a still box is closed: its holder objects (OP-48)."""
    _print(options.desk(config).row("bal.keep", {"address": address}), as_json=as_json)


def _print(found: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table("Done", ("what", "value"), list(found.items()))
