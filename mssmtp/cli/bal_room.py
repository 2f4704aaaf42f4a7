"""`mssmtp bal quota`, `sent-copy`, `readings`: what a box may hold and keeps; who read what."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.errors import ConfigError

BoxAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")]
_UNITS = {"": 1, "k": 1_024, "m": 1_024**2, "g": 1_024**3}
_SIZE = re.compile(r"(\d{1,15})([kmg]?)i?b?\Z")


def quota(
    address: BoxAddress,
    octets: Annotated[
        str | None, typer.Option("--octets", help="Such as 5G; none; default (the settings').")
    ] = None,
    messages: Annotated[str | None, typer.Option("--messages", help="A number, or none.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """What a box holds and may hold; with --octets or --messages it is changed first."""
    desk = options.desk(config)
    changed: Row = {}
    if octets is not None:
        changed["octets"] = _limit("--octets", octets)
    if messages is not None:
        changed["messages"] = _limit("--messages", messages)
    named: Row = {"address": address}
    room = desk.row("bal.quota", named | changed) if changed else desk.row("bal.room", named)
    if as_json:
        print_json(room)
        return
    rows = [
        (what, room[what], room[f"most_{what}"] or "no limit") for what in ("octets", "messages")
    ]
    print_table(f"Room of {address}", ("of", "used", "limit"), rows)


def _limit(option: str, text: str | None) -> int | None:
    """0 is no limit, None the settings' own."""
    if text is None or text == "default":
        return None
    if text == "none":
        return 0
    found = _SIZE.match(text.lower())
    if found is None or not int(found[1]):
        raise ConfigError(
            option,
            f"« {text} » n'est pas une taille",
            "Écrivez 5G par exemple, ou none, ou default.",
        )
    return int(found[1]) * _UNITS[found[2]]


def sent_copy(
    address: BoxAddress,
    on: Annotated[
        bool | None,
        typer.Option("--on/--off", help="Whether a copy is filed in Sent at submission."),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Whether what is sent from a box is filed in its Sent (CL-80); with --on or --off, changed.

    A mail client that files its own copy makes no second one. Software that sends much may want
    none.
    """
    desk = options.desk(config)
    if on is None:
        kept = desk.row("bal.keeps-sent", {"address": address})
    else:
        kept = desk.row("bal.sent-copy", {"address": address, "on": on})
    if as_json:
        print_json(kept)
    else:
        what = "is filed in Sent" if kept["sent_copy"] else "is not kept"
        out.print(f"What is sent from {address} {what}.", markup=False)


def readings(
    address: BoxAddress,
    days: Annotated[int, typer.Option("--days", min=1, help="Of so many days.")] = 7,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Who fetched (releve) and who has seen (lu) which message, once for each person and day."""
    rows = options.desk(config).rows("bal.readings", {"address": address, "days": days})
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("Nothing was read.", markup=False)
    else:
        shown = [tuple("" if cell is None else cell for cell in row.values()) for row in rows]
        print_table(f"Readings of {address}", tuple(rows[0]), shown)
