"""Sequence sets and UID sets (RFC 3501 9), and the sequence numbers of one session."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mssmtp.errors import BadSyntax

STAR = 0
"""`*` in a range: the largest number in use."""
MAX_ITEMS = 16_384
MAX_NUMBER = (1 << 32) - 1

_SET = re.compile(rb"(?:\*|[1-9][0-9]{0,9})(?:[:,](?:\*|[1-9][0-9]{0,9}))*\Z")

Span = tuple[int, int]
"""Positions `start <= i < stop` in a view, counted from 0."""


class UidRequired(BadSyntax):
    """A sequence number where the client has asked for UIDs only (RFC 9586 3)."""


@dataclass(frozen=True, slots=True)
class NumberSet:
    """`sequence-set`: ranges as written, `STAR` for `*`; or `$`, what a search has saved."""

    ranges: tuple[tuple[int, int], ...]
    is_saved: bool = False

    @classmethod
    def parse(cls, octets: bytes) -> NumberSet:
        """Raises BadSyntax; at most MAX_ITEMS ranges, numbers of 32 bits."""
        if octets == b"$":
            return cls((), is_saved=True)
        if not _SET.match(octets) or octets.count(b",") >= MAX_ITEMS:
            raise BadSyntax("not a set of numbers")
        ranges = []
        for item in octets.split(b","):
            first, colon, last = item.partition(b":")
            if b":" in last:
                raise BadSyntax("not a range")
            start = _number(first)
            ranges.append((start, _number(last) if colon else start))
        return cls(tuple(ranges))

    def numbers(self) -> Iterator[int]:
        """Each number of a set without `*`, in the order given."""
        for first, last in self.ranges:
            yield from range(min(first, last), max(first, last) + 1)

    @property
    def is_plain(self) -> bool:
        """Whether it says all by itself: no `*`, no `$`."""
        return not self.is_saved and not any(STAR in each for each in self.ranges)

    def render(self) -> bytes:
        """The set as octets; `parse` gives it back."""
        if self.is_saved:
            return b"$"
        return b",".join(
            _text(first) if first == last else _text(first) + b":" + _text(last)
            for first, last in self.ranges
        )


def _number(octets: bytes) -> int:
    number = STAR if octets == b"*" else int(octets)
    if number > MAX_NUMBER:
        raise BadSyntax("number too large")
    return number


def _text(number: int) -> bytes:
    return b"*" if number == STAR else b"%d" % number


def compress(numbers: Iterable[int]) -> bytes:
    """`numbers` in the given order as the shortest set, e.g. `1:3,7` (GEN-07)."""
    out: list[bytes] = []
    start = previous = -1
    for number in numbers:
        if number == previous + 1 and start >= 0:
            previous = number
            continue
        if start >= 0:
            out.append(NumberSet(((start, previous),)).render())
        start = previous = number
    if start >= 0:
        out.append(NumberSet(((start, previous),)).render())
    return b",".join(out)


class View:
    """The messages a session knows, as it counts them: position i has sequence number i + 1.

    4 octets a message, so that 100,000 messages cost a session 400 KB.

    `saved`: what `$` stands for (RFC 5182 2.1). It lives as long as the mailbox is selected, and
    loses the messages that the session was told are gone.
    """

    __slots__ = ("is_part", "saved", "uids", "uids_only")

    def __init__(self, uids: Iterable[int] = (), *, is_part: bool = False) -> None:
        self.is_part = is_part
        """Between its messages there are others, which are not to be seen (DEF-23)."""
        self.uids = array("I", uids)
        self.saved: list[Span] = []
        self.uids_only = False
        """No sequence number is taken, nor said (RFC 9586)."""

    def __len__(self) -> int:
        return len(self.uids)

    def position(self, uid: int) -> int | None:
        """Where `uid` is, or None."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def spans(self, wanted: NumberSet, *, by_uid: bool) -> list[Span]:
        """The positions `wanted` names, ascending, without overlap.

        Unknown UIDs are passed over (RFC 3501 6.4.8); a sequence number beyond the last message
        raises BadSyntax (section 9, seq-number), but `n:*` of an empty mailbox is nothing.
        """
        if wanted.is_saved:
            return list(self.saved)
        if self.uids_only and not by_uid:
            raise UidRequired("UIDs only")
        pick = self._by_uid if by_uid else self._by_number
        return _merged(sorted(filter(None, map(pick, wanted.ranges))))

    def _by_number(self, numbers: tuple[int, int]) -> Span | None:
        last = len(self.uids)
        if not last and STAR in numbers:
            return None
        first, second = (last if n == STAR else n for n in numbers)
        low, high = min(first, second), max(first, second)
        if high > last:
            raise BadSyntax("no such sequence number")
        return low - 1, high

    def _by_uid(self, numbers: tuple[int, int]) -> Span | None:
        if not self.uids:
            return None
        first, second = (self.uids[-1] if n == STAR else n for n in numbers)
        low, high = min(first, second), max(first, second)
        span = bisect_left(self.uids, low), bisect_right(self.uids, high)
        return span if span[0] < span[1] else None

    def uid_ranges(self, spans: Sequence[Span]) -> list[tuple[int, int]]:
        """`spans` as inclusive UID ranges; a gap inside one holds no live message."""
        if self.is_part:
            return _runs(self.uids_of(spans))
        return [(self.uids[start], self.uids[stop - 1]) for start, stop in spans]

    def uids_of(self, spans: Sequence[Span]) -> list[int]:
        """Every UID of `spans`."""
        return list(chain.from_iterable(self.uids[start:stop].tolist() for start, stop in spans))

    def among(self, uids: Iterable[int], spans: Sequence[Span]) -> list[Span]:
        """Where within `spans` the messages `uids` are, which come ascending."""
        starts = [start for start, _ in spans]
        found: list[Span] = []
        for uid in uids:
            position = self.position(uid)
            at = -1 if position is None else bisect_right(starts, position) - 1
            if position is not None and at >= 0 and position < spans[at][1]:
                found.append((position, position + 1))
        return _merged(found)

    def append(self, uids: Iterable[int]) -> None:
        """New messages; their UIDs are above all others."""
        self.uids.extend(uids)

    def without(self, uids: Iterable[int]) -> tuple[View, list[int]]:
        """A view that has forgotten `uids`, and the numbers for EXPUNGE responses, each right at
        its turn (7.4.1)."""
        positions = sorted({p for p in map(self.position, uids) if p is not None})
        if not positions:
            return self, []
        gone = spans_of(positions)
        starts, stops = [0, *(stop for _, stop in gone)], [*(at for at, _ in gone), len(self.uids)]
        kept = (self.uids[start:stop].tobytes() for start, stop in zip(starts, stops, strict=True))
        left = View(array("I", b"".join(kept)), is_part=self.is_part)
        left.saved, left.uids_only = _without(self.saved, positions), self.uids_only
        return left, [position + 1 - earlier for earlier, position in enumerate(positions)]

    def become(self, other: View) -> None:
        """What `without` gave is what the client knows from now on."""
        self.uids, self.saved = other.uids, other.saved

    def remove(self, uids: Iterable[int]) -> list[int]:
        """Forget `uids`; the numbers of `without`."""
        left, numbers = self.without(uids)
        self.become(left)
        return numbers


def _runs(uids: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending UIDs as closed ranges without a gap."""
    return [(uids[start], uids[stop - 1]) for start, stop in _gapless(uids)]


def _gapless(uids: Sequence[int]) -> Iterator[Span]:
    start = 0
    for at in range(1, len(uids) + 1):
        if at == len(uids) or uids[at] != uids[at - 1] + 1:
            yield start, at
            start = at


def _merged(spans: Iterable[Span]) -> list[Span]:
    out: list[Span] = []
    for start, stop in spans:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out


def _without(spans: Sequence[Span], gone: Sequence[int]) -> list[Span]:
    """Where `spans` are once the positions `gone`, ascending, are taken out."""
    left = (
        (start - bisect_left(gone, start), stop - bisect_left(gone, stop)) for start, stop in spans
    )
    return _merged(span for span in left if span[0] < span[1])


def spans_of(positions: Iterable[int]) -> list[Span]:
    """Ascending positions as the fewest spans."""
    out: list[Span] = []
    start = stop = -1
    for position in positions:
        if position == stop:
            stop += 1
            continue
        if start >= 0:
            out.append((start, stop))
        start, stop = position, position + 1
    if start >= 0:
        out.append((start, stop))
    return out


def cut(spans: Sequence[Span], size: int) -> Iterator[list[Span]]:
    """`spans` in groups of at most `size` positions, in order."""
    group: list[Span] = []
    room = size
    for start, stop in spans:
        while start < stop:
            end = min(stop, start + room)
            group.append((start, end))
            room -= end - start
            start = end
            if not room:
                yield group
                group, room = [], size
    if group:
        yield group


def part_of(spans: Sequence[Span], within: range) -> list[Span]:
    """Those positions of `spans` that `within` names, the first one being 0."""
    out: list[Span] = []
    passed = 0
    for start, stop in spans:
        first = start + max(within.start - passed, 0)
        last = min(stop, start + within.stop - passed)
        if first < last:
            out.append((first, last))
        passed += stop - start
    return out


def count_of(spans: Sequence[Span]) -> int:
    """How many positions there are in `spans`."""
    return sum(stop - start for start, stop in spans)


def before(spans: Sequence[Span], position: int) -> list[Span]:
    """What of `spans` lies before `position`."""
    return [(start, min(stop, position)) for start, stop in spans if start < position]


def after(spans: Sequence[Span], position: int) -> list[Span]:
    """What of `spans` lies at or behind `position`."""
    return [(max(start, position), stop) for start, stop in spans if stop > position]
