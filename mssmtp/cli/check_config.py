"""`mssmtp check-config`: the settings and every file they name."""

from __future__ import annotations

from mssmtp import app
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json


def check_config(config: options.Config = None, as_json: options.Json = False) -> None:
    """Read the settings and load what they name, as `serve` would, without starting anything."""
    path = options.config_path(config)
    settings = options.settings(path)
    app.check_files(settings)
    if as_json:
        print_json({"config_file": str(path), "ok": True})
    else:
        out.print(f"{path}: in order.", markup=False)
