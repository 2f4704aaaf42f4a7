"""The command `mssmtp`: one module per subcommand, no logic in any of them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from mssmtp import __version__
from mssmtp.asking import Refused
from mssmtp.cli import (
    admin,
    bal,
    check_config,
    config_example,
    demo,
    doctor,
    domain,
    explain,
    gateway,
    init,
    machine,
    person,
    person_devices,
    policy,
    queue,
    register,
    serve,
    store,
    structure,
    suspend,
    trust,
)
from mssmtp.cli.output import EXIT_TROUBLE, EXIT_USAGE, fail, fail_config
from mssmtp.errors import ConfigError, MailError
from mssmtp.log import SentenceFormatter

app = typer.Typer(
    name="mssmtp",
    help="An MSSanté operator. `mssmtp demo` shows it; `mssmtp init` begins a real one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mssmtp {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Exit codes: 0 well, 1 trouble was found or the work was refused, 2 wrong use or settings."""


person.app.add_typer(person_devices.app, name="app-password")
structure.app.command("app-passwords")(person_devices.allow)
app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("check-config")(check_config.check_config)
app.command("config-example")(config_example.config_example)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.add_typer(admin.app, name="admin")
app.add_typer(bal.app, name="bal")
app.add_typer(domain.app, name="domain")
app.add_typer(gateway.app, name="gateway")
app.add_typer(machine.app, name="machine")
app.add_typer(policy.app, name="policy")
app.add_typer(person.app, name="person")
app.add_typer(queue.app, name="queue")
app.add_typer(register.app, name="register")
app.add_typer(store.app, name="store")
app.add_typer(structure.app, name="structure")
app.add_typer(suspend.app, name="suspend")
app.add_typer(trust.app, name="trust")


def main() -> None:
    """Entry point: a wrong setting is one clear message, never a traceback."""
    if logging.lastResort is not None:  # what a room logs where no command has configured a log
        logging.lastResort.setFormatter(SentenceFormatter())
    try:
        app(prog_name="mssmtp")
    except Refused as error:
        code = EXIT_USAGE if error.is_usage else EXIT_TROUBLE
        fail(error.what, error.why, error.remedy, code)
    except ConfigError as error:
        fail_config(error)
    except MailError as error:
        # The store refused or cannot be read: the reply says what and what to do.
        fail("store", str(error), "`mssmtp doctor` looks for the cause.")
