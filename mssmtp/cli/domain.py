"""`mssmtp domain`: the domains served here, and who controls them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mssmtp.asking import Desk, Row
from mssmtp.autoconfig import records
from mssmtp.cli import exporting, options
from mssmtp.cli.output import out, print_json, print_rows, print_table
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.own.keys import host_names
from mssmtp.tls_settings import load_certificate

app = typer.Typer(
    help="Domains served here: create, list, show, change, close, export, dns.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain served here.")]
Of = Annotated[str, typer.Option("--structure", help="FINESS or SIRET of the structure.")]


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Domains within one's scope, and who controls them."""
    rows = options.desk(config).rows("domain.list", {})
    print_rows("Domains", rows, "No structure has a domain yet.", as_json=as_json)


@app.command()
def export(file: exporting.File, config: options.Config = None) -> None:
    """Write the list to a file."""
    exporting.write(options.desk(config).rows("domain.list", {}), file)


@app.command()
def show(domain: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Who controls a domain, and which structures have it."""
    _print(options.desk(config).row("domain.show", {"domain": domain}), as_json=as_json)


@app.command()
def create(
    domain: Name, structure: Of, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Give a domain of the settings to a structure (SEED-03, OP-43); as `structure domain`."""
    _hold(options.desk(config), structure, domain, as_json=as_json)


@app.command()
def change(
    domain: Name, structure: Of, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Give a domain that one structure controls to another; its boxes are closed before."""
    given = {"structure": structure, "domain": domain}
    _print(options.desk(config).row("domain.change", given), as_json=as_json)


@app.command()
def close(
    domain: Name, structure: Of, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Take a domain away from a structure whose boxes in it are closed."""
    _hold(options.desk(config), structure, domain, as_json=as_json, remove=True)


@app.command()
def dns(domain: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Print the DNS records that let mail programs set themselves up from an address (CL-26)."""
    settings = options.settings(config)
    served = next((each for each in settings.operator.domains if each == domain.lower()), None)
    if served is None:
        raise ConfigError(
            f"« {domain} »",
            "n'est pas un domaine servi ici",
            "Choisissez-en un de operator.domains.",
        )
    found = records.records(settings, served)
    unnamed = _unnamed(settings, records.names(served))
    if as_json:
        rows = [asdict(each) for each in found]
        print_json({"domain": served, "records": rows, "names_missing_in_certificate": unnamed})
        return
    for each in found:
        out.print(str(each), markup=False)
    if unnamed:
        out.print(
            f"The certificate of the pages does not name {' and '.join(unnamed)}: order it with"
            " these names, or mail programs do not ask there.",
            markup=False,
            style="yellow",
        )


def _unnamed(settings: Settings, names: tuple[str, ...]) -> list[str]:
    """Of `names`, those that browsers and programs would not find in our certificate."""
    files = settings.web_certificate
    if settings.listen.web is None or files is None:
        return []
    held = host_names(load_certificate(files).leaf)
    return [
        each for each in names if each not in held and f"*.{each.partition('.')[2]}" not in held
    ]


def _hold(desk: Desk, structure: str, domain: str, *, as_json: bool, remove: bool = False) -> None:
    """A structure gets a domain or gives it back; who has it now is printed."""
    desk.row("structure.domain", {"structure": structure, "domain": domain, "remove": remove})
    _print(desk.row("domain.show", {"domain": domain}), as_json=as_json)


def _print(found: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table("Domain", ("what", "value"), list(found.items()))
