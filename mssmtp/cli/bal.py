"""`mssmtp bal`: boxes and their logins; works while the server runs."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.accounts import NewBal, add_bal
from mssmtp.cli import bal_members, bal_room, options
from mssmtp.cli.output import fail, out, print_json, print_table
from mssmtp.config import Endpoint, Settings
from mssmtp.identity import national_id
from mssmtp.identity.app_password import grouped
from mssmtp.mail import Address, Bal, BalState, BalType, PersonState, masked
from mssmtp.storage import BalExists, NationalIdRequired, Reading

app = typer.Typer(help="Boxes: add, list, show, suspend; members, room.", no_args_is_help=True)
app.add_typer(bal_members.app, name="member")
app.command()(bal_room.quota)
app.command()(bal_room.sent_copy)
app.command()(bal_room.readings)

Row = dict[str, object]
Rows = list[Row]

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
    settings = options.settings(config)
    box = options.address(address)
    if box.domain not in settings.operator.domains:
        served = ", ".join(settings.operator.domains)
        fail(str(box), f"its domain is not served here ({served})", "Use a served domain.")
    new = NewBal(
        box,
        type,
        PersonState.NOT_CERTIFIED if not_certified else PersonState.CERTIFIED,
        national_id.required(type, rpps or adeli),
        options.address(usual) if usual else None,
        tuple(member or ()),
    )
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    with server.store_of(settings) as store:
        try:
            added = add_bal(store, new, server.ENTROPY, password)
        except (BalExists, NationalIdRequired) as error:
            fail(str(box), error.reply.text, "`mssmtp bal list` prints the boxes.")
    _print_added(added.bal, added.password, settings, as_json=as_json)


def _print_added(bal: Bal, password: str, settings: Settings, *, as_json: bool) -> None:
    listen = settings.listen
    doors = {
        "imap_tls": _place(settings, listen.imaps),
        "imap_starttls": _place(settings, listen.imap),
        "submission_tls": _place(settings, listen.submissions),
        "submission_starttls": _place(settings, listen.submission),
    }
    shown = _masked(bal.address, settings)
    if as_json:
        added = {"address": shown, "login": shown, "type": bal.type, "password": password}
        print_json(added | doors)
        return
    rows = [
        ("address, user name", shown),
        ("app password (shown once)", grouped(password)),
        *((name.replace("_", ", "), place) for name, place in doors.items() if place),
    ]
    print_table(f"Box added: {bal.type}", ("setting", "value"), rows)


def _place(settings: Settings, endpoint: Endpoint | None) -> str | None:
    return f"{settings.operator.host_name}:{endpoint.port}" if endpoint else None


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every box."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        rows = [_row(bal, settings) for bal in store.read(lambda r: r.bals()).result()]
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("No box yet: mssmtp bal add ADDRESS --type PER --rpps …", markup=False)
    else:
        print_table("Boxes", tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def show(address: BoxAddress, config: options.Config = None, as_json: options.Json = False) -> None:
    """One box: state, devices, mailboxes."""
    settings = options.settings(config)
    wanted = options.address(address)

    with server.store_of(settings) as store:
        found = store.read(lambda reading: _shown(reading, wanted, settings)).result()
    if found is None:
        fail(str(wanted), "is no box here", "`mssmtp bal list` prints them.")
    box, devices, mailboxes = found
    if as_json:
        print_json(box | {"devices": devices, "mailboxes": mailboxes})
        return
    print_table("Box", ("what", "value"), list(box.items()))
    for title, rows in (("Devices", devices), ("Mailboxes", mailboxes)):
        if rows:
            print_table(title, tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def suspend(
    address: BoxAddress, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Suspend a box: its login is refused and its mail deferred with 450 4.2.1 (OP-50)."""
    settings = options.settings(config)
    wanted = options.address(address)
    with server.store_of(settings) as store:
        bal = store.read(lambda r: r.bal(wanted)).result()
        if bal is None:
            fail(str(wanted), "is no box here", "`mssmtp bal list` prints them.")
        store.write(lambda w: w.set_bal_state(bal.id, BalState.SUSPENDED)).result()
    shown = _masked(bal.address, settings)
    if as_json:
        print_json({"address": shown, "state": BalState.SUSPENDED})
    else:
        out.print(f"{shown} is suspended.", markup=False)


def _shown(reading: Reading, wanted: Address, settings: Settings) -> tuple[Row, Rows, Rows] | None:
    """The box, its devices and its mailboxes."""
    bal = reading.bal(wanted)
    if bal is None:
        return None
    account = reading.account(str(bal.address))
    devices: Rows = [
        {
            "name": password.name,
            "created_at": _time(password.created_at),
            "last_used_at": _time(password.last_used_at),
            "revoked": password.revoked_at is not None,
        }
        for password in (reading.app_passwords(account.id) if account else ())
    ]
    mailboxes: Rows = [
        {
            "name": box.name,
            "messages": box.messages,
            "unseen": box.unseen,
            "size_octets": box.size_octets,
        }
        for box in reading.mailboxes(bal.id)
    ]
    return _row(bal, settings), devices, mailboxes


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _masked(address: Address, settings: Settings) -> str:
    return masked(address, frozenset(settings.policy.patient_domains))


def _row(bal: Bal, settings: Settings) -> Row:
    return {
        "address": _masked(bal.address, settings),
        "type": bal.type.value,
        "state": bal.state.value,
        "person": bal.person.value,
        "national_id": bal.national_id or "",
    }
