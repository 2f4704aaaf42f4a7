"""`mssmtp person app-password`: a password of its own for each device (CL-31)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_rows, print_table
from mssmtp.identity.app_password import grouped

app = typer.Typer(
    help="Passwords of mail programs: one per device, shown once, revocable.",
    no_args_is_help=True,
)

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="Usual address, or login, of the person.")
]


class Service(StrEnum):
    """What the program does."""

    BOTH = "both"
    IMAP = "imap"
    SMTP = "smtp"


@app.command()
def create(
    person: Person,
    device: Annotated[str, typer.Option("--device", help="Such as: Thunderbird, bureau 12.")],
    service: Annotated[
        Service, typer.Option("--service", help="imap reads, smtp sends; else both.")
    ] = Service.BOTH,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Its end; else 90 days without use.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make the password of one more device; it is shown once."""
    given: Row = {"person": person, "device": device, "service": service.value, "days": days}
    made = options.desk(config).row("person.app-password.create", given)
    if as_json:
        print_json(made)
        return
    shown = grouped(str(made["password"]))
    rows = [("user name", made["login"]), ("app password (shown once)", shown)]
    print_table(f"{device} of {person}", ("setting", "value"), rows)


@app.command("list")
def list_(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """The devices of a person, with their last use."""
    rows = options.desk(config).rows("person.app-password.list", {"person": person})
    print_rows(f"Devices of {person}", rows, "No device yet.", as_json=as_json)


@app.command()
def revoke(
    person: Person,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As the list prints it.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """End the password of a device; its sessions end at their next command."""
    given: Row = {"person": person, "number": number}
    done = options.desk(config).row("person.app-password.revoke", given)
    if as_json:
        print_json(done)
    else:
        out.print(f"{done['device']} can log in no more.", markup=False)


def allow(
    structure: Annotated[str, typer.Argument(metavar="STRUCTURE", help="FINESS or SIRET.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Whether its people may have any.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Whether the people of a structure may have application passwords (CL-31)."""
    done = options.desk(config).row("structure.app-passwords", {"structure": structure, "on": on})
    if as_json:
        print_json(done)
    else:
        what = "may have application passwords" if on else "log in by password no more"
        out.print(f"People of {done['structure']} {what}.", markup=False)
