"""What one process remembers of big mailboxes: UIDs, flags and modseqs of all messages.

13 octets for each. Reading the rows of 100,000 messages to say only their flags costs ten times as
much as saying them. An image belongs to one modseq of its mailbox: every change of a message takes
a new one, so a snapshot that shows the same modseq holds the same messages. What changed since is
read, and only that.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mssmtp.mail import MailboxId, ModSeq
from mssmtp.storage.states import STATE_UIDS, Mark, State

MOST_SETS = 256
"""Different sets of flags an image can tell apart; a mailbox with more has none."""
MOST_MESSAGES = 2_000_000
"""Of all images of a process together: 26 MB."""

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
    stands for the flags `sets[codes[i]]`, which it has since `modseqs[i]`. Never changed: threads
    share it."""

    modseq: ModSeq
    uids: array[int]
    codes: bytes
    sets: tuple[int, ...]
    modseqs: array[int]

    def __len__(self) -> int:
        return len(self.codes)

    def holds(self, uid: int) -> bool:
        """Whether the message is there."""
        return _position(self.uids, uid) is not None

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

    def with_flags(
        self, spans: Sequence[Span], keep: int, more: int, modseq: ModSeq
    ) -> tuple[Image, list[Span]]:
        """The image at `modseq`, once the flags of `spans` became `bits & keep | more`; and where
        they became others. Raises TooManySets.
        """
        codes = Codes(zip(self.sets, range(len(self.sets)), strict=True))
        table = bytes(codes[bits & keep | more] for bits in self.sets).ljust(256, b"\0")
        same = bytes(new == old for old, new in enumerate(table[: len(self.sets)]))
        pieces: list[bytes] = []
        changed: list[Span] = []
        modseqs = self.modseqs[:]
        done = 0
        for start, stop in spans:
            piece = self.codes[start:stop]
            pieces += (self.codes[done:start], piece.translate(table))
            for low, high in _runs(piece.translate(same.ljust(256, b"\0")), start):
                modseqs[low:high] = array("Q", (modseq,)) * (high - low)
                changed.append((low, high))
            done = stop
        pieces.append(self.codes[done:])
        return Image(modseq, self.uids, b"".join(pieces), tuple(codes), modseqs), changed

    def states(self, spans: Sequence[Span]) -> list[State]:
        """Of every window that `spans`, ascending, reach into."""
        found: list[State] = []
        stop = 0
        for start, end in spans:
            at = max(start, stop)
            while at < end:
                base = self.uids[at] // STATE_UIDS * STATE_UIDS
                first, stop = self.span(base, base + STATE_UIDS - 1)
                part = slice(first, stop)
                uids, modseqs = self.uids[part], self.modseqs[part]
                found.append(State(uids, modseqs, self.codes[part], self.sets))
                at = stop
        return found

    def with_news(self, modseq: ModSeq, marks: Iterable[Mark], gone: Iterable[int]) -> Image:
        """The image at `modseq`: `marks` (ascending) are new or have other flags now, `gone` were
        expunged. Raises TooManySets."""
        codes = Codes(zip(self.sets, range(len(self.sets)), strict=True))
        uids, flags, modseqs = self.uids[:], bytearray(self.codes), self.modseqs[:]
        for uid, changed_at, bits in marks:
            at = bisect_left(uids, uid)
            if at < len(uids) and uids[at] == uid:
                flags[at], modseqs[at] = codes[bits], changed_at
            else:
                uids.insert(at, uid)
                flags.insert(at, codes[bits])
                modseqs.insert(at, changed_at)
        lost = sorted(at for at in (_position(uids, uid) for uid in gone) if at is not None)
        if lost:
            kept = list(zip([0, *(at + 1 for at in lost)], [*lost, len(uids)], strict=True))
            uids = array("I", b"".join(uids[start:stop].tobytes() for start, stop in kept))
            modseqs = array("Q", b"".join(modseqs[start:stop].tobytes() for start, stop in kept))
            flags = bytearray().join(flags[start:stop] for start, stop in kept)
        return Image(modseq, uids, bytes(flags), tuple(codes), modseqs)


def _runs(same: bytes, at: int) -> Iterator[Span]:
    """Where `same` has zeros; its first octet is position `at`."""
    start = same.find(b"\0")
    while start >= 0:
        stop = same.find(b"\1", start)
        stop = len(same) if stop < 0 else stop
        yield at + start, at + stop
        start = same.find(b"\0", stop)


@dataclass(frozen=True, slots=True)
class Block:
    """Messages as they came, ascending."""

    uids: array[int]
    modseqs: array[int]
    bits: bytes | array[int]


def block_of(marks: Iterable[Mark]) -> Block:
    """The columns of rows."""
    numbers = array("Q", chain.from_iterable(marks))
    return Block(array("I", numbers[0::3]), numbers[1::3], numbers[2::3])


SHORT_BITS, SHORT_MODSEQ = 1 << 7, 1 << 24
"""Below these, UID, modseq and bits are one number of the database, from the right 32, 24 and 7
bits of it: making three of it for each message takes half the time of reading a mailbox."""


def block_of_numbers(numbers: Sequence[int]) -> Block:
    """The columns of such numbers, on a machine that begins with the lowest octet."""
    octets = bytearray(array("q", numbers).tobytes())
    bits = bytes(octets[7::8])
    octets[7::8] = bytes(len(bits))
    halves = array("I", bytes(octets))
    return Block(halves[0::2], array("Q", halves[1::2]), bits)


def image_of(modseq: ModSeq, blocks: Iterable[Block], states: Iterable[State] = ()) -> Image:
    """An image of messages as they came, ascending, block by block, and of what has become of some
    of them. Raises TooManySets."""
    codes, uids, modseqs, flags = Codes(), array("I"), array("Q"), bytearray()
    for block in blocks:
        uids.extend(block.uids)
        modseqs.extend(block.modseqs)
        flags += bytes(map(codes.__getitem__, block.bits))
    for state in states:
        at = bisect_left(uids, state.uids[0])
        stop = at + len(state.uids)
        known = [codes[bits] for bits in state.sets]
        if uids[at:stop] == array("I", state.uids):
            flags[at:stop] = bytes(map(known.__getitem__, state.codes))
            modseqs[at:stop] = array("Q", state.modseqs)
            continue
        for uid, changed_at, bits in state.marks():
            if (place := _position(uids, uid)) is not None:
                flags[place], modseqs[place] = codes[bits], changed_at
    return Image(modseq, uids, bytes(flags), tuple(codes), modseqs)


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
