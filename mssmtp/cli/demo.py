"""`mssmtp demo`: the throw-away trust space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp.outside import SystemClock, SystemEntropy


def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--directory", help="Where it lives; default: a temporary one, removed."),
    ] = None,
    base_port: Annotated[
        int, typer.Option("--base-port", min=1024, max=60_000, help="First of its ports.")
    ] = 20_000,
    accounts: Annotated[
        int, typer.Option("--accounts", min=1, max=5_000, help="Doctors per operator.")
    ] = 3,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=16, help="Workers per operator.")
    ] = 1,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            help="PostgreSQL in place of SQLite: postgresql://user@host/{}, where {} is the name of"
            " an operator; each needs an empty database.",
        ),
    ] = None,
    no_exchange: Annotated[
        bool, typer.Option("--no-exchange", help="Start it for other tests: no letter, no attack.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Prove, stop, exit 0 if all held.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Five operators on loopback: a letter crosses, five attacks are refused, all with proof."""
    from mssmtp.demo.session import Options, run  # the certificates' makers load only here

    options = Options(
        directory=directory,
        base_port=base_port,
        accounts=accounts,
        workers=workers,
        database=database,
        exchange=not no_exchange,
        once=once,
        as_json=as_json,
    )
    raise typer.Exit(run(options, SystemClock(), SystemEntropy()))
