"""Accepting and refusing envelopes: everything one of them causes, in one commit (D1, D3)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import bindparam, insert, select

from mssmtp import metrics
from mssmtp.errors import Damaged
from mssmtp.mail import (
    Address,
    BalId,
    DeliverBy,
    Door,
    Envelope,
    EnvelopeId,
    Recipient,
    ReversePath,
)
from mssmtp.storage.arranging import ArrangementWriting
from mssmtp.storage.inviting import InvitingWriting
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.ledger import Line
from mssmtp.storage.model import (
    Accepted,
    Letter,
    LocalDelivery,
    Owner,
    Stored,
    Transfer,
    from_us,
    to_us,
)
from mssmtp.storage.packing import packed_recipient, unpacked_recipient
from mssmtp.storage.portions import portions, several
from mssmtp.storage.schema import envelopes, queue, sql
from mssmtp.storage.sent_letters import SentLetterWriting
from mssmtp.storage.view import Row, View

ENVELOPE = b"envelope\0"
RECIPIENT = b"recipient\0"

_NEW_ENVELOPE = sql(insert(envelopes))
OPENABLE = (
    envelopes.c.at,
    envelopes.c.owner,
    envelopes.c.blob,
    envelopes.c.skip,
    envelopes.c.size,
    envelopes.c.sealed,
)
"""What `StoredEnvelope` is opened from, in its order."""
_ENVELOPE_ROW = sql(select(*OPENABLE).where(envelopes.c.id == bindparam("envelope")))
_ENVELOPE_ROWS = sql(
    select(envelopes.c.id, *OPENABLE).where(envelopes.c.id.in_(several("envelope_")))
)
_NEW_QUEUED = sql(insert(queue))


def packed_wishes(envelope: Envelope) -> dict[str, object]:
    """What the sender asks of the way (RFC 8689, 6710, 4865, 2852); nothing for most letters."""
    wishes: dict[str, object] = {}
    if envelope.require_tls:
        wishes["require_tls"] = True
    if envelope.priority:
        wishes["priority"] = envelope.priority
    if envelope.hold_until is not None:
        wishes["hold_until"] = to_us(envelope.hold_until)
    if (by := envelope.deliver_by) is not None:
        wishes["deliver_by"] = [to_us(by.deadline), by.mode, by.trace]
    return wishes


class _Wishes(TypedDict):
    require_tls: bool
    priority: int
    hold_until: datetime | None
    deliver_by: DeliverBy | None


def _unpacked_wishes(opened: Mapping[str, Any]) -> _Wishes:
    hold, by = opened.get("hold_until"), opened.get("deliver_by")
    return {
        "require_tls": bool(opened.get("require_tls")),
        "priority": int(opened.get("priority", 0)),
        "hold_until": None if hold is None else from_us(hold),
        "deliver_by": None if by is None else DeliverBy(from_us(by[0]), by[1], bool(by[2])),
    }


class StoredEnvelope:
    """An envelope row, opened: the envelope and where its content is."""

    __slots__ = ("blob", "envelope", "owner", "size", "skip", "traced")

    def __init__(
        self, id: EnvelopeId, row: tuple[int, int, int | None, int, int, bytes], key: OwnerKey
    ) -> None:
        at, self.owner, self.blob, self.skip, self.size, sealed = row
        opened = json.loads(key.open(ENVELOPE + id.encode(), sealed))
        sender = opened["sender"]
        self.traced = tuple((name, value) for name, value in opened["traced"])
        self.envelope = Envelope(
            id,
            Address.parse(sender) if sender is not None else None,
            tuple(unpacked_recipient(value) for value in opened["recipients"]),
            from_us(at),
            opened["envid"],
            opened["ret"],
            **_unpacked_wishes(opened),
        )


class EnvelopeReading(View):
    """Looking up envelopes."""

    def _envelope(self, id: EnvelopeId) -> StoredEnvelope | None:
        row = self._one(_ENVELOPE_ROW, envelope=id)
        return None if row is None else self._opened_envelope(id, row)

    def _opened_envelope(self, id: EnvelopeId, row: Row) -> StoredEnvelope:
        key = self._owner_key(row[1])  # first: of who was shredded nothing is remembered
        if (known := self._vault.known.envelopes.get((id, *row))) is not None:
            return known
        at, owner, blob, skip, size, sealed = row
        opened = StoredEnvelope(id, (at, owner, blob, skip, size, sealed), key)
        self._vault.known.envelopes.keep((id, *row), opened)
        return opened

    def _envelopes_of(self, ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, StoredEnvelope]:
        """As many of them as can be opened."""
        found: dict[EnvelopeId, StoredEnvelope] = {}
        for values in portions(envelope_=ids):
            for id, *row in self._all(_ENVELOPE_ROWS, **values):
                with suppress(Damaged):
                    found[EnvelopeId(id)] = self._opened_envelope(EnvelopeId(id), tuple(row))
        return found


class DeliveryWriting(EnvelopeReading, ArrangementWriting, SentLetterWriting, InvitingWriting):
    """The entrance of the store."""

    def accept(
        self,
        envelope: Envelope,
        letter: Letter,
        *,
        local: Sequence[LocalDelivery],
        queued: Sequence[Recipient],
        skip: int,
        owner: Owner,
        transfer: Transfer,
        facts: bytes,
        invited: Sequence[Recipient] = (),
    ) -> Accepted:
        """Take responsibility for a message: local copies, queue rows, trace, events, facts.

        One copy per BAL however many of its addresses are named. Recipients of the envelope that
        are nowhere named count as bounced: the caller writes their DSN in the same job. Who is
        `invited` has no box yet, and the caller tells them that the letter waits (DEF-09). `owner`
        is whose key seals what concerns the sender's side. Raises NoSuchBal.
        """
        waiting = len(queued) + len(invited)
        key = self._ensure_owner(owner)
        # Bounced for everybody: the facts of it are kept, the content is not.
        blob = self._adopt(letter, envelope.id) if local or waiting else 0
        kept = blob if waiting else None
        self._add_envelope(envelope, letter, key, (len(local), waiting, skip, kept))
        if transfer.door in (Door.SUBMISSION, Door.GATEWAY) and not isinstance(owner, str):
            self._note_sent(owner, self.now())
            # Of what a hospital brings no copy of the sender's lies here: reports find the letter.
            is_ours = transfer.door is Door.SUBMISSION
            self._remember_sent(envelope, letter, key, blob if is_ours else 0)
            if is_ours:
                self._note_letter(owner, blob, "sealing")
        events = [self._sealing_event(envelope, letter, key)]
        stored: dict[BalId, Stored] = {}
        for delivery in local:
            if delivery.bal not in stored:
                copy, digest = self._deliver(envelope, letter, blob, delivery, key)
                stored[delivery.bal] = copy
                events.append(digest)
        if waiting:
            # Whoever opens it later gets its summary from the sender's.
            self._refer(blob, key, letter, shown=bool(invited))
            self._enqueue(envelope, queued, key)
            self._invite(envelope, invited, key)
        addresses = [recipient.address for recipient in envelope.recipients]
        self._trace_transfer(envelope, addresses, transfer, key, letter)
        self._keep_facts(envelope.id, facts, key)
        self.effects.after.append(lambda: metrics.delivered.inc(len(stored)))
        return Accepted(stored, tuple(events))

    def reject(self, envelope: Envelope, transfer: Transfer, facts: bytes, *, owner: Owner) -> None:
        """Record a refusal: event, trace and facts; nothing else of the message is kept."""
        key = self._ensure_owner(owner)
        addresses = [recipient.address for recipient in envelope.recipients]
        lines: list[Line] = [*_sender_line(envelope.sender)]
        lines += [("recipient", str(address)) for address in addresses]
        lines.append(("reply", transfer.reply))
        self._event("rejet", envelope.id, lines, (key,))
        self._trace_transfer(envelope, addresses, transfer, key, (0, ()))
        self._drop_facts(envelope.id)  # one envelope may be refused recipient by recipient
        self._keep_facts(envelope.id, facts, key)

    def _add_envelope(
        self,
        envelope: Envelope,
        letter: Letter,
        key: OwnerKey,
        counts: tuple[int, int, int, int | None],
    ) -> None:
        local, queued, skip, blob = counts
        accepted = max(len(envelope.recipients), local + queued)
        opened = {
            "sender": None if envelope.sender is None else str(envelope.sender),
            "recipients": [packed_recipient(recipient) for recipient in envelope.recipients],
            "envid": envelope.envid,
            "ret": envelope.ret,
            "traced": letter.traced,
            **packed_wishes(envelope),
        }
        self._later(
            _NEW_ENVELOPE,
            id=envelope.id,
            at=to_us(envelope.received_at),
            owner=key.id,
            blob=blob,
            skip=skip,
            size=letter.size_octets,
            accepted=accepted,
            delivered=local,
            bounced=accepted - local - queued,
            dropped=0,
            sealed=key.seal(ENVELOPE + envelope.id.encode(), json.dumps(opened).encode()),
        )

    def _sealing_event(self, envelope: Envelope, letter: Letter, key: OwnerKey) -> str:
        lines: list[Line] = [*_sender_line(envelope.sender)]
        for to in envelope.recipients:
            lines.append(("recipient", str(to.typed or to.address)))
            if to.typed is not None:  # APX-04: the proof names the address that was used
                lines.append(("rewritten", str(to.address)))
        lines += [("name", attachment.name) for attachment in letter.scan.attachments]
        return self._event(
            "scellement",
            envelope.id,
            lines,
            (key,),
            message_id=next((v for n, v in letter.traced if n == "message-id"), None),
            sha256=letter.sha256.hex(),
            size=letter.size_octets,
            attachments=[{"size": found.size_octets} for found in letter.scan.attachments],
        )

    def _deliver(
        self,
        envelope: Envelope,
        letter: Letter,
        blob: int,
        delivery: LocalDelivery,
        sender_key: OwnerKey,
    ) -> tuple[Stored, str]:
        """One local copy with its event; the digest of the event too."""
        key = self._bal_key(delivery.bal)
        mailbox = self._delivery_mailbox(delivery.bal, delivery.mailbox)
        self._refer(blob, key, letter, shown=True)
        bits = self._bits_we_give(mailbox, delivery.flags)
        row = (bits, letter.size_octets, to_us(envelope.received_at), blob)
        stored = self._add_message(mailbox, row)
        for name, flags in delivery.also:
            other = self._delivery_mailbox(delivery.bal, name)
            self._refer(blob, key, letter, shown=True)
            self._add_message(other, (self._bits_we_give(other, flags), *row[1:]))
        if envelope.sender is not None:
            self._remember_correspondent(delivery.bal, envelope.sender)
            self._note_letter(delivery.bal, blob)
        digest = self._event(
            "remise",
            envelope.id,
            (("recipient", str(delivery.recipient.address)),),
            (key, sender_key),
            mailbox=stored.mailbox,
            uid_validity=stored.uid_validity,
            uid=stored.uid,
        )
        return stored, digest

    def _enqueue(self, envelope: Envelope, queued: Sequence[Recipient], key: OwnerKey) -> None:
        for position, recipient in enumerate(queued):
            self._queue_one(envelope, position, recipient, key, envelope.received_at)

    def _queue_one(
        self, envelope: Envelope, position: int, recipient: Recipient, key: OwnerKey, at: datetime
    ) -> None:
        """A row of the queue that waits from `at` on."""
        release = 0 if envelope.hold_until is None else to_us(envelope.hold_until)
        first = max(to_us(at), release)
        self.effects.queued = True
        self._later(
            _NEW_QUEUED,
            envelope=envelope.id,
            position=position,
            domain=recipient.address.domain,
            sealed=key.seal(
                recipient_purpose(envelope.id, position),
                json.dumps(packed_recipient(recipient)).encode(),
            ),
            digest=key.digest(RECIPIENT, recipient.address.key),
            held=False,
            attempts=0,
            warned=False,
            queued_at=first,
            next_attempt=first,
            lease_until=0,
            lease_worker=None,
            last_reply=None,
            owner=key.id,
            urgency=-envelope.priority,
            due=first,
            release_at=release,
        )


def recipient_purpose(envelope: str, position: int) -> bytes:
    """What a sealed recipient of the queue is bound to."""
    return RECIPIENT + envelope.encode() + b"\0%d" % position


def _sender_line(sender: ReversePath) -> Iterator[Line]:
    if sender is not None:
        yield "sender", str(sender)
