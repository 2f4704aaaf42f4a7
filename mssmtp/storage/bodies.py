"""Octets of messages: of one, or of many small ones that are asked for together.

The driver gives the interpreter away for every statement, and a server of its own answers each over
the network: the letters of one answer are one statement, not three each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import bindparam, select

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId, MailboxId, Uid
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.messages import MessageReading, merged
from mssmtp.storage.model import NoSuchMessage
from mssmtp.storage.schema import blob_keys, blobs, messages, sql
from mssmtp.storage.sealing import CHUNK_OCTETS, ChunkReader, open_small
from mssmtp.storage.view import Row

Source = Callable[[BlobId, bytes | None], Callable[[int, int], bytes]]
"""Where the sealed octets of a blob are, which its row holds or not."""

_SEALED = sql(
    select(
        messages.c.uid,
        messages.c.size,
        blobs.c.id,
        blobs.c.size,
        blobs.c.chunks,
        blobs.c.data,
        blob_keys.c.wrapped,
        messages.c.blob,
    )
    .join_from(messages, blobs, blobs.c.number == messages.c.blob)
    .join(
        blob_keys,
        (blob_keys.c.blob == messages.c.blob) & (blob_keys.c.owner == bindparam("owner")),
    )
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
    .order_by(messages.c.uid)
)


class Content:
    """What is in one message, sealed until it is read."""

    __slots__ = ("_key", "_row", "_source", "letter")

    def __init__(self, key: OwnerKey, row: Row, source: Source) -> None:
        self._key = key
        self._row = row
        self._source = source
        self.letter: int = row[7]
        """Which it is, for `readings.Noted`."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Octets `start` to `stop`, clipped to the size; only the chunks needed are opened.

        Raises Damaged, for this message only (D10).
        """
        _, size_octets, id, octets, index, data, wrapped, _ = self._row
        if size_octets != octets:
            raise Damaged("a message leads to the content of another")
        key = self._key.unwrap(id, wrapped)
        if data is not None and octets <= CHUNK_OCTETS:
            return open_small(id, key, index, octets, data)[start:stop]
        return ChunkReader(id, key, index, octets, self._source(id, data)).read(start, stop)


class BodyReading(MessageReading):
    """Reading what messages consist of."""

    def body(self, mailbox: MailboxId, uid: Uid, start: int = 0, stop: int | None = None) -> bytes:
        """Octets `start` to `stop` of a message, clipped to its size.

        Opens only the chunks needed. Raises NoSuchMailbox, NoSuchMessage; Damaged for this message
        only (D10).
        """
        content = self.contents(mailbox, [(uid, uid)]).get(uid)
        if content is None:
            raise NoSuchMessage
        return content.read(start, stop)

    def contents(self, mailbox: MailboxId, uids: Sequence[tuple[int, int]]) -> dict[Uid, Content]:
        """What is in the messages of the closed ranges `uids`; vanished ones are left out.

        All that is sealed in rows is held: who asks for many has looked at their sizes (D11).
        Raises NoSuchMailbox.
        """
        owner = self._owner_id(self._bal_of(mailbox))
        if owner is None:
            return {}
        key = self._owner_key(owner)
        found: list[Row] = []
        for low, high in merged(uids):
            found += self._all(_SEALED, mailbox=mailbox, owner=owner, low=low, high=high)
        return {row[0]: Content(key, row, self._source) for row in found}
