"""Where an accepted letter goes: into boxes here, into the queue, back to its sender."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from mssmtp.gateways import Ways
from mssmtp.mail import Address, BalId, Domain, Facts, Recipient
from mssmtp.message import patients
from mssmtp.policy.engine import Decision
from mssmtp.smtp.transaction import Destination, Transaction, bounced
from mssmtp.smtp_lookup import Services
from mssmtp.storage import DELIVERED, INBOX, PATIENT, Letter, LocalDelivery


@dataclass(frozen=True, slots=True)
class Going:
    """One letter's ways. `returned`: to whom it does not go, and why; `place`: the mailbox here."""

    local: list[LocalDelivery]
    queued: list[Recipient]
    invited: list[Recipient]
    boxes: tuple[BalId, ...]
    """Of ours among its recipients, though a hospital's server may have the copy."""
    returned: dict[Address, str]
    place: str
    is_patient: bool

    @property
    def flags_of_sent(self) -> frozenset[str]:
        """Of the sender's own copy; what is delivered already is said at once."""
        flags = {"\\Seen"}
        flags |= {PATIENT} if self.is_patient else set()
        waits = self.queued or self.invited or self.returned
        flags |= set() if waits else {DELIVERED}
        return frozenset(flags)

    @classmethod
    def of(
        cls, services: Services, transaction: Transaction, decision: Decision, letter: Letter
    ) -> Going:
        """What was decided about `letter`, as ways."""
        settings, ways = services.settings, services.gateways.ways
        returned = bounced(decision)
        kept = [one for one in transaction.destinations if one.recipient.address not in returned]
        is_patient = _is_patients(decision.facts, letter, settings.policy.patient_domains)
        place = (
            patients.PATIENTS if is_patient and settings.imap.patient_tree == "separate" else INBOX
        )
        # RFC 4865: nobody gets a held letter before, neither here nor elsewhere.
        is_held = transaction.command.hold_until is not None
        local = [] if is_held else _deliveries(kept, ways, place, is_patient=is_patient)
        # Whoever is invited opens the letter here, or nobody does: it leaves by no way (DEF-04).
        known = [one for one in kept if not one.facts.is_invited]
        queued = [one.recipient for one in known if is_held or _is_queued(one, ways)]
        invited = [one.recipient for one in kept if one.facts.is_invited]
        boxes = tuple(one.bal.id for one in kept if one.bal is not None)
        return cls(local, queued, invited, boxes, returned, place, is_patient=is_patient)


def _deliveries(
    kept: list[Destination],
    ways: Callable[[Domain], Ways],
    mailbox: str,
    *,
    is_patient: bool,
) -> list[LocalDelivery]:
    """The copies in boxes here; a hospital's gateway may take them to its own servers instead."""
    patient = frozenset({PATIENT}) if is_patient else frozenset[str]()
    return [
        LocalDelivery(one.bal.id, one.recipient, mailbox, patient | to.marks)
        for one in kept
        if one.bal is not None and (to := ways(one.domain)).stores
    ]


def _is_queued(one: Destination, ways: Callable[[Domain], Ways]) -> bool:
    return one.bal is None or ways(one.domain).forwards


def _is_patients(facts: Facts, letter: Letter, domains: Collection[str]) -> bool:
    """DEF-05: by the envelope, which a hidden recipient is in, and by the header."""
    named = (facts.sender, *(recipient.address for recipient in facts.recipients))
    return any(address is not None and address.domain in domains for address in named) or (
        patients.concerns(letter.summary, domains)
    )
