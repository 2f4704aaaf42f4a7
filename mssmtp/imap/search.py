"""Finding messages (RFC 3501 6.4.4): runs in a reading thread, a stretch of the mailbox at a time.

Rows answer flags, dates, sizes and numbers (PRF-04); summaries answer header fields; bodies are
opened last, and only of messages everything else has let through.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from functools import lru_cache
from typing import TYPE_CHECKING

from mssmtp.errors import Damaged
from mssmtp.imap.fetch import number
from mssmtp.imap.keys import (
    And,
    Content,
    Dated,
    Flagged,
    Header,
    Key,
    Not,
    Numbers,
    Or,
    Recent,
    Sized,
)
from mssmtp.imap.numbers import Span, View
from mssmtp.imap.selected import Selected
from mssmtp.mail import MailboxId
from mssmtp.message.dates import sent_on
from mssmtp.message.decode import fold, header_text, headers_text, text_of
from mssmtp.message.headers import has
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

ROWS = 8_192
SUMMARIES = 512
BODIES = 32
MOST_TEXT = 8_388_608
"""Octets of text of one message that are searched, and after which a reading thread is given back:
folding them takes seconds, and everybody's reads wait for these threads (D11)."""

_ROW, _SUMMARY, _BODY = 0, 1, 2


@dataclass(slots=True)
class Candidate:
    """One message while it is tested."""

    reading: Reading
    mailbox: MailboxId
    number: int
    row: MessageRow
    recent: bool
    summary: Summary | None = None
    folded: dict[str, str] = field(default_factory=dict)
    text_octets: int = 0

    def close(self) -> None:
        """It was tested: let go of what was opened."""
        self.summary = None
        self.folded.clear()

    def header(self, name: str) -> str:
        """Decoded, folded values of a field."""
        if name not in self.folded:
            found = header_text(self.summary.header, name) if self.summary else ""
            self.folded[name] = fold(found)
        return self.folded[name]

    @property
    def whole_header(self) -> str:
        """The decoded, folded section."""
        if ":" not in self.folded:
            found = headers_text(self.summary.header) if self.summary else ""
            self.folded[":"] = fold(found)
        return self.folded[":"]

    @property
    def text(self) -> str:
        """Everything a reader sees in its text parts, folded."""
        if "" not in self.folded:
            self.folded[""] = fold(self._text())
        return self.folded[""]

    def _text(self) -> str:
        if self.summary is None:
            return ""
        texts = []
        for part in self.summary.text_parts():
            stop = min(part.body_end, part.body_start + MOST_TEXT - self.text_octets)
            self.text_octets += stop - part.body_start
            try:
                octets = self.reading.body(self.mailbox, self.row.uid, part.body_start, stop)
            except (Damaged, NoSuchMessage):
                logger.exception("message damaged", extra={"uid": self.row.uid})
                continue
            texts.append(text_of(part, octets))
        return "\n".join(texts)


Test = Callable[[Candidate], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """A compiled search: tests by what they need, and where to look."""

    cheap: tuple[Test, ...]
    dear: tuple[Test, ...]
    spans: tuple[Span, ...]
    batch: int


def compiled(key: And, view: View) -> Search:
    """`key` for the messages of `view`. Raises BadSyntax for a number that does not exist."""
    ranked = sorted(((_cost(each), _test(each, view)) for each in key.keys), key=lambda x: x[0])
    spans: Sequence[Span] = [(0, len(view))] if len(view) else []
    for each in key.keys:
        if isinstance(each, Numbers):
            spans = view.spans(each.numbers, by_uid=each.by_uid)
            break
    dearest = ranked[-1][0]
    return Search(
        cheap=tuple(test for cost, test in ranked if cost == _ROW),
        dear=tuple(test for cost, test in ranked if cost != _ROW),
        spans=tuple(spans),
        batch=(ROWS, SUMMARIES, BODIES)[dearest],
    )


def find(
    reading: Reading, selected: Selected, search: Search, spans: Sequence[Span]
) -> tuple[list[tuple[int, int]], int]:
    """(sequence number, UID) of what matches within `spans`, and the position to go on from."""
    mailbox = selected.mailbox.id
    recents = selected.recents
    rows = reading.messages(mailbox, selected.view.uid_ranges(spans))
    left = [
        candidate
        for at, row in number(selected, spans, rows)
        if _all(
            search.cheap,
            candidate := Candidate(reading, mailbox, at, row, bool(recents) and row.uid in recents),
        )
    ]
    position = spans[-1][1]
    if search.dear and left:
        left, reached = _sifted(reading, mailbox, search.dear, left)
        position = position if reached is None else reached
    return [(candidate.number, candidate.row.uid) for candidate in left], position


def _all(tests: tuple[Test, ...], candidate: Candidate) -> bool:
    return all(test(candidate) for test in tests)


def _sifted(
    reading: Reading, mailbox: MailboxId, dear: tuple[Test, ...], left: list[Candidate]
) -> tuple[list[Candidate], int | None]:
    """Those of `left` that pass; one message is open at a time, however large they are (D11).

    The position to go on from, when enough text was read before the last; else None.
    """
    waiting = {candidate.row.uid: candidate for candidate in left}
    passed: set[int] = set()
    text_octets = 0
    for uid, octets in reading.summaries(mailbox, list(waiting)):
        candidate = waiting.pop(uid)
        try:
            candidate.summary = Summary.from_bytes(octets)
        except UnknownSummary:
            logger.error("message damaged", extra={"mailbox": mailbox, "uid": uid})
        if _all(dear, candidate):
            passed.add(uid)
        candidate.close()
        text_octets += candidate.text_octets
        if text_octets >= MOST_TEXT:
            return [each for each in left if each.row.uid in passed], candidate.number
    # Without a summary since they were expunged meanwhile.
    passed.update(uid for uid, candidate in waiting.items() if _all(dear, candidate))
    return [each for each in left if each.row.uid in passed], None


def _cost(key: Key) -> int:
    match key:
        case And(keys):
            return max(map(_cost, keys))
        case Or(first, second):
            return max(_cost(first), _cost(second))
        case Not(inner):
            return _cost(inner)
        case Content():
            return _BODY
        case Header() | Dated(sent=True):
            return _SUMMARY
        case _:
            return _ROW


def _test(key: Key, view: View) -> Test:
    match key:
        case And(keys):
            ranked = sorted(keys, key=_cost)
            tests = tuple(_test(each, view) for each in ranked)
            return lambda c: _all(tests, c)
        case Or(first, second):
            one, other = (_test(each, view) for each in sorted((first, second), key=_cost))
            return lambda c: one(c) or other(c)
        case Not(inner):
            test = _test(inner, view)
            return lambda c: not test(c)
        case Numbers(numbers, by_uid):
            return _within(view.spans(numbers, by_uid=by_uid))
        case _:
            return _leaf(key)


def _within(spans: Sequence[Span]) -> Test:
    """Spans are ascending and apart: one look per message, however long the set is (ATT-27)."""
    starts = [start for start, _ in spans]

    def test(candidate: Candidate) -> bool:
        at = bisect_left(starts, candidate.number) - 1
        return at >= 0 and candidate.number <= spans[at][1]

    return test


def _leaf(key: Key) -> Test:
    match key:
        case Flagged(flag, is_set):
            wanted = flag.lower()
            return lambda c: (wanted in _lowered(c.row.flags)) is is_set
        case Recent(is_recent):
            return lambda c: c.recent is is_recent
        case Sized(larger, octets):
            if larger:
                return lambda c: c.row.size_octets > octets
            return lambda c: c.row.size_octets < octets
        case Dated(relation, day, sent):
            holds = _relation(relation, day)
            if sent:
                return lambda c: holds(sent_on(c.summary.header) if c.summary else None)
            return lambda c: holds(c.row.internal_date.astimezone(UTC).date())
        case Header(name, text):
            return _header(name, fold(text))
        case Content(text, with_header):
            needle = fold(text)
            if with_header:
                return lambda c: needle in c.whole_header or needle in c.text
            return lambda c: needle in c.text
        case _:
            return lambda c: True


def _relation(relation: str, day: date) -> Callable[[date | None], bool]:
    match relation:
        case "BEFORE":
            return lambda found: found is not None and found < day
        case "SINCE":
            return lambda found: found is not None and found >= day
        case _:
            return lambda found: found == day


def _header(name: str, needle: str) -> Test:
    lowered = name.lower()
    if not needle:  # 6.4.4: an empty string matches every message that has the field
        return lambda c: c.summary is not None and has(c.summary.header, lowered)
    return lambda c: needle in c.header(lowered)


@lru_cache(maxsize=4096)
def _lowered(flags: frozenset[str]) -> frozenset[str]:
    return frozenset(flag.lower() for flag in flags)
