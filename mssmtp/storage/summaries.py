"""Summaries of messages, and the packs that make reading many of them fast.

A pack holds the summaries of the first messages of one window of 512 UIDs, sealed together: of all
of them once no new UID can fall into the window, before that of those that were there when somebody
read many. It is thrown away when one of its messages is expunged, and never needed: the rows give
the same octets (D6).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.errors import Damaged
from mssmtp.mail import BalId, MailboxId, Uid
from mssmtp.message.tree import TooComplex
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.letters import Scanning
from mssmtp.storage.listing import MAX_OCTETS as MAX_LISTING_OCTETS
from mssmtp.storage.listing import Listing, listed, opened
from mssmtp.storage.messages import PACK_UIDS, MessageReading, MessageWriting
from mssmtp.storage.model import NoSuchMessage
from mssmtp.storage.schema import blob_keys, blobs, mailboxes, messages, packs, sql
from mssmtp.storage.sealing import compressed, decompressed
from mssmtp.storage.textpack import OtherRelease
from mssmtp.storage.view import Row, ranges

if TYPE_CHECKING:
    from mssmtp.message.scanner import Scan

PACK_FROM = 32
"""Below this many messages of a window, rows are read even when there is a pack."""
NEW_FROM = 64
"""So many messages that the pack of a window lacks make a new one."""

MAX_PACK_OCTETS = 8 * 1_048_576
"""Of a window with larger summaries no pack is made: it would have to be opened whole for one
message, and letters with the largest headers would fill the memory (D10, D11)."""
SCAN_OCTETS = 262_144
_PACK = b"pack\0"
_FRAMES = struct.Struct(">BI")
_VERSION = 3
"""Of a pack: an older one is as good as missing."""
_ENTRY = struct.Struct(">II")

SUMMARY_ROWS = sql(
    select(messages.c.uid, blobs.c.id, blob_keys.c.summary, messages.c.blob)
    .join_from(messages, blobs, blobs.c.number == messages.c.blob)
    .join(
        blob_keys,
        (blob_keys.c.blob == messages.c.blob) & (blob_keys.c.owner == bindparam("owner")),
    )
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
    .order_by(messages.c.uid)
)
_OF_BLOB = sql(
    select(blob_keys.c.references, blobs.c.id, blob_keys.c.summary, blobs.c.number)
    .join_from(blobs, blob_keys, blob_keys.c.blob == blobs.c.number)
    .where(blobs.c.number == bindparam("blob"))
    .where(blob_keys.c.owner == bindparam("owner"))
)
PACK_ROW = sql(
    select(packs.c.sealed)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
_PACK_COUNT = sql(
    select(packs.c.count)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
_PACK_MARK = sql(
    select(packs.c.count, mailboxes.c.bal, mailboxes.c.uid_next)
    .join_from(packs, mailboxes, mailboxes.c.id == packs.c.mailbox)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
PACK_AND_BOX = sql(
    select(packs.c.sealed, mailboxes.c.bal)
    .join_from(packs, mailboxes, mailboxes.c.id == packs.c.mailbox)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
BOX_AND_UIDNEXT = sql(
    select(mailboxes.c.bal, mailboxes.c.uid_next).where(mailboxes.c.id == bindparam("mailbox"))
)
COUNT_OF_SPAN = sql(
    select(func.count())
    .select_from(messages)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
)
_DROP = sql(
    delete(packs)
    .where(packs.c.mailbox == bindparam("mailbox"))
    .where(packs.c.window == bindparam("window"))
)
_DROP_ALL = sql(delete(packs))
_NEW = sql(insert(packs))


class SummaryReading(MessageReading):
    """Reading summaries."""

    pack_uids = PACK_UIDS
    """UIDs of one window of `listing`."""

    def summaries(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes]]:
        """(UID, octets of `message.Summary`) in UID order; vanished UIDs are left out.

        A damaged summary is computed again from the content; when that is damaged too, its octets
        are empty: one message never stops the others (D10).
        """
        row = self._one(BOX_AND_UIDNEXT, mailbox=mailbox)
        if row is None:
            return
        key = self._bal_key(BalId(row[0]))
        for window, wanted in groupby(sorted(set(uids)), lambda uid: uid // PACK_UIDS):
            chosen = list(wanted)
            if len(chosen) < PACK_FROM:
                yield from self._from_rows(mailbox, chosen, key)
                continue
            packed = self._from_pack(mailbox, window, key) or {}
            left = [uid for uid in chosen if uid not in packed]
            is_closed = row[1] >= _end(window)
            if left and self._is_worth_packing((mailbox, window), packed, left, closed=is_closed):
                found = self._folded(mailbox, window, key, packed)
                packed, left = (packed, left) if found is None else (found, [])
            yield from ((uid, packed[uid]) for uid in chosen if uid in packed)
            yield from self._from_rows(mailbox, left, key)  # they came after all that are packed

    def pack_mark(self, mailbox: MailboxId, window: int) -> tuple[int, int, int] | None:
        """What tells the content of the pack of a window, of which messages can only go
        (`textspans`); None where there is none, or one can come. Raises Damaged."""
        row = self._one(_PACK_MARK, mailbox=mailbox, window=window)
        if row is None or row[2] < _end(window):
            return None
        self._bal_key(BalId(row[1]))  # what cannot be opened any more is not told from memory
        return mailbox, window, row[0]

    def listing(self, mailbox: MailboxId, window: int) -> Listing | None:
        """What lists of mail show of the messages of a window; None when it has no pack."""
        row = self._one(PACK_AND_BOX, mailbox=mailbox, window=window)
        if row is None:
            return None
        try:
            octets = self._bal_key(BalId(row[1])).open(pack_purpose(mailbox, window), row[0])
            return opened(decompressed(frames(octets)[0], MAX_LISTING_OCTETS))
        except Damaged:
            return None

    def is_pack_of(self, mailbox: MailboxId, window: int, found: dict[Uid, bytes]) -> bool:
        """Whether a pack holds the summaries `found`, for a comparison.

        Of another release: True when it authenticates. Raises Damaged.
        """
        row = self._one(PACK_AND_BOX, mailbox=mailbox, window=window)
        if row is None:
            return False
        try:
            shown, whole = frames(
                self._bal_key(BalId(row[1])).open(pack_purpose(mailbox, window), row[0])
            )
        except OtherRelease:
            return True
        listing = decompressed(shown, MAX_LISTING_OCTETS)
        return listing == listed(found) and decompressed(whole, MAX_PACK_OCTETS) == packed(found)

    def make_pack(self, mailbox: MailboxId, window: int) -> None:
        """Have the pack of a window kept, if it lacks one and no UID can join it any more."""
        row = self._one(BOX_AND_UIDNEXT, mailbox=mailbox)
        if row is None or row[1] < _end(window):
            return
        if not self._is_packed(mailbox, window):
            key = self._bal_key(BalId(row[0]))
            self._folded(mailbox, window, key, self._from_pack(mailbox, window, key) or {})

    def _is_worth_packing(
        self,
        place: tuple[MailboxId, int],
        packed: dict[Uid, bytes],
        left: Sequence[Uid],
        *,
        closed: bool,
    ) -> bool:
        """Whether a new pack is made of a window, for `left`, which the one that is there lacks."""
        if not closed:
            return len(left) >= NEW_FROM
        return not packed or not self._is_packed(*place)

    def _is_packed(self, mailbox: MailboxId, window: int) -> bool:
        """Whether the pack of a window has all its messages."""
        span = {"low": window * PACK_UIDS, "high": _end(window) - 1}
        return self._one(_PACK_COUNT, mailbox=mailbox, window=window) == self._one(
            COUNT_OF_SPAN, mailbox=mailbox, **span
        )

    def _from_rows(
        self, mailbox: MailboxId, uids: Sequence[Uid], key: OwnerKey
    ) -> Iterator[tuple[Uid, bytes]]:
        for low, high in ranges(uids):
            for row in self._all(SUMMARY_ROWS, mailbox=mailbox, owner=key.id, low=low, high=high):
                yield Uid(row[0]), self._summary(row, key)

    def summary_of(self, bal: BalId, blob: int) -> bytes:
        """Of a letter in a box, wherever it is filed; b"" when it is gone or cannot be read."""
        key = self._bal_key(bal)
        row = self._one(_OF_BLOB, blob=blob, owner=key.id)
        return b"" if row is None else self._summary(row, key)

    def _summary(self, row: Row, key: OwnerKey) -> bytes:
        try:
            octets = key.open(SUMMARY + row[1], row[2] or b"")
        except Damaged:
            return self._computed(row[3], key)
        if not octets.startswith(self._vault.reader.version):  # of an older release
            return self._computed(row[3], key)
        return octets

    def _computed(self, blob: int, key: OwnerKey) -> bytes:
        """The summary from the content itself; empty when that cannot be read either."""
        reader = self._vault.reader
        scanner: Scanning | None = reader.scanner()
        digest = sha256()
        start = 0
        try:
            content = self._content(blob, key.id)
            while block := content.read(start, start + SCAN_OCTETS):
                digest.update(block)
                start += len(block)
                scanner = _fed(scanner, block)
        except (Damaged, NoSuchMessage):
            return b""
        return reader.summary(_closed(scanner), start, digest.digest())

    def _from_pack(self, mailbox: MailboxId, window: int, key: OwnerKey) -> dict[Uid, bytes] | None:
        row = self._one(PACK_ROW, mailbox=mailbox, window=window)
        if row is None:
            return None
        try:
            _, whole = frames(key.open(pack_purpose(mailbox, window), row[0]))
            return unpacked(decompressed(whole, MAX_PACK_OCTETS))
        except Damaged:
            return None

    def _folded(
        self, mailbox: MailboxId, window: int, key: OwnerKey, packed: dict[Uid, bytes]
    ) -> dict[Uid, bytes] | None:
        """Summaries of all messages of a window, of which `packed` are known, kept as a pack; None:
        too large."""
        low = max(packed, default=window * PACK_UIDS - 1) + 1
        span = {"low": low, "high": _end(window) - 1}
        found = dict(packed)
        size = sum(map(len, found.values())) + _ENTRY.size * len(found)
        for row in self._all(SUMMARY_ROWS, mailbox=mailbox, owner=key.id, **span):
            found[Uid(row[0])] = summary = self._summary(row, key)
            size += len(summary) + _ENTRY.size
            if size > MAX_PACK_OCTETS - 4:
                return None
        if found and all(found.values()):
            sealed, last = sealed_pack(key, mailbox, window, found), max(found)
            self._vault.later(lambda w: w.keep_pack(mailbox, last, len(found), sealed))
        return found


class SummaryWriting(SummaryReading, MessageWriting):
    """Keeping packs."""

    def keep_pack(self, mailbox: MailboxId, last: Uid, count: int, sealed: bytes) -> None:
        """Keep a pack a reader made of the `count` messages of a window up to `last`; not if one
        was expunged or the key replaced since."""
        if not self._bal_key(self._bal_of(mailbox)).is_current(sealed):
            return
        window = last // PACK_UIDS
        span = {"low": window * PACK_UIDS, "high": last}
        if self._new(COUNT_OF_SPAN, mailbox=mailbox, **span)[0] != count:
            return
        self._run(_DROP, mailbox=mailbox, window=window)
        self._run(_NEW, mailbox=mailbox, window=window, count=count, sealed=sealed)

    def drop_packs(self) -> int:
        """Throw every pack away; they come back by themselves."""
        return self._run(_DROP_ALL)


def _fed(scanner: Scanning | None, block: bytes) -> Scanning | None:
    """`scanner`, or None: the message is beyond our limits, which may have been others before."""
    try:
        if scanner is not None:
            scanner.feed(block)
    except TooComplex:
        return None
    return scanner


def _closed(scanner: Scanning | None) -> Scan | None:
    try:
        return None if scanner is None else scanner.close()
    except TooComplex:
        return None


def packed(found: dict[Uid, bytes]) -> bytes:
    """The content of a pack: the same for the same messages, whenever it is made."""
    pieces = [struct.pack(">I", len(found))]
    pieces += [_ENTRY.pack(uid, len(octets)) for uid, octets in found.items()]
    pieces += found.values()
    return b"".join(pieces)


def unpacked(octets: bytes) -> dict[Uid, bytes]:
    """The inverse. Raises Damaged."""
    try:
        (count,) = struct.unpack_from(">I", octets)
        position = 4 + count * _ENTRY.size
        found = {}
        for uid, length in _ENTRY.iter_unpack(octets[4:position]):
            found[Uid(uid)] = octets[position : position + length]
            position += length
    except struct.error as error:
        raise Damaged("a pack cannot be read") from error
    if position != len(octets):
        raise Damaged("a pack has another size")
    return found


def _end(window: int) -> int:
    return (window + 1) * PACK_UIDS


def sealed_pack(key: OwnerKey, mailbox: MailboxId, window: int, found: dict[Uid, bytes]) -> bytes:
    """What is kept of a pack: its listing and its summaries, to be decompressed one by one."""
    shown, whole = compressed(listed(found)), compressed(packed(found))
    octets = _FRAMES.pack(_VERSION, len(shown)) + shown + whole
    return key.seal(pack_purpose(mailbox, window), octets)


def frames(octets: bytes) -> tuple[memoryview, memoryview]:
    """Listing and summaries of an opened pack, both compressed. Raises Damaged."""
    try:
        version, length = _FRAMES.unpack_from(octets)
    except struct.error as error:
        raise Damaged("a pack cannot be read") from error
    if version != _VERSION:
        raise OtherRelease("a pack of another release")
    rest = memoryview(octets)[_FRAMES.size :]
    return rest[:length], rest[length:]


def pack_purpose(mailbox: int, window: int) -> bytes:
    """What a pack is bound to."""
    return _PACK + struct.pack(">QQ", mailbox, window)
