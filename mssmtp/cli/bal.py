"""`mssmtp bal`: boxes and their logins; works while the server runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import (
    bal_certificate,
    bal_delegations,
    bal_load,
    bal_making,
    bal_members,
    bal_room,
    bal_wording,
    exporting,
    options,
    person_address,
)
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.identity.app_password import grouped
from mssmtp.mail import BalType, PersonState

app = typer.Typer(
    help="Boxes: made one by one or from a file, shown, stopped, closed; who else opens them.",
    no_args_is_help=True,
)
app.add_typer(bal_members.app, name="member")
app.add_typer(bal_delegations.app, name="delegation")
app.command()(bal_delegations.hand_over)
app.command()(bal_delegations.break_glass)
app.command()(bal_load.load)
app.command()(bal_load.template)
app.add_typer(bal_certificate.app, name="certificate")
app.command()(bal_making.create)
app.command()(bal_making.change)
app.command()(bal_making.declare)
app.command()(bal_making.rank)
app.command()(bal_making.red_list)
app.command()(person_address.keep)
app.command()(bal_room.quota)
app.command()(bal_room.sent_copy)
app.command()(bal_room.readings)
app.command()(bal_wording.auto_reply)
app.command()(bal_wording.signature)
app.command()(bal_wording.xdm)

_OF_MEMBERS = "none: members open it with their own (`mssmtp bal member add`)"
BoxAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")]


@app.command()
def add(
    address: BoxAddress,
    type: Annotated[BalType, typer.Option("--type", help="PER, ORG, APP, MED or INT.")],
    rpps: Annotated[str | None, typer.Option("--rpps", help="RPPS (11 digits), for PER.")] = None,
    adeli: Annotated[str | None, typer.Option("--adeli", help="ADELI, for PER.")] = None,
    usual: Annotated[
        str | None, typer.Option("--usual-address", help="Ordinary address of the holder.")
    ] = None,
    not_certified: Annotated[
        bool, typer.Option("--not-certified", help="The person is not certified yet.")
    ] = False,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="Login of a member, for ORG; repeatable.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password; else one is made.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make a working box and print its mail client settings and password, once."""
    given: Row = {
        "address": address,
        "type": type.value,
        "national_id": rpps or adeli,
        "usual_address": usual,
        "person": (PersonState.NOT_CERTIFIED if not_certified else PersonState.CERTIFIED).value,
        "members": member or [],
    }
    if password_stdin:
        given["password"] = sys.stdin.readline().rstrip("\r\n")
    made = options.desk(config).row("bal.add", given)
    if as_json:
        print_json(made)
        return
    doors = ("imap_tls", "imap_starttls", "submission_tls", "submission_starttls")
    rows = [
        ("address, user name", made["address"]),
        ("app password (shown once)", grouped(str(made["password"])) or _OF_MEMBERS),
        *((name.replace("_", ", "), made[name]) for name in doors if made[name]),
    ]
    print_table(f"Box added: {made['type']}", ("setting", "value"), rows)


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every box."""
    rows = options.desk(config).pages("bal.list", {})
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("No box yet: mssmtp bal add ADDRESS --type PER --rpps …", markup=False)
    else:
        print_table("Boxes", tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def show(address: BoxAddress, config: options.Config = None, as_json: options.Json = False) -> None:
    """One box: state, what is missing before it works, devices, mailboxes."""
    box = options.desk(config).row("bal.show", {"address": address})
    if as_json:
        print_json(box)
        return
    devices, mailboxes = box.pop("devices"), box.pop("mailboxes")
    print_table("Box", ("what", "value"), list(box.items()))
    for title, rows in (("Devices", devices), ("Mailboxes", mailboxes)):
        if isinstance(rows, list) and rows:
            print_table(title, tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def suspend(
    address: BoxAddress, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Suspend a box: its login is refused and its mail deferred with 450 4.2.1 (OP-50)."""
    _move("bal.suspend", address, config, as_json=as_json)


@app.command()
def activate(
    address: BoxAddress, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Make a suspended box active again, when nothing is missing."""
    _move("bal.activate", address, config, as_json=as_json)


@app.command()
def close(
    address: BoxAddress, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Close a box for ever: nobody else is given its address (OP-51)."""
    _move("bal.close", address, config, as_json=as_json)


def _move(operation: str, address: str, config: options.Config, *, as_json: bool) -> None:
    moved = options.desk(config).row(operation, {"address": address})
    if as_json:
        print_json(moved)
    else:
        out.print(f"{moved['address']} is {moved['state']}.", markup=False)


@app.command()
def export(file: exporting.File, config: options.Config = None) -> None:
    """Write the list to a file."""
    exporting.write(options.desk(config).pages("bal.list", {}), file)
