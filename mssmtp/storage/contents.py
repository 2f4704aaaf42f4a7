"""Blobs and who refers to them: adopting, sharing, reading, shredding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId, EnvelopeId
from mssmtp.storage.engine import Connection
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import Letter, NoSuchMessage
from mssmtp.storage.rows import Rows
from mssmtp.storage.schema import blob_keys, blobs, doomed_files, sql
from mssmtp.storage.sealing import ChunkReader
from mssmtp.storage.view import Vault, View, WritingView

SUMMARY = b"summary\0"

_BLOB = sql(
    select(
        blobs.c.id,
        blobs.c.size,
        blobs.c.chunks,
        blobs.c.data,
        blob_keys.c.wrapped,
    )
    .join_from(blobs, blob_keys, blob_keys.c.blob == blobs.c.number)
    .where(blobs.c.number == bindparam("blob"))
    .where(blob_keys.c.owner == bindparam("owner"))
)
_KEY = sql(
    select(blob_keys.c.wrapped, blob_keys.c.summary, blobs.c.id)
    .join_from(blob_keys, blobs, blobs.c.number == blob_keys.c.blob)
    .where(blob_keys.c.blob == bindparam("blob"))
    .where(blob_keys.c.owner == bindparam("owner"))
)
_NUMBER = sql(select(blobs.c.number).where(blobs.c.id == bindparam("id")))
_ENVELOPE = sql(select(blobs.c.envelope).where(blobs.c.number == bindparam("blob")))
_NEW_BLOB = sql(
    insert(blobs)
    .values({name: bindparam(name) for name in ("id", "size", "envelope", "chunks", "data")})
    .returning(blobs.c.number)
)
# Without RETURNING: in a job that has changed much each such statement costs SQLite 0.7 ms.
_OF_OWNER = (
    update(blob_keys)
    .where(blob_keys.c.blob == bindparam("blob_"))
    .where(blob_keys.c.owner == bindparam("owner_"))
)
_ONE_MORE = sql(_OF_OWNER.values(references=blob_keys.c.references + 1))
_ONE_LESS = sql(
    _OF_OWNER.where(blob_keys.c.references > 1).values(references=blob_keys.c.references - 1)
)
_NEW_KEY = sql(insert(blob_keys))
_GIVE_SUMMARY = sql(
    update(blob_keys)
    .where(blob_keys.c.blob == bindparam("blob_"))
    .where(blob_keys.c.owner == bindparam("owner_"))
    .where(blob_keys.c.summary.is_(None))
    .values(summary=bindparam("new"))
)
_DROP_KEY = sql(
    delete(blob_keys)
    .where(blob_keys.c.blob == bindparam("blob"))
    .where(blob_keys.c.owner == bindparam("owner"))
)
_ANY_KEY = sql(select(blob_keys.c.owner).where(blob_keys.c.blob == bindparam("blob")).limit(1))
_PLACE = sql(select(blobs.c.id, blobs.c.data.is_(None)).where(blobs.c.number == bindparam("blob")))
_DROP_BLOB = sql(delete(blobs).where(blobs.c.number == bindparam("blob")))
_DOOM = sql(insert(doomed_files))
_DOOMED = sql(select(doomed_files.c.id))
_FORGET_DOOMED = sql(delete(doomed_files).where(doomed_files.c.id == bindparam("id")))


@dataclass(slots=True)
class _NewKey:
    """A row of this job that is perhaps not written yet, at its place among the rows."""

    place: int
    values: dict[str, object]
    references: int = 1


class ContentReading(View):
    """Opening what is sealed."""

    def _content(self, blob: int, owner: int) -> ChunkReader:
        """Reader of a blob as one of its owners. Raises NoSuchMessage, Damaged."""
        row = self._one(_BLOB, blob=blob, owner=owner)
        if row is None:
            raise NoSuchMessage
        id, size, index, data, wrapped = row
        key = self._owner_key(owner).unwrap(id, wrapped)
        return ChunkReader(id, key, index, size, self._source(BlobId(id), data))

    def _source(self, blob: BlobId, data: bytes | None) -> Callable[[int, int], bytes]:
        if data is None:
            return self._vault.files.source(blob)
        return lambda offset, octets: data[offset : offset + octets]


class ContentWriting(ContentReading, WritingView):
    """Counting references; the last one of an owner shreds, the last of all removes."""

    def __init__(self, db: Connection, vault: Vault, rows: Rows) -> None:
        super().__init__(db, vault, rows)
        self._made: dict[BlobId, int] = {}
        self._referred: dict[tuple[int, int], _NewKey] = {}

    def _adopt(self, letter: Letter, envelope: EnvelopeId | None) -> int:
        """Number of the row of `letter`, made unless another job made it."""
        blob = letter.blob
        known = blob.was_offered
        blob.offer()
        self.effects.adopted.append(blob)
        if (made := self._made.get(blob.id)) is not None:
            return made
        row = self._one(_NUMBER, id=blob.id) if known else None
        if row is None:
            row = self._one(
                _NEW_BLOB,
                id=blob.id,
                size=letter.size_octets,
                envelope=envelope,
                chunks=blob.index,
                data=blob.data,
            )
            if row is None:
                raise Damaged("a blob without number")
            self._made[blob.id] = int(row[0])
        return int(row[0])

    def _refer(self, blob: int, owner: OwnerKey, letter: Letter, *, shown: bool) -> None:
        """One more reference of `owner`; `shown`: from a mailbox, so that it needs a summary."""
        new = self._referred.get((blob, owner.id))
        if new is not None and self._rows.waits(new.place):
            new.references += 1
            new.values["references"] = new.references
            if shown and new.values["summary"] is None:
                new.values["summary"] = self._sealed_summary(owner, letter)
            return
        known = new is not None or letter.blob.id not in self._made
        if not known or not self._run(_ONE_MORE, blob_=blob, owner_=owner.id):
            values: dict[str, object] = {
                "blob": blob,
                "owner": owner.id,
                "references": 1,
                "wrapped": owner.wrap(letter.blob.id, letter.blob.key),
                "summary": self._sealed_summary(owner, letter) if shown else None,
            }
            self._referred[blob, owner.id] = _NewKey(self._rows.add(_NEW_KEY, values), values)
        elif shown:
            self._run(
                _GIVE_SUMMARY,
                blob_=blob,
                owner_=owner.id,
                new=self._sealed_summary(owner, letter),
            )

    @staticmethod
    def _sealed_summary(owner: OwnerKey, letter: Letter) -> bytes:
        return owner.seal(SUMMARY + letter.blob.id, letter.summary)

    def _share(self, blob: int, source: OwnerKey, target: OwnerKey) -> None:
        """One more reference, by `target`, to a blob that `source` can open.

        Raises NoSuchMessage, Damaged.
        """
        if self._run(_ONE_MORE, blob_=blob, owner_=target.id):
            return
        row = self._one(_KEY, blob=blob, owner=source.id)
        if row is None:
            raise NoSuchMessage
        wrapped, summary, id = row
        if summary is None:
            raise Damaged("a message without summary")
        self._run(
            _NEW_KEY,
            blob=blob,
            owner=target.id,
            references=1,
            wrapped=target.wrap(id, source.unwrap(id, wrapped)),
            summary=target.seal(SUMMARY + id, source.open(SUMMARY + id, summary)),
        )

    def _release(self, blob: int, owner: int) -> bool:
        """One reference less; True when the owner's key was dropped (nobody there can read it)."""
        if self._run(_ONE_LESS, blob_=blob, owner_=owner):
            return False
        if not self._run(_DROP_KEY, blob=blob, owner=owner):
            return False
        if self._one(_ANY_KEY, blob=blob) is None:
            # Not by RETURNING: SQLite 3.40 gets `IS NULL` there wrong beside NOT NULL columns.
            id, is_file = self._new(_PLACE, blob=blob)
            self._run(_DROP_BLOB, blob=blob)
            if is_file:
                self._run(_DOOM, id=id)
                self.effects.doomed.append(BlobId(id))
        return True

    def _bury_files(self) -> None:
        """Remove doomed files that are still there after this commit, forget those that are not.

        In this order: a file may only go once the commit that dooms it is on disk, and its name
        may only be forgotten once its removal is.
        """
        doomed = {BlobId(id) for (id,) in self._all(_DOOMED)}
        gone = set(self._vault.files.gone(doomed))
        for id in gone:
            self._run(_FORGET_DOOMED, id=id)
        self.effects.doomed += doomed - gone

    def _envelope_of(self, blob: int) -> EnvelopeId | None:
        row = self._one(_ENVELOPE, blob=blob)
        return EnvelopeId(row[0]) if row and row[0] is not None else None
