"""One search in texts: what is looked for, among which messages, and what a step of it found."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.mail import Uid
from mssmtp.message.readable import Needle
from mssmtp.storage.textpack import TextPack

if TYPE_CHECKING:
    from mssmtp.storage.textspans import Span

DEARER = 16
"""Decoding an octet costs so much more than looking at it in a pack."""
MESSAGE_COST = 65_536


@dataclass(frozen=True, slots=True)
class Scanned:
    """One step of a search: everything up to `last` is known now.

    `found` may name messages behind `last` too. `cost`: octets looked at, once for each needle;
    decoding counts as more.
    """

    last: int
    found: tuple[set[Uid], ...]
    cost: int


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and where."""

    needles: tuple[Needle, ...]
    uids: Sequence[int]
    """Ascending."""

    def look(self, pack: TextPack) -> tuple[set[Uid], ...]:
        """Through a pack."""
        holders = (set(pack.find(needle)) for needle in self.needles)
        return tuple({uid for uid in found if self.asks(uid)} for found in holders)

    def asks(self, uid: int) -> bool:
        """Whether it is one of the UIDs."""
        at = bisect_left(self.uids, uid)
        return at < len(self.uids) and self.uids[at] == uid

    @property
    def names(self) -> tuple[str, ...] | None:
        """The fields that are looked into; None: all."""
        names = tuple(needle.field_name for needle in self.needles)
        return names if all(names) else None

    def wanted(self, span: Span) -> Sequence[int]:
        """Those of the UIDs that lie in `span`."""
        if span.first > span.last:
            return ()
        return self.uids[bisect_left(self.uids, span.first) : bisect_right(self.uids, span.last)]

    def stream(self, uid: Uid, pieces: Iterable[bytes]) -> Scanned:
        """Through one message, however long it is."""
        overlap = max(len(needle.text) for needle in self.needles) - 1
        found: tuple[set[Uid], ...] = tuple(set() for _ in self.needles)
        tail, size = b"", 0
        for piece in pieces:
            size += len(piece)
            tail += piece
            for uids, needle in zip(found, self.needles, strict=True):
                if not uids and needle.is_in(tail, 0, len(tail)):
                    uids.add(uid)
            tail = tail[max(0, len(tail) - overlap) :]
        return Scanned(uid, found, MESSAGE_COST + (DEARER + len(self.needles)) * size)
