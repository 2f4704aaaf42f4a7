"""`mssmtp config-example`: the commented example file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp.cli.output import fail
from mssmtp.config_example import OPERATOR_VALUES, render

COMMITTED = Path("config/operator.toml")


def config_example(
    check: Annotated[
        bool, typer.Option("--check", help=f"Fail when {COMMITTED} is not what would be printed.")
    ] = False,
) -> None:
    """Print every setting with its meaning and default, filled in for one node."""
    text = render(OPERATOR_VALUES)
    if not check:
        typer.echo(text, nl=False)
    elif not COMMITTED.is_file() or COMMITTED.read_text("utf-8") != text:
        fail(str(COMMITTED), "is out of date", f"Run: ./run config-example > {COMMITTED}")
