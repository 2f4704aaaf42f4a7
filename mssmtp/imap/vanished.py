"""Which of the messages a client knows are gone (RFC 7162 3.2.5, 3.2.6, 3.2.10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from mssmtp.imap.numbers import MAX_NUMBER, STAR, NumberSet, View
from mssmtp.mail import ModSeq
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

MOST_IN_A_LINE = 500
"""Ranges of one response: a line of 11,000 octets at most."""

Range = tuple[int, int]
"""UIDs `first <= uid <= last`."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a client says it knows: the mailbox up to `modseq`, the messages `uids` (None: all that
    there ever were), and the numbers and UIDs of some of them (`matches`, 3.2.5.2)."""

    modseq: ModSeq
    uids: NumberSet | None = None
    matches: tuple[NumberSet, NumberSet] | None = None


def earlier(reading: Reading, mailbox: Mailbox, view: View, known: Known) -> list[Range]:
    """What of `known` was expunged since; nothing that the session still counts, or will.

    When the store has forgotten what was expunged so long ago, everything that is not there: more
    than was asked for, but never less (3.2.6). So too in a part: what was expunged beside it was
    never in it, and nobody hears that it was in the box (DEF-23).
    """
    within = _ranges(known.uids, view, mailbox.uid_next - 1)
    if mailbox.part is None and reading.remembers_since(mailbox.id, known.modseq):
        gone = reading.expunged_since(mailbox.id, known.modseq)
        return _inside((uid for uid in gone if view.position(uid) is None), within)
    matching = _last_match(view, known.matches)
    above = [(max(low, matching + 1), high) for low, high in within if high > matching]
    return list(_between({*view.uids, *reading.seen_uids(mailbox)}, above))


def _ranges(wanted: NumberSet | None, view: View, last: int) -> list[Range]:
    """`wanted` as ascending ranges; `*` reaches as far as UIDs were ever given."""
    if wanted is None:
        return [(1, last)] if last else []
    if wanted.is_saved:
        return view.uid_ranges(view.saved)
    found: list[Range] = []
    for first, second in wanted.ranges:
        low, high = sorted((first, second))
        if low == STAR:
            low, high = min(high or MAX_NUMBER, view.uids[-1] if view.uids else 1), last
        found.append((low, min(high, last)))
    merged: list[Range] = []
    for low, high in sorted(found):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        elif low <= high:
            merged.append((low, high))
    return merged


def _inside(uids: Iterable[int], within: Sequence[Range]) -> list[Range]:
    """Those of `uids` that are `within`; both ascend."""
    found: list[Range] = []
    left = iter(within)
    low, high = next(left, (MAX_NUMBER + 1, MAX_NUMBER + 1))
    for uid in uids:
        while uid > high:
            low, high = next(left, (MAX_NUMBER + 1, MAX_NUMBER + 1))
        if uid >= low:
            if found and found[-1][1] == uid - 1:
                found[-1] = (found[-1][0], uid)
            else:
                found.append((uid, uid))
    return found


def _between(there: Iterable[int], within: Sequence[Range]) -> Iterator[Range]:
    """What of `within` nobody has."""
    uids = sorted(there)
    at = 0
    for low, high in within:
        start = low
        while at < len(uids) and uids[at] < low:
            at += 1
        while at < len(uids) and uids[at] <= high:
            if start < uids[at]:
                yield start, uids[at] - 1
            start = uids[at] + 1
            at += 1
        if start <= high:
            yield start, high


def _last_match(view: View, matches: tuple[NumberSet, NumberSet] | None) -> int:
    """The highest UID that has the number the client gives it: what is gone below, it knows."""
    if matches is None:
        return 0
    numbers, uids = (islice(each.numbers(), len(view)) for each in matches)
    found = 0
    for number, uid in zip(numbers, uids, strict=False):
        if number <= len(view) and view.uids[number - 1] == uid:
            found = max(found, uid)
    return found


def responses(gone: Sequence[Range], *, earlier: bool = False) -> Iterator[bytes]:
    """`* VANISHED [(EARLIER)] known-uids`, as many as are needed."""
    tag = b" (EARLIER)" if earlier else b""
    for start in range(0, len(gone), MOST_IN_A_LINE):
        uids = NumberSet(tuple(gone[start : start + MOST_IN_A_LINE])).render()
        yield b"* VANISHED%b %b\r\n" % (tag, uids)


def ranges_of(uids: Iterable[int]) -> list[Range]:
    """Ascending `uids` as ranges."""
    return _inside(uids, [(1, MAX_NUMBER)])
