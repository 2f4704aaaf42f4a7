"""`mssmtp explain`: why a message passes or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import explaining
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, fail, out, print_json
from mssmtp.errors import ConfigError, MailError
from mssmtp.mail import EnvelopeId
from mssmtp.policy import Decision, as_dict
from mssmtp.policy import explain as tree
from mssmtp.smtp_lookup import Services


def explain(
    target: Annotated[str, typer.Argument(help="Recipient's address, or a queue id.")],
    sender: Annotated[
        str | None, typer.Option("--from", help="Who would write; for an address.")
    ] = None,
    message: Annotated[
        Path | None, typer.Option("--message", help="File with the message: sizes, From too.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Print every rule asked, what it said and the facts that decided; exit 1 on a refusal."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        services = server.services_of(settings, store, server.stored_trust(settings))
        try:
            decision = _decision(services, target, sender, message)
        except MailError as error:
            fail(target, error.reply.text, "Correct the message or the addresses.")
    if as_json:
        print_json(as_dict(decision))
    else:
        for line in tree(decision):
            out.print(line, markup=False)
    if not decision.is_accepted:
        raise typer.Exit(EXIT_TROUBLE)


def _decision(
    services: Services, target: str, sender: str | None, message: Path | None
) -> Decision:
    if "@" not in target:
        found = explaining.of_envelope(services, EnvelopeId(target))
        if found is None:
            fail(
                target,
                "no decision is kept under this id",
                "Give an address and --from; for a domain, `mssmtp trust show DOMAIN`.",
            )
        return found
    if sender is None:
        raise ConfigError("--from", "is needed with an address", "Say who would write.")
    question = explaining.Question(options.address(sender), options.address(target), message)
    return explaining.of_question(services, question)
