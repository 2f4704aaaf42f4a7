"""`mssmtp config-example`: the commented example file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp.cli.output import fail
from mssmtp.config_example import GATEWAY_VALUES, OPERATOR_VALUES, POSTGRESQL_VALUES, render

COMMITTED = Path("config/operator.toml")
EXAMPLES = {
    COMMITTED: ("", OPERATOR_VALUES),
    Path("config/postgresql.toml"): (" --postgresql", POSTGRESQL_VALUES),
    Path("config/gateway.toml"): (" --gateway", GATEWAY_VALUES),
}


def config_example(
    check: Annotated[
        bool,
        typer.Option("--check", help="Fail when a file of config/ is not what would be printed."),
    ] = False,
    postgresql: Annotated[
        bool, typer.Option("--postgresql", help="With the rows in PostgreSQL, and a standby.")
    ] = False,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="With a hospital's mail server in front of us.")
    ] = False,
) -> None:
    """Print every setting with its meaning and default, filled in for one node."""
    if not check:
        values = GATEWAY_VALUES if gateway else OPERATOR_VALUES
        typer.echo(render(POSTGRESQL_VALUES if postgresql else values), nl=False)
        return
    for file, (how, values) in EXAMPLES.items():
        if not file.is_file() or file.read_text("utf-8") != render(values):
            fail(str(file), "is out of date", f"Run: ./run config-example{how} > {file}")
