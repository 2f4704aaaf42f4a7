"""`mssmtp person notifications`: what of letters a person is told of, how often (SEED-47)."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import print_json, print_rows
from mssmtp.notices.choices import Pace

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="Usual address, or login, of the person.")
]
Box = Annotated[str | None, typer.Option("--box", help="One of the person's; the own one.")]
Arrival = Annotated[Pace | None, typer.Option("--arrival", help="A letter has come.")]
Opening = Annotated[
    Pace | None, typer.Option("--opening", help="One that was sent was opened: at-once or never.")
]
Sealing = Annotated[Pace | None, typer.Option("--sealing", help="One was sent: at-once or never.")]


def notifications(
    person: Person,
    box: Box = None,
    arrival: Arrival = None,
    opening: Opening = None,
    sealing: Sealing = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """What a person is told of, for each box; with an option, choose it. Codes, links, delegations
    and emergency access are always told."""
    wishes = {"arrival": arrival, "opening": opening, "sealing": sealing}
    given: Row = {event: pace.value for event, pace in wishes.items() if pace is not None}
    desk = options.desk(config)
    if given:
        rows = [desk.row("person.notify-of", {"person": person, "box": box, **given})]
    else:
        found = desk.rows("person.notifications", {"person": person})
        rows = [row for row in found if box in (None, row["box"])]
    if as_json:
        print_json(rows[0] if given else rows)
    else:
        print_rows(f"Notifications of {person}", rows, "No box yet.", as_json=False)
