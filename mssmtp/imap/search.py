"""Finding messages (RFC 3501 6.4.4): runs in a reading thread, a stretch of the mailbox at a time.

Every key narrows a set of UIDs. Cheap keys go first: rows answer flags, dates, sizes and numbers
(PRF-04), summaries answer dates of headers. Text, of header fields too, is looked for in sealed
packs, last, and only among messages that everything else has let through.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, cast

from mssmtp.imap import objectids
from mssmtp.imap.keys import (
    Aged,
    And,
    Content,
    Dated,
    Flagged,
    Header,
    Identified,
    Key,
    Modseq,
    Not,
    Numbers,
    Or,
    Recent,
    Saved,
    Sized,
)
from mssmtp.imap.numbers import Span, View
from mssmtp.imap.results import Found
from mssmtp.imap.selected import Selected
from mssmtp.mail import Uid
from mssmtp.message.dates import sent_on
from mssmtp.message.decode import fold
from mssmtp.message.readable import Needle, field_mark
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.model import MessageRow, from_us, to_us
from mssmtp.storage.textsealing import TextKind

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

ROWS = 8_192
TEXTS = 16_384
MOST_COST = 67_108_864
"""Octets looked at after which a reading thread is given back: a tenth of a second. Everybody's
reads wait for these threads (D11)."""
_SUMMARY_COST = 8_192
_SUMMARY_DEARER = 8

_ROW, _SUMMARY, _TEXT = 0, 1, 2
Uids = set[Uid]


@dataclass(slots=True)
class Looked:
    """What is known of one kind of text: who was looked at, and who holds which needle."""

    needles: tuple[Needle, ...]
    looked_at: Uids = field(default_factory=set)
    holders: dict[Needle, Uids] = field(default_factory=dict)


@dataclass(slots=True)
class Stretch:
    """Messages that are tested together. What lies behind `last` is left for the next turn."""

    reading: Reading
    selected: Selected
    spans: Sequence[Span]
    texts: dict[TextKind, Looked]
    everybody: Uids
    last: int
    cost: int = 0
    _rows: dict[Uid, MessageRow] | None = None
    _saved: dict[int, int] | None = None

    def saved(self) -> dict[int, int]:
        """Since when each message is in the mailbox, in microseconds (RFC 8514)."""
        if self._saved is None:
            first, last = self.spans[0][0], self.spans[-1][1] - 1
            uids = self.selected.view.uids
            self._saved = self.reading.saved_dates(
                self.selected.mailbox.id, uids[first], uids[last]
            )
        return self._saved

    def rows(self, among: Iterable[Uid]) -> Iterator[MessageRow]:
        """Rows of those that still exist."""
        known = self._all_rows()
        return (known[uid] for uid in among if uid in known)

    def existing(self, among: Uids) -> Uids:
        """Those of `among` that were not expunged meanwhile."""
        if not among:
            return among
        if self._rows is not None:
            return among & self._rows.keys()
        image = self.reading.image(self.selected.mailbox.id)
        if image is not None:  # in memory since SELECT
            return {uid for uid in among if image.holds(uid)}
        there = self.reading.uids(self.selected.mailbox.id, min(among), max(among))
        return among.intersection(there)

    def summaries(self, among: Uids) -> Iterator[tuple[Uid, Summary | None]]:
        """Summaries, None for a damaged one (D10), until enough was read in one turn."""
        mailbox = self.selected.mailbox.id
        wanted = sorted(uid for uid in among if uid <= self.last)
        for uid, octets in self.reading.summaries(mailbox, wanted):
            summary = None
            try:
                summary = Summary.from_bytes(octets)
            except UnknownSummary:
                logger.error("message damaged", extra={"mailbox": mailbox, "uid": uid})
            yield uid, summary
            if self._spent(_SUMMARY_COST + _SUMMARY_DEARER * len(octets), uid):
                return

    def holding(self, kind: TextKind, needle: Needle, among: Uids) -> Uids:
        """Those whose header sections, or bodies, hold `needle`.

        All needles of the search are looked for together: a pack is opened once.
        """
        if not needle.text:
            return among
        looked = self.texts[kind]
        if among is self.everybody and not looked.looked_at:  # nothing else has narrowed it
            left = cast("list[Uid]", self.selected.view.uids_of(self.spans))
        else:
            left = sorted(among - looked.looked_at)
        new = left[: bisect_right(left, self.last)]
        looked.looked_at.update(new)
        mailbox = self.selected.mailbox.id
        for scanned in self.reading.find_texts(mailbox, kind, looked.needles, new):
            for each, holders in zip(looked.needles, scanned.found, strict=True):
                looked.holders.setdefault(each, set()).update(holders)
            if self._spent(scanned.cost, scanned.last):
                break
        return among & looked.holders.get(needle, set())

    def _all_rows(self) -> dict[Uid, MessageRow]:
        if self._rows is None:
            ranges = self.selected.view.uid_ranges(self.spans)
            rows = self.reading.messages(self.selected.mailbox.id, ranges)
            self._rows = {row.uid: row for row in rows}
        return self._rows

    def _spent(self, cost: int, reached: int) -> bool:
        """True when enough was done in one turn: the stretch ends at `reached`."""
        self.cost += cost
        if self.cost >= MOST_COST:
            self.last = min(self.last, reached)
        return reached >= self.last


Filter = Callable[[Stretch, Uids], Uids]
Test = Callable[[Stretch, MessageRow], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """A compiled search: what narrows, where to look, how many messages at a time."""

    narrow: Filter
    needles: dict[TextKind, tuple[Needle, ...]]
    spans: tuple[Span, ...]
    batch: int
    is_long: bool
    tells_modseq: bool
    """RFC 7162 3.1.5: MODSEQ was searched for, so the highest of what is found is told."""


def compiled(key: And, view: View, now: datetime) -> Search:
    """`key` for the messages of `view`, as of `now` (RFC 5032). Raises BadSyntax for a number that
    does not exist."""
    spans: Sequence[Span] = [(0, len(view))] if len(view) else []
    for each in key.keys:
        if isinstance(each, Numbers):
            spans = view.spans(each.numbers, by_uid=each.by_uid)
            break
    dearest = _cost(key)
    return Search(
        narrow=_filter(key, view, to_us(now)),
        needles={kind: tuple(sorted(_needles(key, kind))) for kind in TextKind},
        spans=tuple(spans),
        batch=ROWS if dearest == _ROW else TEXTS,
        is_long=dearest != _ROW,
        tells_modseq=has_modseq(key),
    )


def find(
    reading: Reading, selected: Selected, search: Search, spans: Sequence[Span]
) -> tuple[Found, int]:
    """What matches within `spans`, in the order of the mailbox; and the position to go on from."""
    view = selected.view
    among = cast(Uids, set(view.uids_of(spans)))
    texts = {kind: Looked(needles) for kind, needles in search.needles.items()}
    stretch = Stretch(reading, selected, spans, texts, among, view.uids[spans[-1][1] - 1])
    found = search.narrow(stretch, among)
    found = stretch.existing({uid for uid in found if uid <= stretch.last})
    positions = _positions(view, spans, found)
    modseqs = array("Q")
    if search.tells_modseq:
        modseqs.extend(row.modseq for row in stretch.rows(sorted(found)))
    return Found(positions, modseqs), bisect_right(view.uids, stretch.last)


def _positions(view: View, spans: Sequence[Span], found: Uids) -> array[int]:
    """Where `found`, all of them within `spans`, are."""
    uids = view.uids
    if 4 * len(found) < sum(stop - start for start, stop in spans):
        return array("I", (bisect_left(uids, uid) for uid in sorted(found)))
    return array(
        "I", (at for start, stop in spans for at in range(start, stop) if uids[at] in found)
    )


def leaves(key: Key) -> Iterator[Key]:
    """The keys that hold no others."""
    match key:
        case And(keys):
            yield from chain.from_iterable(map(leaves, keys))
        case Or(first, second):
            yield from leaves(first)
            yield from leaves(second)
        case Not(inner):
            yield from leaves(inner)
        case _:
            yield key


def has_modseq(key: Key) -> bool:
    """Whether MODSEQ is among the keys."""
    return any(isinstance(each, Modseq) for each in leaves(key))


def has_numbers(key: Key) -> bool:
    """Whether something is told by sequence number, or by `$`: of one mailbox only."""
    numbers = (each for each in leaves(key) if isinstance(each, Numbers))
    return any(not each.by_uid or each.numbers.is_saved for each in numbers)


def _cost(key: Key) -> int:
    match key:
        case And(keys):
            return max(map(_cost, keys))
        case Or(first, second):
            return max(_cost(first), _cost(second))
        case Not(inner):
            return _cost(inner)
        case Content() | Header():
            return _TEXT
        case Dated(sent=True) | Identified():
            return _SUMMARY
        case _:
            return _ROW


def _needles(key: Key, kind: TextKind) -> set[Needle]:
    """What will be looked for in texts of one kind."""
    match key:
        case And(keys):
            return set[Needle]().union(*(_needles(each, kind) for each in keys))
        case Or(first, second):
            return _needles(first, kind) | _needles(second, kind)
        case Not(inner):
            return _needles(inner, kind)
        case Header() if kind is TextKind.HEADER:
            return {_needle(key)}
        case Content(text, with_header) if fold(text) and (with_header or kind is TextKind.BODY):
            return {Needle(fold(text).encode())}
        case _:
            return set()


def _filter(key: Key, view: View, now_us: int) -> Filter:
    match key:
        case And(keys):
            return _every([_filter(each, view, now_us) for each in sorted(keys, key=_cost)])
        case Or(first, second):
            pair = sorted((first, second), key=_cost)
            one, other = (_filter(each, view, now_us) for each in pair)
            return lambda stretch, among: _either(one, other, stretch, among)
        case Not(inner):
            inverse = _filter(inner, view, now_us)
            return lambda stretch, among: among - inverse(stretch, among)
        case Numbers(numbers, by_uid):
            return _within(view, view.spans(numbers, by_uid=by_uid))
        case Header():
            return _header(_needle(key))
        case Content(text, with_header):
            return _content(Needle(fold(text).encode()), with_header=with_header)
        case Dated(relation, day, sent=True):
            return _sent(_relation(relation, day))
        case Saved(relation, day):
            return _saved(_relation(relation, day))
        case Aged(is_older, seconds):
            return _by_row(_aged(now_us - 1_000_000 * seconds, is_older=is_older))
        case Identified(name, id):
            return _identified(_IDS[name], id.encode("ascii"))
        case _:
            return _by_row(_row_test(key))


def _every(filters: list[Filter]) -> Filter:
    def narrow(stretch: Stretch, among: Uids) -> Uids:
        for each in filters:
            if not among:
                break
            among = each(stretch, among)
        return among

    return narrow


def _either(one: Filter, other: Filter, stretch: Stretch, among: Uids) -> Uids:
    found = one(stretch, among)
    left = among - found
    return found | other(stretch, left) if left else found


def _within(view: View, spans: Sequence[Span]) -> Filter:
    """Spans are ascending and apart: one look per message, however long the set is (ATT-27)."""
    starts = [start for start, _ in spans]

    def narrow(_stretch: Stretch, among: Uids) -> Uids:
        found: Uids = set()
        for uid in among:
            position = view.position(uid)
            if position is None:
                continue
            at = bisect_left(starts, position + 1) - 1
            if at >= 0 and position < spans[at][1]:
                found.add(uid)
        return found

    return narrow


def _content(needle: Needle, *, with_header: bool) -> Filter:
    """6.4.4: BODY looks into the body, TEXT into the header section too."""

    def narrow(stretch: Stretch, among: Uids) -> Uids:
        found: Uids = set()
        if with_header:
            found = stretch.holding(TextKind.HEADER, needle, among)
        left = among - found
        return found | stretch.holding(TextKind.BODY, needle, left) if left else found

    return narrow


def _needle(key: Header) -> Needle:
    """6.4.4: an empty string matches every message that has the field."""
    mark = field_mark(key.name)
    text = fold(key.text).encode()
    return Needle(text, mark) if text else Needle(mark)


def _header(needle: Needle) -> Filter:
    return lambda stretch, among: stretch.holding(TextKind.HEADER, needle, among)


def _sent(holds: Callable[[date | None], bool]) -> Filter:
    def narrow(stretch: Stretch, among: Uids) -> Uids:
        return {
            uid
            for uid, summary in stretch.summaries(among)
            if holds(sent_on(summary.header) if summary else None)
        }

    return narrow


def _saved(holds: Callable[[date | None], bool]) -> Filter:
    def narrow(stretch: Stretch, among: Uids) -> Uids:
        saved = stretch.saved()
        return {uid for uid in among if uid in saved and holds(_day(saved[uid]))}

    return narrow


def _day(at_us: int) -> date:
    return from_us(at_us).date()


def _aged(than_us: int, *, is_older: bool) -> Test:
    """RFC 5032 2: a message of exactly that age is both."""
    if is_older:
        return lambda _, row: row.internal_date_us <= than_us
    return lambda _, row: row.internal_date_us >= than_us


_IDS = {"EMAILID": objectids.email_id, "THREADID": objectids.thread_id}


def _identified(id_of: Callable[[Summary], bytes], wanted: bytes) -> Filter:
    return lambda stretch, among: {
        uid for uid, summary in stretch.summaries(among) if summary and id_of(summary) == wanted
    }


def _by_row(test: Test) -> Filter:
    return lambda stretch, among: {row.uid for row in stretch.rows(among) if test(stretch, row)}


def _row_test(key: Key) -> Test:
    match key:
        case Flagged(flag, is_set):
            wanted = flag.lower()
            return lambda _, row: (wanted in _lowered(row.flags)) is is_set
        case Recent(is_recent):
            return lambda stretch, row: (row.uid in stretch.selected.recents) is is_recent
        case Modseq(at_least):
            return lambda _, row: row.modseq >= at_least
        case Sized(larger, octets):
            if larger:
                return lambda _, row: row.size_octets > octets
            return lambda _, row: row.size_octets < octets
        case Dated(relation, day):
            holds = _relation(relation, day)
            return lambda _, row: holds(row.internal_date.astimezone(UTC).date())
        case _:
            return lambda _, row: True


def _relation(relation: str, day: date) -> Callable[[date | None], bool]:
    match relation:
        case "BEFORE":
            return lambda found: found is not None and found < day
        case "SINCE":
            return lambda found: found is not None and found >= day
        case _:
            return lambda found: found == day


@lru_cache(maxsize=4096)
def _lowered(flags: frozenset[str]) -> frozenset[str]:
    return frozenset(flag.lower() for flag in flags)
