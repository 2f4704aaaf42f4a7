"""The command `mssmtp`: one module per subcommand, no logic in any of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, NoReturn

import typer

from mssmtp import __version__
from mssmtp.cli import serve
from mssmtp.errors import ConfigError, MailError, OperationRefused
from mssmtp.log import SentenceFormatter


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mssmtp {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Exit codes: 0 well, 1 trouble was found or the work was refused, 2 wrong use or settings."""


@cache
def _offered(*, is_server: bool) -> Callable[..., object]:
    """The commands that can be meant. A server carries no other than its own for as long as it
    runs: they would be a tenth of what an idle worker keeps in memory.

    Made once in a process: to make all of them takes a tenth of a second.
    """
    app = typer.Typer(
        name="mssmtp",
        help="An MSSanté operator. `mssmtp demo` shows it; `mssmtp init` begins a real one.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    if is_server:
        app.command("serve")(serve.serve)
    else:
        from mssmtp.cli.commands import offer

        offer(app)
    return typer.main.get_command(app)


def main() -> None:
    """Entry point: a wrong setting is one clear message, never a traceback."""
    if logging.lastResort is not None:  # what a room logs where no command has configured a log
        logging.lastResort.setFormatter(SentenceFormatter())
    try:
        _offered(is_server=sys.argv[1:2] == ["serve"])(prog_name="mssmtp")
    except (ConfigError, MailError) as error:
        _fail(error)


def _fail(error: ConfigError | MailError) -> NoReturn:
    from mssmtp.cli.output import EXIT_TROUBLE, EXIT_USAGE, fail, fail_config

    if isinstance(error, OperationRefused):
        code = EXIT_USAGE if error.is_usage else EXIT_TROUBLE
        fail(error.what, error.why, error.remedy, code)
    if isinstance(error, ConfigError):
        fail_config(error)
    # The store refused or cannot be read: the reply says what and what to do.
    fail("store", str(error), "`mssmtp doctor` looks for the cause.")
