"""What becomes of letters that wait for an unknown usual address: opened, or returned (SEED-35)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import bindparam, delete, select

from mssmtp.mail import Address, Bal, BalId, Envelope, EnvelopeId, Recipient
from mssmtp.storage.delivery import EnvelopeReading, StoredEnvelope
from mssmtp.storage.inviting import INVITED, invited_purpose
from mssmtp.storage.ledger import Line
from mssmtp.storage.mailboxes import INBOX
from mssmtp.storage.model import NoSuchBal, NoSuchMessage, Owner, from_us, to_us
from mssmtp.storage.packing import unpacked_recipient
from mssmtp.storage.queue import QueueWriting
from mssmtp.storage.schema import invited, sql
from mssmtp.storage.view import Row

_COLUMNS = (invited.c.envelope, invited.c.position, invited.c.sealed, invited.c.expires_at)
_FOR = sql(
    select(*_COLUMNS)
    .where(invited.c.digest == bindparam("digest"))
    .order_by(invited.c.envelope, invited.c.position)
)
_ENDED = sql(
    select(*_COLUMNS)
    .where(invited.c.expires_at <= bindparam("now"))
    .order_by(invited.c.expires_at)
    .limit(bindparam("most"))
)
_OF_OWNER = sql(
    select(*_COLUMNS)
    .where(invited.c.owner == bindparam("owner"))
    .order_by(invited.c.envelope, invited.c.position)
)
_GONE = sql(
    delete(invited)
    .where(invited.c.envelope == bindparam("envelope"))
    .where(invited.c.position == bindparam("position"))
)


@dataclass(frozen=True, slots=True)
class Invited:
    """One letter that waits for one address. `owner` is whose key seals it."""

    envelope: Envelope
    position: int
    recipient: Recipient
    owner: Owner
    until: datetime


class InvitedReading(EnvelopeReading):
    """Looking at them."""

    def invited(self, address: Address) -> tuple[Invited, ...]:
        """Letters that wait for an address, oldest first; those that can be read."""
        found: list[Row] = []
        for digest in self._master_digests(INVITED, address.key):
            found += self._all(_FOR, digest=digest)
        letters = (self._opened_invited(row) for row in found)
        return tuple(each for each in letters if each and each.recipient.address == address)

    def ended_invitations(self, now: datetime, most: int) -> tuple[Invited, ...]:
        """Letters that have waited in vain."""
        found = (self._opened_invited(row) for row in self._all(_ENDED, now=to_us(now), most=most))
        return tuple(each for each in found if each is not None)

    def _opened_invited(self, row: Row) -> Invited | None:
        id, position, sealed, until = row
        octets = self._legible(self._master_open, invited_purpose(id, position), sealed)
        stored = self._envelope(EnvelopeId(id))
        if octets is None or stored is None:
            return None
        recipient = unpacked_recipient(json.loads(octets))
        owner = self._named_owner(stored.owner)
        return Invited(stored.envelope, position, recipient, owner, from_us(until))


class InvitedWriting(InvitedReading, QueueWriting):
    """Ending their wait."""

    def open_invited(self, letter: Invited, bal: BalId) -> None:
        """Whoever owns the address has proved it: the letter is in the box `bal` from now on.

        A box that has a script or an absence meets it as any letter that comes late, by the queue.
        Raises NoSuchMessage, NoSuchBal, Damaged.
        """
        stored, box = self._known_envelope(letter.envelope.id), self.bal_by_id(bal)
        if box is None:
            raise NoSuchBal
        if stored.blob is None or not self._drop_invited(letter):
            raise NoSuchMessage
        if box.reacts:
            self._queue_invited(stored, letter, box)
            return
        source, target = self._owner_key(stored.owner), self._bal_key(bal)
        self._share(stored.blob, source, target)
        mailbox = self._delivery_mailbox(bal, INBOX)
        at = to_us(self._vault.clock.now())
        copy = self._add_message(mailbox, (0, stored.size, at, stored.blob))
        if letter.envelope.sender is not None:
            self._remember_correspondent(bal, letter.envelope.sender)
        lines: list[Line] = [("recipient", str(letter.recipient.address))]
        place = {"mailbox": copy.mailbox, "uid_validity": copy.uid_validity, "uid": copy.uid}
        self._event("remise", letter.envelope.id, lines, (target, source), **place)
        self._count(stored, delivered=1)
        self.show_outcome(letter.envelope.id)

    def _queue_invited(self, stored: StoredEnvelope, letter: Invited, box: Bal) -> None:
        """Bound for the box from now on; other recipients of the letter have places below."""
        known = letter.recipient
        recipient = replace(known, address=box.address, typed=known.typed or known.address)
        place = len(stored.envelope.recipients) + letter.position
        key = self._owner_key(stored.owner)
        self._queue_one(stored.envelope, place, recipient, key, self.now())

    def return_invited(self, letter: Invited, reply: str) -> bool:
        """It was waited for in vain; the caller writes the DSN in the same job. False: it was
        opened meanwhile."""
        stored = self._known_envelope(letter.envelope.id)
        if not self._drop_invited(letter):
            return False
        lines: list[Line] = [("recipient", str(letter.recipient.address)), ("reply", reply)]
        key = self._owner_key(stored.owner)
        self._event("rejet", letter.envelope.id, lines, (key,), result="expired")
        self._count(stored, bounced=1)
        self.show_outcome(letter.envelope.id)
        return True

    def _drop_all_invited(self, owner: int, reason: str) -> None:
        """The sender's box is destroyed, and with it what it has sent and nobody has opened."""
        for row in self._all(_OF_OWNER, owner=owner):
            stored = self._known_envelope(EnvelopeId(row[0]))
            found = self._opened_invited(row)
            whom = "" if found is None else str(found.recipient.address)
            lines: list[Line] = [("recipient", whom), ("reply", reason)]
            self._event("rejet", row[0], lines, (self._owner_key(owner),), result="dropped")
            self._run(_GONE, envelope=row[0], position=row[1])
            self._count(stored, dropped=1)

    def _drop_invited(self, letter: Invited) -> bool:
        place = {"envelope": letter.envelope.id, "position": letter.position}
        return bool(self._run(_GONE, **place))
