"""`mssmtp serve`: the server."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import serving
from mssmtp.cli import options


def serve(
    config: options.Config = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Processes sharing the ports.")
    ] = 2,
) -> None:
    """Run every door the settings name until SIGTERM; what is in flight is finished."""
    raise typer.Exit(serving.serve(options.config_path(config), workers))
