"""`mssmtp explain`: the decision about a message that passed, or one that might be sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mssmtp import receipts
from mssmtp.errors import ConfigError
from mssmtp.mail import Address, Door, EnvelopeId, Operator, Principal, Recipient, Stage
from mssmtp.message.scanner import Scan, ScanLimits, Scanner
from mssmtp.policy import Decision, facts_from_bytes
from mssmtp.receipts import Cause, Fate
from mssmtp.smtp.content import authors
from mssmtp.smtp.syntax import MailCommand
from mssmtp.smtp.transaction import Destination, Transaction
from mssmtp.smtp_lookup import Services, about
from mssmtp.storage import Step

_BLOCK_OCTETS = 65_536


@dataclass(frozen=True, slots=True)
class Question:
    """May `sender` write to `recipient`, with `message` (a file) if one is given?"""

    sender: Address
    recipient: Address
    message: Path | None = None


def of_envelope(services: Services, envelope: EnvelopeId) -> Decision | None:
    """What today's configuration says about a message that passed; None when it is not known.

    The sealed Facts of each decision are kept for `store.facts_kept`.
    """
    kept = services.store.read(lambda reading: reading.facts(envelope)).result()
    return None if kept is None else services.engine.decide(facts_from_bytes(kept))


@dataclass(frozen=True, slots=True)
class Became:
    """What became of one recipient: the last that is known, and every step to it."""

    recipient: str
    sentence: str
    steps: tuple[Step, ...]


def became(services: Services, envelope: EnvelopeId) -> tuple[Became, ...]:
    """Every recipient of a letter of whom something is known (messages.md §11)."""
    journey, waiting = services.store.read(
        lambda reading: (reading.journey(envelope), reading.queue_entry(envelope))
    ).result()
    by_recipient: dict[str, list[Step]] = {}
    for step in journey:
        by_recipient.setdefault(step.recipient, []).append(step)
    told = [
        Became(to, sentence(max(reversed(steps), key=lambda step: step.rank)), tuple(steps))
        for to, steps in by_recipient.items()
    ]
    still = [str(each.recipient.address) for each in waiting]
    told += [Became(to, _WAITING.format(envelope), ()) for to in still if to not in by_recipient]
    return tuple(told)


_WAITING = "Dans la file d'attente : `mssmtp queue why {}` dit pourquoi."


def sentence(step: Step) -> str:
    """One plain sentence for the sender."""
    if step.kind == "relais" and not step.report:
        return "Transmis à l'opérateur du destinataire."
    if step.result == "dropped":
        return "Pas remis : l'exploitation l'a retiré de la file d'attente."
    if step.result == "expired":
        return receipts.sentence(Fate.FAILED, Cause.UNREACHED)
    fate = Fate(step.result) if step.result in _TOLD else _OWN[step.kind]
    cause = Cause(step.cause) if step.cause else receipts.cause_in(step.detail)
    return receipts.sentence(fate, cause)


_TOLD = frozenset(fate.value for fate in Fate)
_OWN = {"remise": Fate.DELIVERED, "rejet": Fate.FAILED, "retard": Fate.DELAYED}
"""What this server writes of its own deliveries."""


def of_question(services: Services, question: Question) -> Decision:
    """The decision at RCPT, or at the end of the content when the question has a message."""
    transaction = _transaction(services, question.sender)
    found = services.store.read(about(services, transaction, question.recipient)).result()
    now = services.clock.now()
    at_rcpt = services.engine.decide(transaction.facts(Stage.RECIPIENT, now, [found]))
    if question.message is None or at_rcpt.final.reply is not None:
        return at_rcpt
    settled = at_rcpt.facts.recipients[0]
    transaction.add(Destination(Recipient(settled.address), settled))
    scan = _scan(services, question.message)
    named = authors(scan.header, services.trust.snapshot.lists)
    facts = transaction.content_facts(now, named, scan.size_octets, scan.attachments)
    return services.engine.decide(facts)


def _transaction(services: Services, sender: Address) -> Transaction:
    """As a session of that sender would have opened it: one of ours, or its listed operator."""
    snapshot = services.trust.snapshot
    is_ours = sender.domain in services.domains
    principal: Principal | None = None
    operator: Operator | None = None
    if is_ours:
        account = services.store.read(lambda reading: reading.account(str(sender))).result()
        if account is None:
            raise ConfigError(str(sender), "is no login here", "`mssmtp bal list` prints them.")
        principal = services.store.read(lambda reading: reading.principal(account.id)).result()
    else:
        operator = _operator_of(services, sender)
    return Transaction(
        MailCommand(sender),
        Door.SUBMISSION if is_ours else Door.OPERATOR,
        sender_is_local=is_ours,
        list_date=snapshot.list_date,
        own_unlisted=services.keys.unlisted,
        operator=operator,
        principal=principal,
        acting=principal.acting_in(sender) if principal else None,
    )


def _operator_of(services: Services, sender: Address) -> Operator:
    whitelist = services.trust.snapshot.listed
    names = sorted(whitelist.names(sender.domain))
    if not names:
        raise ConfigError(
            str(sender), "its domain is not in the whitelist", "Nobody may write from there."
        )
    row = whitelist.row(sender.domain, names[0])
    return Operator(
        dn=names[0],
        dn_text=row.dn if row else "",
        serial="",
        issuer_text="",
        domains=whitelist.domains_of(names[0]),
        list_date=whitelist.date,
        crl_number=None,
    )


def _scan(services: Services, path: Path) -> Scan:
    limits = services.settings.limits
    scanner = Scanner(ScanLimits(limits.header_octets, limits.mime_depth, limits.mime_parts))
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_OCTETS):
                scanner.feed(block)
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Name a file."
        ) from error
    return scanner.close()
