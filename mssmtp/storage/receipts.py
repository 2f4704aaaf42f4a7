"""What became of a letter that was sent from here, recipient by recipient (messages.md §11).

The ledger is the only place: outcomes of our own deliveries and what reports tell afterwards are
events of the letter's envelope. The copy in Sent shows the sum of them as keywords, so that the
sender sees it in any mail client (SEED-79, OP-93).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mssmtp.mail import Address, BalId, EnvelopeId, MailboxId, Recipient, Uid
from mssmtp.storage.delivery import DeliveryWriting, StoredEnvelope
from mssmtp.storage.ledger import Line
from mssmtp.storage.model import (
    DELIVERED,
    GIVEN_RIGHTS,
    OUTCOMES,
    Receipt,
    Step,
    TooManyKeywords,
    to_us,
)

Vouched = Callable[[Address], bool]
"""Whether who brings a report may speak of an address."""


class ReceiptWriting(DeliveryWriting):
    """Adding what a report tells."""

    def receive(
        self,
        bal: BalId,
        names: Sequence[str],
        receipts: Iterable[Receipt],
        vouched: Vouched,
        report: EnvelopeId,
    ) -> list[Receipt] | None:
        """Write what a report delivered to `bal` tells of a letter from there; what was new of it.

        None: no letter of the box has one of `names`. Only recipients of that letter, and of these
        only whom the bringer of the report is `vouched` for: a stranger's word changes nothing.
        """
        id = self.sent_envelope(bal, names)
        stored = None if id is None else self._envelope(id)
        if id is None or stored is None:
            return None
        return self._tell(stored, receipts, vouched, report)

    def tell(self, envelope: EnvelopeId, receipts: Iterable[Receipt]) -> None:
        """Write what this server itself knows of recipients of a letter, beside its outcomes."""
        stored = self._envelope(envelope)
        if stored is not None:
            self._tell(stored, receipts, lambda _: True, None)

    def _tell(
        self,
        stored: StoredEnvelope,
        receipts: Iterable[Receipt],
        vouched: Vouched,
        report: EnvelopeId | None,
    ) -> list[Receipt]:
        id, key = stored.envelope.id, self._owner_key(stored.owner)
        known = {(step.recipient, step.kind, step.result) for step in self.journey(id)}
        new = []
        for receipt in receipts:
            concerned = _concerned(receipt, stored.envelope.recipients, vouched)
            if concerned is None:
                continue
            told = (str(concerned.address), receipt.kind, receipt.result)
            if told in known:
                continue  # once more, or by both of two ways
            known.add(told)
            lines: list[Line] = [("recipient", told[0]), ("reply", receipt.detail)]
            clear = {"result": receipt.result, "cause": receipt.cause, "report": report}
            self._event(receipt.kind, id, lines, (key,), **clear)
            new.append(receipt)
            if receipt.kind == "lu":
                self._note_opening_elsewhere(stored, concerned.address)
        if new:
            self.show_outcome(id)
        return new

    def _note_opening_elsewhere(self, stored: StoredEnvelope, recipient: Address) -> None:
        """An MDN tells of it (SEED-62); what is opened here is seen by `readings` itself."""
        sender = self._named_owner(stored.owner)
        if isinstance(sender, str) or self.bal(recipient) is not None:
            return
        told = {
            "recipient": str(recipient),
            "at": to_us(self._vault.clock.now()),
            "envelope": stored.envelope.id,
        }
        self.note_opening(sender, told, self._sent_blob(stored.envelope.id))

    def show_outcome(self, envelope: EnvelopeId) -> None:
        """Give the sender's copies the keywords of what is known by now."""
        stored = self._envelope(envelope)
        owner = None if stored is None else self._named_owner(stored.owner)
        if stored is None or isinstance(owner, str) or owner is None:
            return
        copies = self._copies_of(owner, envelope)
        if not copies:
            return
        now = keywords(self.journey(envelope), stored.envelope.recipients)
        for mailbox, uid in copies:
            self._show(mailbox, uid, now)

    def _show(self, mailbox: MailboxId, uid: Uid, now: frozenset[str]) -> None:
        try:
            self.store_flags(mailbox, [uid], "+", now, GIVEN_RIGHTS)
            self.store_flags(mailbox, [uid], "-", OUTCOMES - now, GIVEN_RIGHTS)
        except TooManyKeywords:
            return  # the user's own 57 stay; the ledger knows


def keywords(steps: Iterable[Step], recipients: Iterable[Recipient]) -> frozenset[str]:
    """What the copy in Sent shows: that somebody will never have it, or not yet; that everybody
    has it; that somebody has read it."""
    last: dict[str, Step] = {}
    for step in steps:
        before = last.get(step.recipient)
        if before is None or step.rank >= before.rank:
            last[step.recipient] = step
    everybody = {str(one.address) for one in recipients}
    found = set()
    if any(step.is_failure for step in last.values()):
        found.add("$MSSFailed")
    if any(step.kind == "retard" for step in last.values()):
        found.add("$MSSDelayed")
    if any(step.kind == "lu" for step in last.values()):
        found.add("$MSSRead")
    has_it = {to for to, step in last.items() if step.kind in ("remise", "releve", "lu")}
    if everybody and everybody <= has_it:
        found.add(DELIVERED)
    return frozenset(found)


def _concerned(
    receipt: Receipt, recipients: Sequence[Recipient], vouched: Vouched
) -> Recipient | None:
    """Whom of the letter's recipients a receipt is about: by the address it was sent to, then by
    the one it reached. A box that the letter was handed on to answers for the only one of its
    operator."""
    for named in (receipt.original, receipt.final):
        for one in recipients:
            if named is not None and named in (one.address, one.typed):
                return one if vouched(one.address) else None
    if receipt.final is not None and not vouched(receipt.final):
        return None
    theirs = [one for one in recipients if vouched(one.address)]
    return theirs[0] if len(theirs) == 1 else None
