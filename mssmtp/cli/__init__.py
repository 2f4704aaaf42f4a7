"""The command `mssmtp`: one module per subcommand, no logic in any of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from mssmtp import __version__
from mssmtp.cli import serve
from mssmtp.errors import ConfigError, MailError, OperationRefused, own_words
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
    """Entry point: a wrong setting or a wrong use is one clear message, never a traceback."""
    if logging.lastResort is not None:  # what a room logs where no command has configured a log
        logging.lastResort.setFormatter(SentenceFormatter())
    command = _offered(is_server=sys.argv[1:2] == ["serve"])
    try:
        code = command(prog_name="mssmtp", standalone_mode=False)
    except (ConfigError, MailError) as error:
        _fail(error)
    except TyperException as error:
        _fail_use(error)
    if isinstance(code, int):  # of `typer.Exit`; a command gives nothing back
        raise SystemExit(code)


def _fail(error: ConfigError | MailError) -> NoReturn:
    from mssmtp.cli.output import EXIT_TROUBLE, EXIT_USAGE, fail, fail_config

    if isinstance(error, OperationRefused):
        code = EXIT_USAGE if error.is_usage else EXIT_TROUBLE
        fail(error.what, error.why, error.remedy, code)
    if isinstance(error, ConfigError):
        fail_config(error)
    # The store refused or cannot be read: the reply says what and what to do.
    fail("store", str(error), "`mssmtp doctor` looks for the cause.")


def _fail_use(error: TyperException) -> NoReturn:
    """A command line that is wrong: which command, why, and how it is written."""
    from mssmtp.cli.output import fail

    said = " ".join(own_words(error.format_message()).split())
    if not said:  # no command was named, and help is printed already
        raise SystemExit(error.exit_code)
    context = getattr(error, "ctx", None)  # of which command, where one was recognised
    if context is None:
        fail("mssmtp", said, "`mssmtp --help` lists the commands.", error.exit_code)
    path = context.command_path
    usage = " ".join(context.get_usage().split())
    options = (option.opts[0] for option in context.command.params if option.required)
    needed = "".join(f"{name} … " for name in options if name.startswith("-"))
    usage = usage.replace("[OPTIONS]", f"{needed}[OPTIONS]", 1)
    what = path.removeprefix("mssmtp").strip() or "command line"
    fail(what, said, f"{usage} (`{path} --help` says more)", error.exit_code)
