"""`mssmtp machine`: scanners and analysers that send by themselves (MAC-02)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.config import Settings
from mssmtp.identity import app_password
from mssmtp.machines import Machine, machines_of
from mssmtp.mail import Bal, BalState, BalType
from mssmtp.storage import Reading

app = typer.Typer(help="Scanners and analysers: list, password.", no_args_is_help=True)

Row = dict[str, object]


@app.command("list")
def list_machines(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every machine of the settings, and what keeps it from sending."""
    rows = list(_rows(options.settings(config)))
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print("There is no machine: docs/admin.md shows a table [[machines]].", markup=False)
        return
    columns = ("name", "box", "addresses", "known by", "state")
    print_table("Machines", columns, [tuple(row.values()) for row in rows])


def _rows(settings: Settings) -> Iterator[Row]:
    listen = settings.listen
    is_open = listen.appliances is not None or listen.appliances_tls is not None
    with server.store_of(settings) as store:
        for each in machines_of(settings.machines):
            bal = store.read(partial(_box_of, each)).result()
            ways = {"certificate": each.fingerprint, "password": each.password_hash}
            yield {
                "name": each.name,
                "box": str(each.box),
                "addresses": ", ".join(map(str, each.networks)),
                "known_by": ", ".join(way for way, value in ways.items() if value),
                "state": _state(each, bal) if is_open else "listen.appliances is closed: open it",
            }


def _box_of(machine: Machine, reading: Reading) -> Bal | None:
    return reading.bal(machine.box)


def _state(machine: Machine, bal: Bal | None) -> str:
    if bal is None:
        return f"no such box: `mssmtp bal add {machine.box} --type APP`"
    if bal.type is not BalType.APP:
        return f"its box is {bal.type}: only an APP box sends for a machine"
    return "ready" if bal.state is BalState.ACTIVE else f"its box is {bal.state}"


@app.command()
def password(as_json: options.Json = False) -> None:
    """Make a password for a machine: printed once, with the line for its table."""
    secret = app_password.new_password(server.ENTROPY)
    made = app_password.verifiers(secret, server.ENTROPY).argon2
    if as_json:
        print_json({"password": secret, "password_hash": made})
        return
    out.print(f"Password, for the device: {app_password.grouped(secret)}")
    out.print("Line for its table [[machines]]:", markup=False)
    out.print(f'password_hash = "{made}"', soft_wrap=True)
