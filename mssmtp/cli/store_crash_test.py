"""`mssmtp store crash-test`: what the store promises, tried in a laboratory of the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from mssmtp.cli.output import EXIT_USAGE, fail

_MODULE = "tests.crash.laboratory"


def crash_test(context: typer.Context) -> None:
    """Crash a throw-away store in every way there is and see what is left (docs/durability.md).

    Options: --seconds N, --seed N, --planted, --repeat STATE, --report FILE, --json; --help says
    all. No server and no real store is touched.
    """
    root = Path(__file__).parents[2]
    if not root.joinpath(*_MODULE.split(".")).with_suffix(".py").is_file():
        fail(
            "store crash-test",
            "the laboratory is part of the source code, not of an installed release",
            "Call `./run store crash-test` in a checkout.",
            EXIT_USAGE,
        )
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", _MODULE, *context.args]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})  # noqa: S606
