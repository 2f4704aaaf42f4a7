"""`mssmtp check-config`: the settings and every file they name."""

from __future__ import annotations

import typer

from mssmtp import app
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, fail, out, print_json


def check_config(config: options.Config = None, as_json: options.Json = False) -> None:
    """Read the settings and load what they name, as `serve` would, without starting anything."""
    path = options.config_path(config)
    settings = options.settings(path)
    app.check_files(settings)
    expired = app.expired(settings)
    if as_json:
        print_json({"config_file": str(path), "ok": not expired, "expired": list(expired)})
        raise typer.Exit(EXIT_TROUBLE if expired else 0)
    for file in expired:
        fail(str(file), "the certificate has expired", "Order and install a new one now.")
    out.print(f"{path}: in order.", markup=False)
