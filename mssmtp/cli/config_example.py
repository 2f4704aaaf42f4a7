"""`mssmtp config-example`: the commented example file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp.cli.output import fail
from mssmtp.config_example import OPERATOR_VALUES, POSTGRESQL_VALUES, render

COMMITTED = Path("config/operator.toml")
EXAMPLES = {COMMITTED: OPERATOR_VALUES, Path("config/postgresql.toml"): POSTGRESQL_VALUES}


def config_example(
    check: Annotated[
        bool,
        typer.Option("--check", help="Fail when a file of config/ is not what would be printed."),
    ] = False,
    postgresql: Annotated[
        bool, typer.Option("--postgresql", help="With the rows in PostgreSQL, and a standby.")
    ] = False,
) -> None:
    """Print every setting with its meaning and default, filled in for one node."""
    if not check:
        typer.echo(render(POSTGRESQL_VALUES if postgresql else OPERATOR_VALUES), nl=False)
        return
    for file, values in EXAMPLES.items():
        if not file.is_file() or file.read_text("utf-8") != render(values):
            how = "" if file == COMMITTED else " --postgresql"
            fail(str(file), "is out of date", f"Run: ./run config-example{how} > {file}")
