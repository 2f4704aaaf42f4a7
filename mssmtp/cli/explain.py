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
from mssmtp.mail import EnvelopeId, masked_text
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
    """Print every rule asked, what it said and the facts that decided; exit 1 on a refusal.

    Of a queue id also what became of each recipient, as far as deliveries and reports have told.
    """
    settings = options.settings(config)
    became: list[dict[str, object]] = []
    with server.store_of(settings) as store:
        services = server.services_of(settings, store, server.stored_trust(settings))
        try:
            if "@" not in target:
                became = _became(services, EnvelopeId(target))
            decision = _decision(services, target, sender, message, may_lack=bool(became))
        except MailError as error:
            fail(target, error.reply.text, "Correct the message or the addresses.")
    if as_json:
        told = {} if decision is None else as_dict(decision)
        print_json(told | ({"became": became} if became else {}))
    else:
        for line in tree(decision) if decision is not None else ():
            out.print(line, markup=False)
        for each in became:
            out.print(f"{each['recipient']}: {each['sentence']}", markup=False)
    if decision is not None and not decision.is_accepted:
        raise typer.Exit(EXIT_TROUBLE)


def _became(services: Services, envelope: EnvelopeId) -> list[dict[str, object]]:
    """What became of each recipient, patients masked (OP-87)."""
    patients = frozenset(services.settings.policy.patient_domains)
    return [
        {
            "recipient": masked_text(one.recipient, patients),
            "sentence": one.sentence,
            "steps": [
                {
                    "at": step.at.isoformat(timespec="seconds"),
                    "event": step.kind,
                    "result": step.result,
                    "cause": step.cause,
                    "detail": masked_text(step.detail, patients),
                    "report": step.report,
                }
                for step in one.steps
            ],
        }
        for one in explaining.became(services, envelope)
    ]


def _decision(
    services: Services, target: str, sender: str | None, message: Path | None, *, may_lack: bool
) -> Decision | None:
    """`may_lack`: the facts of it may be gone (`store.facts_kept`), something else is known."""
    if "@" not in target:
        found = explaining.of_envelope(services, EnvelopeId(target))
        if found is None and not may_lack:
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
