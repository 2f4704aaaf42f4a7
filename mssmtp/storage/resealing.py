"""New keys for messages: the content is opened, sealed anew under another id, and takes the place.

That rewrites every content and is what "keys rotate without rewriting blobs" avoids; it is for the
day on which a message key itself may be known. Ids are ordered by time: what is older than the
`floor`, which the first commit of a rotation writes down, is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from sqlalchemy import bindparam, delete, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId
from mssmtp.storage.contents import SUMMARY, ContentReading, ContentWriting
from mssmtp.storage.letters import Reader, SealedBlob
from mssmtp.storage.schema import blob_keys, blobs, doomed_files, meta, sql

if TYPE_CHECKING:
    from mssmtp.message.scanner import Scan

_FLOOR = "message-floor"
_GET = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))
_PUT = sql(insert(meta))
_DROP = sql(delete(meta).where(meta.c.key == bindparam("key")))
_HAS_KEY = (
    select(blob_keys.c.blob)
    .where(blob_keys.c.blob == blobs.c.number)
    .where(blob_keys.c.owner == bindparam("owner"))
    .exists()
)
_LEFT = (
    select(blobs.c.number)
    .where(blobs.c.id < bindparam("floor"))
    .where(blobs.c.number > bindparam("after"))
    .order_by(blobs.c.number)
    .limit(bindparam("most"))
)
_LEFT_OF_ALL = sql(_LEFT)
_LEFT_OF_ONE = sql(_LEFT.where(_HAS_KEY))
_COUNT = select(func.count()).select_from(blobs).where(blobs.c.id < bindparam("floor"))
_COUNT_OF_ALL = sql(_COUNT)
_COUNT_OF_ONE = sql(_COUNT.where(_HAS_KEY))
_OPENABLE = sql(
    select(blob_keys.c.owner)
    .where(blob_keys.c.blob == bindparam("blob"))
    .order_by(blob_keys.c.owner)
)
_ID_AND_SIZE = sql(select(blobs.c.id, blobs.c.size).where(blobs.c.number == bindparam("blob")))
_KEYS = sql(
    select(blob_keys.c.owner, blob_keys.c.wrapped, blob_keys.c.summary).where(
        blob_keys.c.blob == bindparam("blob")
    )
)
_WAS_FILE = sql(select(blobs.c.data.is_(None)).where(blobs.c.number == bindparam("blob")))
_REPLACE = sql(
    update(blobs)
    .where(blobs.c.number == bindparam("blob"))
    .values(id=bindparam("new_id"), chunks=bindparam("new_chunks"), data=bindparam("new_data"))
)
_REKEY = sql(
    update(blob_keys)
    .where(blob_keys.c.blob == bindparam("blob_"))
    .where(blob_keys.c.owner == bindparam("owner_"))
    .values(wrapped=bindparam("new_wrapped"), summary=bindparam("new_summary"))
)
_DOOM = sql(insert(doomed_files))


class _Unscanned:
    """In place of a scanner: what is sealed anew was read when it came."""

    def feed(self, block: bytes) -> None:
        """Nothing to learn."""

    def close(self) -> Scan:
        """Nobody looks at it."""
        return cast("Scan", None)


UNREAD = Reader(_Unscanned, lambda *_: b"", lambda _: (), b"")


class ResealReading(ContentReading):
    """What is left to do, and its content."""

    def message_floor(self, owner: int | None) -> BlobId | None:
        """Below it lies what an unfinished rotation has to do; None when there is none."""
        row = self._one(_GET, key=_key(owner))
        return BlobId(bytes(row[0])) if row else None

    def blobs_below(self, floor: BlobId, owner: int | None, after: int, most: int) -> list[int]:
        """Numbers of contents older than `floor`, of one owner or of all, in order."""
        if owner is None:
            rows = self._all(_LEFT_OF_ALL, floor=floor, after=after, most=most)
        else:
            rows = self._all(_LEFT_OF_ONE, floor=floor, after=after, most=most, owner=owner)
        return [row[0] for row in rows]

    def count_below(self, floor: BlobId, owner: int | None) -> int:
        """How many there are."""
        if owner is None:
            return int(self._all(_COUNT_OF_ALL, floor=floor)[0][0])
        return int(self._all(_COUNT_OF_ONE, floor=floor, owner=owner)[0][0])

    def whole_content(self, blob: int) -> tuple[BlobId, Iterable[bytes]] | None:
        """Id and blocks of a content, None when it is gone; read after the snapshot.

        Raises Damaged when none of its owners can open it.
        """
        row = self._one(_ID_AND_SIZE, blob=blob)
        if row is None:
            return None
        for (owner,) in self._all(_OPENABLE, blob=blob):
            try:
                return BlobId(bytes(row[0])), self._content(blob, owner).blocks()
            except Damaged:
                continue
        raise Damaged("no key of this content opens")


class ResealWriting(ResealReading, ContentWriting):
    """The commits."""

    def begin_messages(self, owner: int | None, floor: BlobId) -> BlobId:
        """Write `floor` down, unless a rotation is unfinished: then that one's."""
        known = self.message_floor(owner)
        if known is None:
            self._run(_PUT, key=_key(owner), value=floor)
        return known or floor

    def end_messages(self, owner: int | None) -> None:
        """Nothing is left to do."""
        self._run(_DROP, key=_key(owner))

    def replace_content(self, blob: int, old: BlobId, new: SealedBlob) -> bool:
        """Put `new` in the place of the content `old`; False when that is gone meanwhile.

        Raises Damaged, and changes nothing, when a key or a summary of it does not open.
        """
        row = self._one(_ID_AND_SIZE, blob=blob)
        if row is None or row[0] != old:
            return False
        renewed = []
        for owner, wrapped, summary in self._all(_KEYS, blob=blob):
            key = self._owner_key(owner)
            key.unwrap(old, wrapped)
            if summary is not None:
                summary = key.seal(SUMMARY + new.id, key.open(SUMMARY + old, summary))
            renewed.append((owner, key.wrap(new.id, new.key), summary))
        was_file = self._all(_WAS_FILE, blob=blob)[0][0]
        new.offer()
        self.effects.adopted.append(new)
        self._run(_REPLACE, blob=blob, new_id=new.id, new_chunks=new.index, new_data=new.data)
        for owner, wrapped, summary in renewed:
            self._run(_REKEY, blob_=blob, owner_=owner, new_wrapped=wrapped, new_summary=summary)
        if was_file:
            # Removed by a later commit: who reads at this moment knows the old name.
            self._run(_DOOM, id=old)
        return True

    def bury_files(self) -> None:
        """Remove the files of contents that were replaced."""
        self._bury_files()


def _key(owner: int | None) -> str:
    return _FLOOR if owner is None else f"{_FLOOR}-{owner}"
