"""`mssmtp structure`: clients of the operator, what they declared, what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from mssmtp import asking
from mssmtp.asking import Row
from mssmtp.cli import bal_wording, exporting, options
from mssmtp.cli.output import print_json, print_rows, print_table
from mssmtp.errors import ConfigError

app = typer.Typer(
    help="Structures: create, list, show, change, declare, close, export.", no_args_is_help=True
)

app.command()(bal_wording.templates)

Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="FINESS, SIRET or SIREN of the structure.")
]
OnDay = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Day; today.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the structure.")],
    finess: Annotated[str | None, typer.Option("--finess", help="FINESS, 9 characters.")] = None,
    siret: Annotated[str | None, typer.Option("--siret", help="SIRET or SIREN.")] = None,
    region: Annotated[str, typer.Option("--region", help="Code of the region.")] = "",
    health: Annotated[
        bool, typer.Option("--health-establishment", help="It is one: oSIS is asked for.")
    ] = False,
    administrator: Annotated[
        str | None, typer.Option("--administrator", help="Name of the first administrator.")
    ] = None,
    certificate: options.AdministratorCertificate = None,
    user: options.AdministratorUser = None,
    address: options.AdministratorAddress = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make a structure and its first administrator, as the request form says (SEED-38)."""
    given: Row = {
        "name": name,
        "finess": finess,
        "siret": siret,
        "region": region,
        "is_health_establishment": health,
    }
    if administrator is not None:
        given["administrator"] = {
            "name": administrator,
            "certificate_sha256": asking.fingerprint(certificate) if certificate else None,
            "user": user,
            "address": address,
        }
    _print(options.desk(config).row("structure.create", given), as_json=as_json)


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every structure within one's scope."""
    rows = options.desk(config).pages("structure.list", {})
    empty = "No structure yet: mssmtp structure create NAME --finess …"
    print_rows("Structures", rows, empty, as_json=as_json)


@app.command()
def export(file: exporting.File, config: options.Config = None) -> None:
    """Write the list to a file."""
    exporting.write(options.desk(config).pages("structure.list", {}), file)


@app.command()
def show(number: Number, config: options.Config = None, as_json: options.Json = False) -> None:
    """A structure, what it has declared, and what is missing before its boxes work."""
    _print(options.desk(config).row("structure.show", {"structure": number}), as_json=as_json)


@app.command()
def change(
    number: Number,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    finess: Annotated[str | None, typer.Option("--finess", help="Another FINESS.")] = None,
    siret: Annotated[str | None, typer.Option("--siret", help="Another SIRET or SIREN.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Another region.")] = None,
    invites: Annotated[
        str | None,
        typer.Option("--invites", help="Unknown usual addresses: portal, all (by SMTP too), off."),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Change the name, the numbers, the region, or whom it invites (DEF-09)."""
    given: Row = {
        "structure": number,
        "name": name,
        "finess": finess,
        "siret": siret,
        "region": region,
        "invites": invites,
    }
    _print(options.desk(config).row("structure.change", given), as_json=as_json)


@app.command()
def agree(
    number: Number,
    signed_by: Annotated[str, typer.Option("--signed-by", help="Who signed for the structure.")],
    on: OnDay = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record the agreement with the operator (SEED-41)."""
    given: Row = {"structure": number, "at": _at(on), "signed_by": signed_by}
    _print(options.desk(config).row("structure.agree", given), as_json=as_json)


@app.command()
def declare(
    number: Number,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="STEP",
            help="project-lead, administrator, data-protection-register, patient-notice or osis.",
        ),
    ],
    value: Annotated[
        list[str] | None, typer.Option("--value", help="As name=…; repeatable.")
    ] = None,
    on: OnDay = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record a legal step the structure has done (SEED-53)."""
    values: dict[str, str] = {}
    for each in value or ():
        name, is_pair, text = each.partition("=")
        if not is_pair:
            raise ConfigError(each, "n'est pas une paire", "Écrivez --value name=…")
        values[name] = text
    given: Row = {"structure": number, "kind": kind, "at": _at(on), "values": values}
    _print(options.desk(config).row("structure.declare", given), as_json=as_json)


@app.command()
def domain(
    number: Number,
    name: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain served here.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it away; its boxes are closed before.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give a structure its one domain: a generic one, or its own (SEED-03, OP-43); or take it."""
    given: Row = {"structure": number, "domain": name, "remove": remove}
    _print(options.desk(config).row("structure.domain", given), as_json=as_json)


@app.command()
def close(number: Number, config: options.Config = None, as_json: options.Json = False) -> None:
    """Close a structure whose boxes are closed; its administrators are out of office."""
    _print(options.desk(config).row("structure.close", {"structure": number}), as_json=as_json)


def _at(day: datetime | None) -> str:
    return (day.replace(tzinfo=UTC) if day else datetime.now(UTC)).isoformat()


def _print(found: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table("Structure", ("what", "value"), list(found.items()))
