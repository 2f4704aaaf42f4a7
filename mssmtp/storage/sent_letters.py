"""Letters sent from a box, found again by what a report names them by: ENVID or Message-ID."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sqlalchemy import bindparam, exists, insert, select, update

from mssmtp.mail import BalId, Envelope, EnvelopeId, MailboxId, Uid
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import Letter
from mssmtp.storage.schema import mailboxes, messages, sent, sql
from mssmtp.storage.view import View, WritingView

SENT = b"sent\0"
MOST_NAMES = 12
"""Asked for at once: a report names few."""
_XTEXT = re.compile(r"\+([0-9A-F]{2})")

_NEW = sql(insert(sent))
_ENVELOPES = sql(
    select(sent.c.envelope)
    .where(sent.c.owner == bindparam("owner"))
    .where(sent.c.digest == bindparam("digest"))
    .order_by(sent.c.envelope.desc())
    .limit(1)
)
_BLOB = sql(
    select(sent.c.blob)
    .where(sent.c.envelope == bindparam("envelope"))
    .where(sent.c.blob.is_not(None))
    .limit(1)
)
_COPIES = sql(
    select(messages.c.mailbox, messages.c.uid)
    .join_from(messages, mailboxes, mailboxes.c.id == messages.c.mailbox)
    .where(messages.c.blob == bindparam("blob"))
    .where(mailboxes.c.bal == bindparam("bal"))
)
_LINK_QUERY = (
    update(sent)
    .where(sent.c.owner == bindparam("owner_"))
    .where(sent.c.digest == bindparam("digest_"))
    .values(
        blob=select(messages.c.blob)
        .where(messages.c.mailbox == bindparam("mailbox"))
        .where(messages.c.uid == bindparam("uid"))
        .scalar_subquery()
    )
)
_LINK = sql(_LINK_QUERY)


_STANDS_THERE = (
    exists()
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.blob == sent.c.blob)
    .correlate(sent)
)
_LINK_IF_FREE = sql(_LINK_QUERY.where(~_STANDS_THERE))


def sent_purpose(digest: bytes, envelope: str) -> bytes:
    """What the sealed name of a sent letter is bound to."""
    return SENT + digest + envelope.encode()


def by_envid(envid: str) -> str:
    """How a letter is named by its ENVID, in xtext or not (RFC 3461 4.4)."""
    return "envid:" + _XTEXT.sub(lambda found: chr(int(found[1], 16)), envid)


def by_message_id(message_id: str) -> str:
    """How a letter is named by its Message-ID with the angle brackets."""
    return "message-id:" + message_id


class SentLetterReading(View):
    """Looking for what was sent."""

    def sent_envelope(self, bal: BalId, names: Iterable[str]) -> EnvelopeId | None:
        """The newest letter of the box with the first of `names` that is known. NoSuchBal."""
        key = self._bal_key(bal)
        for name in list(names)[:MOST_NAMES]:
            for digest in key.digests(SENT, name):
                row = self._one(_ENVELOPES, owner=key.id, digest=digest)
                if row is not None:
                    return EnvelopeId(row[0])
        return None

    def _sent_blob(self, envelope: EnvelopeId) -> int | None:
        """The content of the sender's own copy; None when it was not kept."""
        row = self._one(_BLOB, envelope=envelope)
        return None if row is None else int(row[0])

    def _copies_of(self, bal: BalId, envelope: EnvelopeId) -> list[tuple[MailboxId, Uid]]:
        """Where the sender's own copy is, when it was filed with the letter."""
        blob = self._sent_blob(envelope)
        if blob is None:
            return []
        found = self._all(_COPIES, blob=blob, bal=bal)
        return [(MailboxId(mailbox), Uid(uid)) for mailbox, uid in found]


class SentLetterWriting(SentLetterReading, WritingView):
    """Remembering it."""

    def _remember_sent(self, envelope: Envelope, letter: Letter, key: OwnerKey, blob: int) -> None:
        """In the commit that accepts the letter. `blob`: its content, 0 when none is kept."""
        for name in dict.fromkeys(_names(envelope, letter)):
            digest = key.digest(SENT, name)
            self._later(
                _NEW,
                owner=key.id,
                digest=digest,
                envelope=envelope.id,
                blob=blob or None,
                sealed=key.seal(
                    sent_purpose(digest, envelope.id), name.encode("utf-8", "surrogatepass")
                ),
            )

    def _link_sent(
        self, bal: BalId, letter: Letter, mailbox: MailboxId, uid: Uid, *, is_same: bool = True
    ) -> None:
        """That message is the sender's own copy of the letter from now on.

        Unless it `is_same`, by its body, only while there is no other: a Message-ID is copied by
        whoever may file something here.
        """
        link = _LINK if is_same else _LINK_IF_FREE
        key = self._bal_key(bal)
        for name, value in letter.traced:
            if name == "message-id":
                for digest in key.digests(SENT, by_message_id(value)):
                    self._run(link, owner_=key.id, digest_=digest, mailbox=mailbox, uid=uid)


def _names(envelope: Envelope, letter: Letter) -> Iterator[str]:
    if envelope.envid:
        yield by_envid(envelope.envid)
    for name, value in letter.traced:
        if name == "message-id":
            yield by_message_id(value)
