"""`mssmtp domain`: the domains served here, and who controls them."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp.cli import exporting, options
from mssmtp.cli.output import print_json, print_rows, print_table

app = typer.Typer(
    help="Domains served here: list, show, export. `structure domain` gives one.",
    no_args_is_help=True,
)


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
def show(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain served here.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Who controls a domain, and which structures have it."""
    found = options.desk(config).row("domain.show", {"domain": domain})
    if as_json:
        print_json(found)
    else:
        print_table("Domain", ("what", "value"), list(found.items()))
