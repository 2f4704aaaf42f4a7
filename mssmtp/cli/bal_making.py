"""`mssmtp bal create`, `change`, `declare`, `rank`, `red-list`: boxes of a structure, by type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import print_json, print_table
from mssmtp.mail import BalType

BoxAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")]
Responsible = Annotated[
    str | None,
    typer.Option("--responsible", help="RPPS of the professional responsible of an ORG box."),
]
AgreedOn = Annotated[
    datetime | None,
    typer.Option("--agreed-on", formats=["%Y-%m-%d"], help="Day the head of structure agreed."),
]


def create(
    type: Annotated[BalType, typer.Option("--type", help="ORG, APP, PER, MED, INT or CAB.")],
    structure: Annotated[
        str | None, typer.Option("--structure", help="FINESS or SIRET; one's own when left out.")
    ] = None,
    local: Annotated[str | None, typer.Option("--local", help="What stands before the @.")] = None,
    label: Annotated[str, typer.Option("--label", help="Name of the service or software.")] = "",
    phone: Annotated[str, typer.Option("--phone", help="Telephone.")] = "",
    service: Annotated[str, typer.Option("--service", help="Service.")] = "",
    holder: Annotated[
        str | None, typer.Option("--holder", help="Usual address of the person it is of.")
    ] = None,
    responsible: Responsible = None,
    agreed_on: AgreedOn = None,
    member: Annotated[
        list[str] | None, typer.Option("--rpps", help="Of a co-holder, for CAB; repeatable.")
    ] = None,
    red_list: Annotated[bool, typer.Option("--red-list", help="Not published (OP-54).")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make a box of a structure; it works as soon as nothing is missing."""
    given: Row = {
        "type": type.value,
        "structure": structure,
        "local": local,
        "label": label,
        "phone": phone,
        "service": service,
        "holder": holder,
        "responsible": responsible,
        "agreed_on": _day(agreed_on),
        "national_ids": member or [],
        "red_list": red_list,
    }
    _print(options.desk(config).row("bal.create", given), as_json=as_json)


def declare(
    address: BoxAddress,
    responsible: Responsible = None,
    agreed_on: AgreedOn = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record the responsible and the head's agreement of an ORG box (SEED-21)."""
    given: Row = {
        "address": address,
        "responsible": responsible,
        "agreed_on": _day(agreed_on),
    }
    _print(options.desk(config).row("bal.declare", given), as_json=as_json)


def change(
    address: BoxAddress,
    label: Annotated[
        str | None, typer.Option("--label", help="Name of the service or software.")
    ] = None,
    phone: Annotated[str | None, typer.Option("--phone", help="Telephone.")] = None,
    service: Annotated[str | None, typer.Option("--service", help="Service.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Change the label, the telephone or the service of a box; address and type never (OP-41)."""
    given: Row = {"address": address, "label": label, "phone": phone, "service": service}
    _print(options.desk(config).row("bal.change", given), as_json=as_json)


def rank(
    address: BoxAddress,
    rank: Annotated[int | None, typer.Option("--rank", help="1 is preferred.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say which box of a holder is the preferred one (OP-42)."""
    given: Row = {"address": address, "rank": rank}
    _print(options.desk(config).row("bal.rank", given), as_json=as_json)


def red_list(
    address: BoxAddress,
    on: Annotated[bool, typer.Option("--on/--off", help="Kept out of publication.")] = True,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Keep a box out of publication, or publish it again (OP-54)."""
    given: Row = {"address": address, "on": on}
    _print(options.desk(config).row("bal.red-list", given), as_json=as_json)


def _day(day: datetime | None) -> str | None:
    return day.replace(tzinfo=UTC).isoformat() if day else None


def _print(found: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table("Box", ("what", "value"), list(found.items()))
