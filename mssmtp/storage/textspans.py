"""Which UIDs the packs of texts answer for, and which packs are opened or looked through together.

A search for a subject in 5,000 messages opens forty packs and finds a few octets in each; joined
they are remembered (`remembered`) as long as somebody searches. UIDs never come twice and nothing
joins a window that is closed: of what it holds, messages can only go. So the UIDs that a pack
answers for, and how many messages it has, tell what is in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mssmtp.storage.messages import TEXT_UIDS

TOGETHER_OCTETS = 131_072
"""Sealed packs that are read and opened together: one change of thread costs as much as opening a
small one."""
JOINED_UIDS = 4_096
"""What is joined lies between two multiples of it, so that a new pack changes one of the last."""
JOINED_LEAST = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The UIDs, both included, that a pack answers for, whether messages have them or not."""

    first: int
    last: int
    sealed_octets: int = field(default=0, compare=False)


class Kept(NamedTuple):
    """A pack that is there, for the UIDs `first` to `last`."""

    first: int
    last: int
    messages: int


Run = list[Kept]
"""Packs without a gap, from the beginning of a window to the end of one."""


def runs(packs: Iterable[Kept], uids: Sequence[int]) -> Iterator[Run]:
    """What of `packs`, ascending, is looked through together for `uids`: where half of the
    messages are wanted."""
    some: Run = []
    for pack in packs:
        if some and (pack.first != some[-1].last + 1 or pack.first % JOINED_UIDS == 0):
            yield from _whole(some, uids)
            some = []
        some.append(pack)
    yield from _whole(some, uids)


def _whole(some: Run, uids: Sequence[int]) -> Iterator[Run]:
    start, stop = 0, len(some)
    while start < stop and some[start].first % TEXT_UIDS:
        start += 1
    while start < stop and (some[stop - 1].last + 1) % TEXT_UIDS:
        stop -= 1
    run = some[start:stop]
    if len(run) < JOINED_LEAST:
        return
    wanted = bisect_right(uids, run[-1].last) - bisect_left(uids, run[0].first)
    if 2 * wanted >= sum(pack.messages for pack in run):
        yield run


def gaps_of(window: int, spans: Sequence[Span]) -> list[Span]:
    """What `spans`, ascending, leave of a window."""
    gaps, at = [], window * TEXT_UIDS
    for span in spans:
        if span.first > at:
            gaps.append(Span(at, span.first - 1))
        at = max(at, span.last + 1)
    if at < end_of(window):
        gaps.append(Span(at, end_of(window) - 1))
    return gaps


def windows_of(uids: Sequence[int]) -> dict[int, slice]:
    """Where in `uids`, ascending, those of each window are."""
    found, at = {}, 0
    while at < len(uids):
        window = uids[at] // TEXT_UIDS
        end = bisect_left(uids, end_of(window), at)
        found[window] = slice(at, end)
        at = end
    return found


def together(spans: Iterable[tuple[Span, bool]]) -> Iterator[tuple[list[Span], bool]]:
    """Neighbours, as many as are opened together; or left unopened."""
    some: list[Span] = []
    octets, is_wanted = 0, False
    for span, wanted in spans:
        is_near = bool(some) and span.first // TEXT_UIDS <= some[-1].last // TEXT_UIDS + 1
        octets += span.sealed_octets
        if some and not (is_near and wanted == is_wanted and octets <= TOGETHER_OCTETS):
            yield some, is_wanted
            some, octets = [], span.sealed_octets
        some.append(span)
        is_wanted = wanted
    if some:
        yield some, is_wanted


def end_of(window: int) -> int:
    """The first UID behind a window."""
    return (window + 1) * TEXT_UIDS
