"""Invariants of contents and their files: lengths, keys, references both ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId
from mssmtp.storage.check import END, PAGE, Claim, Look, Part, within
from mssmtp.storage.identifiers import made_at_ms
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import (
    blob_keys,
    blobs,
    doomed_files,
    envelopes,
    mailboxes,
    messages,
    owners,
    sql,
)
from mssmtp.storage.sealing import sealed_octets
from mssmtp.storage.view import Row, Vault
from mssmtp.storage.views import Reading

FILES_AT_ONCE = 1_000
_KNOWN_MAILBOXES = 20_000
_CLOCKS_DIFFER_MS = 3_600_000


_AFTER: BindParameter[int] = bindparam("after")
_MOST: BindParameter[int] = bindparam("most")

_KEYS = sql(
    select(blob_keys.c.blob, blob_keys.c.owner, blob_keys.c.references)
    .where(blob_keys.c.blob > _AFTER)
    .order_by(blob_keys.c.blob, blob_keys.c.owner)
    .limit(_MOST)
)
_KEYS_OF = sql(
    select(blob_keys.c.blob, blob_keys.c.owner, blob_keys.c.references).where(
        blob_keys.c.blob == bindparam("blob")
    )
)
_BLOBS = sql(
    select(blobs.c.number, blobs.c.id, blobs.c.size, blobs.c.chunks, func.length(blobs.c.data))
    .where(within(blobs.c.number))
    .order_by(blobs.c.number)
)
_REFERRING = sql(
    select(messages.c.blob, messages.c.mailbox, messages.c.uid, messages.c.size).where(
        within(messages.c.blob)
    )
)
_QUEUED = sql(select(envelopes.c.blob, envelopes.c.owner).where(within(envelopes.c.blob)))
_OWNER_OF = sql(
    select(owners.c.id)
    .join_from(mailboxes, owners, owners.c.bal == mailboxes.c.bal)
    .where(mailboxes.c.id == bindparam("mailbox"))
)
_IS_OWNER = sql(select(owners.c.id).where(owners.c.id == bindparam("owner")))
_LAST_BLOB = sql(select(func.coalesce(func.max(blobs.c.number), 0)))

_IS_FILED = sql(
    select(blobs.c.number).where(blobs.c.id == bindparam("id")).where(blobs.c.data.is_(None))
)
_IS_DOOMED = sql(select(doomed_files.c.id).where(doomed_files.c.id == bindparam("id")))


class Contents(Part[int]):
    """Contents, their keys, and who refers to them."""

    name = "contents"
    first = -1
    claims = (
        Claim("content", "blobs", "is there in the length its chunks say, file or row"),
        Claim("referred", "blobs", "somebody refers to it and has its key"),
        Claim("references", "content keys", "references counted are those there are"),
        Claim("message-content", "messages", "has a content of its size"),
        Claim("key-owner", "content keys", "its owner has a key"),
    )

    def __init__(self, vault: Vault) -> None:
        super().__init__(vault)
        self._owner_of: dict[int, int | None] = {}

    def total(self, view: Reading) -> int:
        """The last number given: a little more than there are."""
        return int(view._all(_LAST_BLOB)[0][0])

    def look(self, view: Reading, after: int) -> Look[int]:
        """A range of contents with all their keys and references."""
        keys, through = self._keys(view, after)
        look: Look[int] = Look(None if through == END else through)
        counted = {(row[0], row[1]): row[2] for row in keys}
        span = {"after": after, "through": through}
        sizes: dict[int, int] = {}
        for number, id, size, index, length in view._all(_BLOBS, **span):
            sizes[number] = size
            self._look_at_content(look, number, BlobId(id), (size, index, length))
        expected = self._expected(view, look, span, sizes)
        for key in expected.keys() | counted.keys():
            if expected[key] != counted.get(key, 0):
                text = f"blob {key[0]}: references of owner {key[1]} are miscounted"
                look.wrong("references", text)
        keyed = {blob for blob, _ in counted}
        for number in sizes.keys() - keyed:
            look.wrong("referred", f"blob {number}: nobody refers to it")
        for number in keyed - sizes.keys():
            look.wrong("referred", f"blob {number}: a key without content")
        for owner in {owner for _, owner in counted}:
            if view._one(_IS_OWNER, owner=owner) is None:
                look.wrong("key-owner", f"owner {owner}: its key is missing")
        look.looked.update({"blobs": len(sizes), "content keys": len(counted)})
        return look

    @staticmethod
    def _keys(view: Reading, after: int) -> tuple[list[Row], int]:
        """The next keys, all of each content, and the last of these contents."""
        rows = view._all(_KEYS, after=after, most=PAGE)
        if len(rows) < PAGE:
            return rows, END
        last = rows[-1][0]
        whole = [row for row in rows if row[0] != last]
        if whole:
            return whole, whole[-1][0]
        return view._all(_KEYS_OF, blob=last), last

    def _expected(
        self, view: Reading, look: Look[int], span: dict[str, int], sizes: dict[int, int]
    ) -> Counter[tuple[int, int]]:
        """How often each owner refers to each content, by its messages and queued envelopes."""
        expected: Counter[tuple[int, int]] = Counter()
        for blob, mailbox, uid, size in view._all(_REFERRING, **span):
            if sizes.get(blob) != size:
                text = f"mailbox {mailbox}: UID {uid} has no content of its size"
                look.wrong("message-content", text)
            owner = self._owner(view, mailbox)
            if owner is not None:
                expected[blob, owner] += 1
        for blob, owner in view._all(_QUEUED, **span):
            expected[blob, owner] += 1
        return expected

    def _owner(self, view: Reading, mailbox: int) -> int | None:
        """Whose mailbox it is: that never changes. Rows without mailbox are `Mailboxes`' to say."""
        if mailbox not in self._owner_of:
            if len(self._owner_of) >= _KNOWN_MAILBOXES:
                self._owner_of.clear()
            row = view._one(_OWNER_OF, mailbox=mailbox)
            self._owner_of[mailbox] = row[0] if row else None
        return self._owner_of[mailbox]

    def _look_at_content(
        self, look: Look[int], number: int, id: BlobId, row: tuple[int, bytes, int | None]
    ) -> None:
        size, index, length = row
        try:
            expected = sealed_octets(index, size)
        except Damaged as error:
            look.wrong("content", f"blob {number}: {error}")
            return
        if length is None:
            length = self.vault.files.octets(id)
        if length is None:
            look.wrong("content", f"blob {id.hex()}: its file is missing")
        elif length != expected:
            look.wrong("content", f"blob {number}: its sealed content has another length")


class Files(Part[tuple[int, str]]):
    """Files of large contents."""

    name = "files"
    first = (0, "")
    claims = (Claim("file", "files", "a content refers to it, or it is being written or removed"),)

    def look(self, view: Reading, after: tuple[int, str]) -> Look[tuple[int, str]]:
        """Some files of one of the 256 directories."""
        shard, last = after
        # Before the snapshot's answer: what is unfinished now, or begun from now on, has no row.
        started_ms = to_us(self.vault.clock.now()) // 1_000
        unfinished = set(self.vault.files.unfinished())
        names = self.vault.files.names_in(shard, last, FILES_AT_ONCE)
        look: Look[tuple[int, str]] = Look(_next(shard, names or ()))
        if names is None:
            look.wrong("file", f"blobs/{shard:02x}: the directory is missing")
            return look
        look.looked["files"] = len(names)
        for name in names:
            id = _blob_id(name)
            if id is None or id[-1] != shard:
                look.wrong("file", f"blobs/{shard:02x}: holds a file that is not ours")
            elif id not in unfinished and _is_older(id, started_ms) and self._is_lost(view, id):
                look.wrong("file", f"file {id.hex()}: no blob refers to it")
        return look

    @staticmethod
    def _is_lost(view: Reading, id: BlobId) -> bool:
        return view._one(_IS_FILED, id=id) is None and view._one(_IS_DOOMED, id=id) is None


def _is_older(id: BlobId, started_ms: int) -> bool:
    """Made before; or by a clock that was put back since."""
    made_ms = made_at_ms(id)
    return made_ms < started_ms or made_ms > started_ms + _CLOCKS_DIFFER_MS


def _next(shard: int, names: Sequence[str]) -> tuple[int, str] | None:
    if len(names) == FILES_AT_ONCE:
        return shard, names[-1]
    return (shard + 1, "") if shard < 255 else None


def _blob_id(name: str) -> BlobId | None:
    try:
        octets = bytes.fromhex(name)
    except ValueError:
        return None
    return BlobId(octets) if len(octets) == 16 and octets.hex() == name else None


PARTS: tuple[type[Part[Any]], ...] = (
    Contents,
    Files,
)
