"""`mssmtp bal delegation`, `hand-over`, `break-glass`: who may open the box of somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from mssmtp.admin.operation import Json
from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import local, out, print_json, print_table
from mssmtp.errors import ConfigError
from mssmtp.mail import DelegateRight

app = typer.Typer(help="Boxes that others may open with their own login.", no_args_is_help=True)

Box = Annotated[str, typer.Argument(metavar="BOX", help="Address of the holder's box.")]
Person = Annotated[str, typer.Argument(metavar="PERSON", help="Login of who may open it.")]
_RIGHTS = "read; reply: to who has written to the box; send: on behalf of the holder to anybody."
Right = Annotated[DelegateRight, typer.Option("--right", help=_RIGHTS)]
Until = Annotated[
    str | None,
    typer.Option("--until", help="End: 2026-12-31, or 2026-12-31T18:00; of operator.time_zone."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; the holder reads it.")]


@app.command()
def add(
    box: Box,
    person: Person,
    right: Right = DelegateRight.READ,
    until: Until = None,
    reason: Reason = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let a person open a holder's box; the holder is told, and each reading is written down."""
    given = {"address": box, "person": person, "right": right.value, "reason": reason}
    _say("bal.delegation.add", given | _until(until, config), config, as_json=as_json)


@app.command()
def end(
    box: Box,
    id: Annotated[int, typer.Argument(help="Number of the delegation, as `list` prints it.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Take one back; sessions that are open lose the box at their next command."""
    done = options.desk(config).row("bal.delegation.end", {"address": box, "id": id})
    if as_json:
        print_json(done)
    else:
        out.print(f"{box} is lent under number {id} no more.", markup=False)


@app.command("list")
def list_(box: Box, config: options.Config = None, as_json: options.Json = False) -> None:
    """Who may open a box, who could, since when, until when and why."""
    rows = options.desk(config).rows("bal.delegation.list", {"address": box})
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(f"Nobody but its holder opens {box}.", markup=False)
    else:
        columns = ("id", "person", "kind", "right", "begins", "until", "in_force", "reason", "by")
        print_table(box, columns, [tuple(row[key] for key in columns) for row in rows])


def hand_over(
    box: Box,
    person: Person,
    until: Annotated[
        str,
        typer.Option(
            "--until", help="End: 2026-12-31, or 2026-12-31T18:00; of operator.time_zone."
        ),
    ],
    right: Right = DelegateRight.READ,
    reason: Reason = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Name the colleague who looks after the box of who is absent, or has left (DEF-23)."""
    given = {"address": box, "person": person, "right": right.value, "reason": reason}
    _say("bal.hand-over", given | _until(until, config), config, as_json=as_json)


def break_glass(
    box: Box,
    person: Person,
    reason: Annotated[str, typer.Option("--reason", help="Why; its holder is told.")],
    hours: Annotated[int, typer.Option("--hours", min=1, max=24, help="For how long.")] = 1,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let a certified colleague read a box in an emergency, for hours (F10)."""
    given: dict[str, Json] = {"address": box, "person": person, "reason": reason, "hours": hours}
    _say("bal.break-glass", given, config, as_json=as_json)


def _say(name: str, given: Mapping[str, Json], config: options.Config, *, as_json: bool) -> None:
    done: Row = options.desk(config).row(name, given)
    if as_json:
        print_json(done)
        return
    until = local(str(done["until"])) if done["until"] else "it is taken back"
    out.print(f"{done['person']} may {done['right']} in {done['box']} until {until}.", markup=False)


def _until(text: str | None, config: options.Config) -> dict[str, str]:
    """The end of a day, or the moment written."""
    if text is None:
        return {}
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"« {text} »", "n'est pas une date", "Écrivez 2026-12-31, ou 2026-12-31T18:00+01:00."
        ) from error
    if len(text) == len("2026-12-31"):
        moment = moment.replace(hour=23, minute=59, second=59)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=options.zone(config))
    return {"until": moment.astimezone(UTC).isoformat()}
