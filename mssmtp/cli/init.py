"""`mssmtp init`: a real operator's home."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from mssmtp import home
from mssmtp.cli.options import Json
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.config_example import Value
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import Domain, domain
from mssmtp.outside import SystemClock, SystemEntropy


def init(
    directory: Annotated[Path, typer.Option("--home", help="Where the home is made.")] = Path(
        "mssmtp-home"
    ),
    served: Annotated[
        str | None, typer.Option("--domain", help="Domain to serve; default: this machine's.")
    ] = None,
    host_name: Annotated[
        str | None, typer.Option("--host-name", help="Mail host name; default: mx.DOMAIN.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", help="PostgreSQL database, empty; default: SQLite in the home."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--database-password-file", help="File of its password, 0600.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an operator's home (settings, key, empty store) and print what is missing."""
    chosen = _name(served or _own_domain(), "--domain")
    host = _name(host_name or f"mx.{chosen}", "--host-name")
    store: dict[str, Value] = {}
    if database is not None:
        store["store.database"] = database
    if password_file is not None:
        store["store.database_password_file"] = str(password_file.absolute())
    settings = home.create(directory, chosen, host, SystemClock(), SystemEntropy(), chosen=store)
    lacking = home.missing(settings)
    file = directory / home.SETTINGS_FILE
    if as_json:
        rows = [{"what": item.what, "remedy": item.remedy} for item in lacking]
        print_json({"config_file": str(file), "domain": chosen, "missing": rows})
        return
    out.print(f"Home made: {directory}. Settings: {file} (every one is explained there).")
    print_table("Still missing", ("what", "how to get it"), [(m.what, m.remedy) for m in lacking])
    out.print(f"Then: mssmtp check-config --config {file}", markup=False)


def _own_domain() -> str:
    return socket.getfqdn().partition(".")[2] or "mssante.example"


def _name(text: str, option: str) -> Domain:
    try:
        return domain(text)
    except BadAddress as error:
        raise ConfigError(option, f"« {text} » is not a domain name", "Give one.") from error
