"""One copy of a sent letter, whoever files it: submission, the client, or both (CL-80, GEN-16).

A letter is known by its Message-ID and the digest of its body; what differs in either is another
letter. Each side joins once: a client that files the same letter again, perhaps to take the first
away afterwards, gets two.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, bindparam, delete, exists, insert, select, update

from mssmtp.mail import BalId, Envelope, MailboxId, Uid
from mssmtp.message import headers
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.model import Letter, Mailbox, Stored, to_us
from mssmtp.storage.schema import messages, sent_copies, sql
from mssmtp.storage.sent_letters import SentLetterWriting
from mssmtp.storage.summaries import SummaryWriting

logger = logging.getLogger(__name__)

SENT = "Sent"
"""It cannot be renamed (CL-34)."""
JOINED_WITHIN = timedelta(days=7)
"""A client that was offline files its copy late; one that comes later has been edited."""
_SUBMITTED, _FILED = 1, 2
SENT_COPY = b"sent-copy\0"

_KNOWN = sql(
    select(sent_copies.c.uid, sent_copies.c.sides)
    .where(sent_copies.c.mailbox == bindparam("mailbox"))
    .where(sent_copies.c.digest == bindparam("digest"))
)
_STANDS = sql(
    select(messages.c.uid)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid == bindparam("uid"))
    .where(messages.c.saved_at >= bindparam("since"))
)
_NEW = sql(
    insert(sent_copies)
    .values({column.name: bindparam(column.name) for column in sent_copies.c})
    .returning(sent_copies.c.uid)
)
_SET = sql(
    update(sent_copies)
    .where(sent_copies.c.mailbox == bindparam("mailbox_"))
    .where(sent_copies.c.digest == bindparam("digest_"))
    .values(uid=bindparam("new_uid"), sides=bindparam("new_sides"))
    .returning(sent_copies.c.uid)
)
_FORGET = sql(
    delete(sent_copies).where(
        ~exists().where(
            and_(
                messages.c.mailbox == sent_copies.c.mailbox,
                messages.c.uid == sent_copies.c.uid,
                messages.c.saved_at >= bindparam("since"),
            )
        )
    )
)


def copy_purpose(mailbox: int, digest: bytes) -> bytes:
    """What the sealed name of a copy is bound to."""
    return SENT_COPY + b"%d\0" % mailbox + digest


class _Place(NamedTuple):
    """The row of a letter, present or to come; `uid` None: no message stands there."""

    mailbox: MailboxId
    digest: bytes
    sealed: bytes | None
    """What the digest is of, for a row to come; None when it is there."""
    uid: Uid | None
    sides: int


class SentWriting(SummaryWriting, SentLetterWriting):
    """Filing what was sent. All in the commit of the letter: no crash leaves one of two."""

    def file_sent(
        self, bal: BalId, letter: Letter, envelope: Envelope, flags: frozenset[str]
    ) -> Stored | None:
        """A submitted letter into Sent of its sender; None when it is there already.

        None, too, when the box has no room: what is sent goes on its way all the same.
        """
        mailbox = self._sent_mailbox(bal)
        if mailbox is None:
            return None
        place = self._place(bal, mailbox, letter)
        if place is not None and place.uid is not None:
            self._keep(place, place.uid, place.sides | _SUBMITTED)
            self._link_sent(bal, letter, mailbox, place.uid)
            return None
        if not self.room(bal).takes(letter.size_octets, 1):
            logger.warning("a box is full: no copy in Sent", extra={"envelope": envelope.id})
            return None
        key = self._bal_key(bal)
        blob = self._adopt(letter, envelope.id)
        self._refer(blob, key, letter, shown=True)
        bits = self._bits_we_give(mailbox, flags)
        row = (bits, letter.size_octets, to_us(envelope.received_at), blob)
        stored = self._add_message(mailbox, row)
        if place is not None:
            self._keep(place, stored.uid, _SUBMITTED)
        return stored

    def append_sent(
        self,
        mailbox: Mailbox,
        letter: Letter,
        flags: frozenset[str],
        internal_date: datetime,
        *,
        may_replace: bool = True,
    ) -> tuple[Uid, bool]:
        """As `append`, into a mailbox \\Sent: the UID, and whether `letter` was stored there.

        The copy that submission filed becomes the client's, with its `flags`. If only the client's
        names hidden recipients, that one is kept instead, under a UID of its own, because a message
        never changes; unless who files it `may_replace` nothing there. Raises NoSuchMailbox,
        TooManyKeywords, OverQuota.
        """
        place = self._place(mailbox.bal, mailbox.id, letter)
        if place is None or place.uid is None or place.sides & _FILED:
            uid = self.append(mailbox.id, letter, flags, internal_date)
            is_same = place is not None and place.uid is not None
            self._link_sent(mailbox.bal, letter, mailbox.id, uid, is_same=is_same)
            if place is not None and place.uid is None:
                self._keep(place, uid, _FILED)
            return uid, True
        if may_replace and self._hides_recipients(mailbox.id, place.uid, letter):
            self.withdraw(mailbox.id, place.uid)
            uid = self.append(mailbox.id, letter, flags, internal_date)
            self._link_sent(mailbox.bal, letter, mailbox.id, uid)
            self._keep(place, uid, place.sides | _FILED)
            return uid, True
        self.store_flags(mailbox.id, [place.uid], "+", flags)
        self._keep(place, place.uid, place.sides | _FILED)
        return place.uid, False

    def _sent_mailbox(self, bal: BalId) -> MailboxId | None:
        found = self._vault.known.sent.get(bal)
        if found is None and (found := self._mailbox_id(bal, SENT)) is not None:
            self._vault.known.sent.keep(bal, found)
        return found

    def _place(self, bal: BalId, mailbox: MailboxId, letter: Letter) -> _Place | None:
        """None for a letter that nothing identifies."""
        named = [value for name, value in letter.traced if name == "message-id"]
        if letter.body_sha256 is None or len(named) != 1 or not named[0].strip():
            return None
        text = f"{named[0].strip()}\0{letter.body_sha256.hex()}"
        key = self._bal_key(bal)
        digests = key.digests(SENT_COPY, text)
        since = to_us(self._vault.clock.now() - JOINED_WITHIN)
        for digest in digests:
            row = self._one(_KNOWN, mailbox=mailbox, digest=digest)
            if row is None:
                continue
            # Its own row may wait to be written still, from a job before this one.
            stands = self._one(_STANDS, mailbox=mailbox, uid=row[0], since=since)
            return _Place(mailbox, digest, None, Uid(row[0]) if stands else None, row[1])
        purpose = copy_purpose(mailbox, digests[0])
        return _Place(mailbox, digests[0], key.seal(purpose, text.encode()), None, 0)

    def _keep(self, place: _Place, uid: Uid, sides: int) -> None:
        if place.sealed is not None:
            values = {"mailbox": place.mailbox, "digest": place.digest, "sealed": place.sealed}
            self._one(_NEW, **values, uid=uid, sides=sides)
        elif (uid, sides) != (place.uid, place.sides):
            named = {"mailbox_": place.mailbox, "digest_": place.digest}
            self._one(_SET, **named, new_uid=uid, new_sides=sides)

    def _hides_recipients(self, mailbox: MailboxId, uid: Uid, letter: Letter) -> bool:
        """Bcc stands in `letter` and not in the message of `uid`."""
        if not headers.has(letter.scan.header, "bcc"):
            return False
        for _, octets in self.summaries(mailbox, [uid]):
            try:
                return not headers.has(Summary.from_bytes(octets).header, "bcc")
            except UnknownSummary:
                return False
        return False

    def _forget_sent(self, now: datetime) -> None:
        """Letters that are gone, or too old to be joined."""
        self._run(_FORGET, since=to_us(now - JOINED_WITHIN))
