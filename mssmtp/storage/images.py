"""What one process remembers of big mailboxes: UIDs and flags of all messages, 5 octets each.

Reading the rows of 100,000 messages to say only their flags costs ten times as much as saying them.
An image belongs to one modseq of its mailbox: every change of a row takes a new one, so a snapshot
that shows the same modseq holds the same messages. What changed since is read, and only that.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from mssmtp.mail import MailboxId, ModSeq

MOST_SETS = 256
"""Different sets of flags an image can tell apart; a mailbox with more has none."""
MOST_MESSAGES = 4_000_000
"""Of all images of a process together: 20 MB."""

Span = tuple[int, int]
"""Positions `start <= i < stop`."""


class TooManySets(Exception):
    """The messages of a mailbox have more than MOST_SETS different sets of flags."""


class Codes(dict[int, int]):
    """Numbers from 0 for sets of flags, given as they come. Raises TooManySets."""

    def __missing__(self, bits: int) -> int:
        if len(self) >= MOST_SETS:
            raise TooManySets
        code = self[bits] = len(self)
        return code


@dataclass(frozen=True, slots=True)
class Image:
    """The messages of a mailbox at `modseq`: `uids` ascending, and `codes[i]` of message i, which
    stands for the flags `sets[codes[i]]`. Never changed: threads share it."""

    modseq: ModSeq
    uids: array[int]
    codes: bytes
    sets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def first_without(self, bit: int) -> int | None:
        """The first position whose flags lack `bit`."""
        lacking = (code for code, bits in enumerate(self.sets) if not bits & bit)
        found = [at for at in map(self._first, lacking) if at >= 0]
        return min(found, default=None)

    def _first(self, code: int) -> int:
        return self.codes.find(code)

    def count(self, span: Span, bit: int) -> int:
        """How many of `span` have `bit`."""
        start, stop = span
        having = (code for code, bits in enumerate(self.sets) if bits & bit)
        return sum(self.codes.count(code, start, stop) for code in having)

    def span(self, low: int, high: int) -> Span:
        """Positions of the UIDs `low` to `high`."""
        return bisect_left(self.uids, low), bisect_right(self.uids, high)

    def with_flags(self, spans: Sequence[Span], keep: int, more: int, modseq: ModSeq) -> Image:
        """The image at `modseq`, once the flags of `spans` became `bits & keep | more`.

        Raises TooManySets.
        """
        codes = Codes(zip(self.sets, range(len(self.sets)), strict=True))
        table = bytes(codes[bits & keep | more] for bits in self.sets).ljust(256, b"\0")
        pieces: list[bytes] = []
        done = 0
        for start, stop in spans:
            pieces += (self.codes[done:start], self.codes[start:stop].translate(table))
            done = stop
        pieces.append(self.codes[done:])
        return Image(modseq, self.uids, b"".join(pieces), tuple(codes))

    def with_news(
        self, modseq: ModSeq, rows: Iterable[tuple[int, ...]], gone: Iterable[int]
    ) -> Image:
        """The image at `modseq`: `rows` (UID, bits; ascending) are new or have other flags now,
        `gone` were expunged. Raises TooManySets."""
        codes = Codes(zip(self.sets, range(len(self.sets)), strict=True))
        uids, flags = self.uids[:], bytearray(self.codes)
        for uid, bits in rows:
            at = bisect_left(uids, uid)
            if at < len(uids) and uids[at] == uid:
                flags[at] = codes[bits]
            else:
                uids.insert(at, uid)
                flags.insert(at, codes[bits])
        lost = sorted(at for at in (_position(uids, uid) for uid in gone) if at is not None)
        if lost:
            kept = list(zip([0, *(at + 1 for at in lost)], [*lost, len(uids)], strict=True))
            uids = array("I", b"".join(uids[start:stop].tobytes() for start, stop in kept))
            flags = bytearray().join(flags[start:stop] for start, stop in kept)
        return Image(modseq, uids, bytes(flags), tuple(codes))


def image_of(modseq: ModSeq, blocks: Iterable[Iterable[tuple[int, ...]]]) -> Image:
    """An image of rows (UID, bits), ascending, which come block by block. Raises TooManySets."""
    codes, uids, flags = Codes(), array("I"), bytearray()
    for block in blocks:
        numbers = array("Q", chain.from_iterable(block))
        uids.extend(array("I", numbers[0::2]))
        flags += bytes(map(codes.__getitem__, numbers[1::2]))
    return Image(modseq, uids, bytes(flags), tuple(codes))


def _position(uids: array[int], uid: int) -> int | None:
    at = bisect_left(uids, uid)
    return at if at < len(uids) and uids[at] == uid else None


class Images:
    """The images of one process; safe between threads. The least used are forgotten first."""

    def __init__(self, most_messages: int = MOST_MESSAGES) -> None:
        self._most = most_messages
        self._images: OrderedDict[MailboxId, Image] = OrderedDict()
        self._messages = 0
        self._lock = threading.Lock()

    def of(self, mailbox: MailboxId) -> Image | None:
        """The newest image of `mailbox`."""
        with self._lock:
            if mailbox in self._images:
                self._images.move_to_end(mailbox)
            return self._images.get(mailbox)

    def keep(self, mailbox: MailboxId, image: Image) -> None:
        """Remember what is committed, unless something newer is known."""
        with self._lock:
            before = self._images.get(mailbox)
            if before is not None and before.modseq >= image.modseq:
                return
            self._images[mailbox] = image
            self._images.move_to_end(mailbox)
            self._messages += len(image) - (0 if before is None else len(before))
            while self._messages > self._most:
                self._messages -= len(self._images.popitem(last=False)[1])

    def forget(self) -> None:
        """After a rollback: nothing is taken for granted."""
        with self._lock:
            self._images.clear()
            self._messages = 0
