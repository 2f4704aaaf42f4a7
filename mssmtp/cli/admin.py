"""`mssmtp admin`: who administers what, and by what the doors know them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mssmtp import asking
from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_rows, print_table

app = typer.Typer(help="Administrators: add, list, remove; what each may do.", no_args_is_help=True)


class Level(StrEnum):
    """Those that one is named to."""

    OPERATOR = "operator"
    REGION = "region"
    STRUCTURE = "structure"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the administrator.")]


@app.command()
def add(
    name: Name,
    level: Annotated[Level, typer.Option("--level", help="operator, region or structure.")],
    structure: Annotated[
        str | None, typer.Option("--structure", help="FINESS or SIRET, for level structure.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Code of the region, for level region.")
    ] = None,
    certificate: options.AdministratorCertificate = None,
    user: options.AdministratorUser = None,
    login: Annotated[
        str | None, typer.Option("--login", help="Own account of the person, for the portal.")
    ] = None,
    address: options.AdministratorAddress = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Name an administrator of one's own scope or below."""
    given: Row = {
        "name": name,
        "level": level.value,
        "structure": structure,
        "region": region,
        "certificate_sha256": asking.fingerprint(certificate) if certificate else None,
        "user": user,
        "login": login,
        "address": address,
    }
    made = options.desk(config).row("admin.add", given)
    if as_json:
        print_json(made)
    else:
        print_table("Administrator", ("what", "value"), list(made.items()))


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Everybody in office within one's scope."""
    rows = options.desk(config).rows("admin.list", {})
    empty = "Nobody yet: mssmtp admin add NAME --level …"
    print_rows("Administrators", rows, empty, as_json=as_json)


@app.command()
def remove(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """End an office; the next call of that administrator is refused."""
    done = options.desk(config).row("admin.remove", {"name": name})
    if as_json:
        print_json(done)
    else:
        out.print(f"{name} administers nothing any more.", markup=False)


@app.command()
def operations(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every operation of the API, with the least level that may ask for it."""
    rows = asking.operations()
    print_rows("Operations", rows, "", as_json=as_json)
