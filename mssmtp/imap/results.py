"""What a search answers: SEARCH or ESEARCH, and `$` (RFC 3501 7.2.5, RFC 4731, RFC 5182, RFC 9394).

Results are positions in the session's view, in the order of the answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mssmtp.errors import BadSyntax
from mssmtp.imap import items
from mssmtp.imap.items import Item
from mssmtp.imap.numbers import Span, View, compress, spans_of
from mssmtp.imap.syntax import Cursor

_DATA = frozenset({"MIN", "MAX", "ALL", "COUNT"})
_SILENT = frozenset({"SAVE", "UPDATE"})
"""These answer nothing by themselves (RFC 5182 1)."""
_HINT = "CONTEXT"
"""RFC 5267 4.2: may be ignored, and is."""


@dataclass(frozen=True, slots=True)
class Page:
    """`partial-range` (RFC 9394 4): results `low` to `high`, counted from 1, from the newest
    backwards when `from_end`. `text` is how the client wrote it: the answer repeats it."""

    low: int
    high: int
    from_end: bool
    text: bytes

    @classmethod
    def parse(cls, cursor: Cursor) -> Page:
        """Either end may come first: 400:500 is 500:400."""
        first, last, text = cursor.partial_range()
        low, high = sorted((abs(first), abs(last)))
        return cls(low, high, first < 0, text)

    def of(self, count: int) -> range:
        """Which of `count` results these are; results that do not exist are left out."""
        if self.from_end:
            return range(max(count - self.high, 0), max(count - self.low + 1, 0))
        return range(min(self.low - 1, count), min(self.high, count))


@dataclass(frozen=True, slots=True)
class Returning:
    """`search-return-opts`: what of the result is told, and what of it `$` becomes."""

    names: frozenset[str]
    page: Page | None = None
    items: tuple[Item, ...] = ()
    """Shown of what comes to the result later (RFC 5465 7)."""

    @property
    def saves(self) -> bool:
        """Whether `$` is set."""
        return "SAVE" in self.names

    @property
    def updates(self) -> bool:
        """Whether changes of the result are to be told (RFC 5267 4.3)."""
        return "UPDATE" in self.names

    @property
    def is_silent(self) -> bool:
        """SAVE alone suppresses the answer (RFC 5182 1); so does UPDATE."""
        return self.page is None and self.names <= _SILENT

    @property
    def _wants_all(self) -> bool:
        return bool(self.names & {"ALL", "COUNT"}) or self.is_silent

    def chosen(self, count: int) -> Iterable[int]:
        """Which of `count` results `$` and MODSEQ are about (RFC 5182 2.4, RFC 9394 3.2, RFC 4731
        3.2): all, unless only MIN, MAX or a page is asked for."""
        if self._wants_all:
            return range(count)
        some = set() if self.page is None else set(self.page.of(count))
        if count and "MIN" in self.names:
            some.add(0)
        if count and "MAX" in self.names:
            some.add(count - 1)
        return sorted(some)

    @property
    def enough(self) -> tuple[int, bool] | None:
        """How many results are enough, and whether they are the last ones (True); None: all."""
        page = self.page
        front = max(("MIN" in self.names, page.high if page and not page.from_end else 0))
        back = max(("MAX" in self.names, page.high if page and page.from_end else 0))
        if self._wants_all or self.updates or bool(front) == bool(back):
            return None
        return max(front, back), bool(back)


ALL = Returning(frozenset({"ALL"}))
"""What `RETURN ()` means, and every SEARCH once IMAP4rev2 is enabled (RFC 9051 6.4.4)."""


def parse(cursor: Cursor) -> Returning | None:
    """`["RETURN" SP "(" [option *(SP option)] ")" SP]`."""
    if not cursor.takes(b"RETURN "):
        return None
    shown: list[Item] = []
    options = cursor.listed(lambda: _option(cursor, shown), may_be_empty=True)
    cursor.space()
    pages = [option for option in options if isinstance(option, Page)]
    names = frozenset(option for option in options if isinstance(option, str)) - {_HINT}
    if len(pages) + ("ALL" in names) > 1:
        raise BadSyntax("one of PARTIAL and ALL, once")  # RFC 9394 3.1
    if not names and not pages:
        return ALL
    return Returning(names, pages[0] if pages else None, tuple(shown))


def _option(cursor: Cursor, shown: list[Item]) -> str | Page:
    word = cursor.word()
    if word == "UPDATE" and cursor.sees(b" ("):
        cursor.space()
        shown[:] = items.unread(cursor)
    if word == "PARTIAL":
        cursor.space()
        return Page.parse(cursor)
    if word not in _DATA | _SILENT | {_HINT}:
        raise BadSyntax("unknown return option")
    return word


@dataclass(frozen=True, slots=True)
class Found:
    """Positions in the order of the answer. `modseqs`: of each, when MODSEQ was searched for."""

    positions: array[int]
    modseqs: array[int]

    def __len__(self) -> int:
        return len(self.positions)

    def spans(self, chosen: Iterable[int]) -> list[Span]:
        """What `$` becomes."""
        return spans_of(sorted(map(self.positions.__getitem__, chosen)))

    def _modseq(self, chosen: Iterable[int]) -> bytes:
        """RFC 7162 3.1.5, RFC 4731 3.2: the highest of those; nothing of none."""
        highest = max(map(self.modseqs.__getitem__, chosen), default=0) if self.modseqs else 0
        return b"MODSEQ %d" % highest if highest else b""


def joined(pieces: Iterable[Found]) -> Found:
    """All of them, one behind the other."""
    whole = Found(array("I"), array("Q"))
    for piece in pieces:
        whole.positions.extend(piece.positions)
        whole.modseqs.extend(piece.modseqs)
    return whole


@dataclass(frozen=True, slots=True)
class Answer:
    """How results are told: with which words, and as what. `place` names a mailbox (RFC 7377)."""

    view: View
    by_uid: bool
    tag: bytes
    place: bytes = b""

    def numbers(self, positions: Iterable[int]) -> Iterable[int]:
        """Sequence numbers or UIDs."""
        if self.by_uid:
            return map(self.view.uids.__getitem__, positions)
        return (position + 1 for position in positions)

    def plain(self, word: bytes, found: Found) -> bytes:
        """`* SEARCH` or `* SORT`, with the highest MODSEQ when one was asked for."""
        numbers = b"".join([b" %d" % number for number in self.numbers(found.positions)])
        modseq = found._modseq(range(len(found)))
        return b"* %b%b%b\r\n" % (word, numbers, b" (%b)" % modseq if modseq else b"")

    def extended(self, found: Found, returning: Returning) -> bytes:
        """`* ESEARCH`: the tag is always quoted (CLD-02); it comes even when nothing was found."""
        data = [self.correlator, *self._data(found, returning)]
        modseq = found._modseq(returning.chosen(len(found)))
        return b"%b\r\n" % b" ".join([*data, modseq] if modseq else data)

    @property
    def correlator(self) -> bytes:
        """What every ESEARCH response begins with (RFC 4466 2.6.2)."""
        uid = b" UID" if self.by_uid else b""
        return b'* ESEARCH (TAG "%b"%b)%b' % (self.tag, self.place, uid)

    def _data(self, found: Found, returning: Returning) -> Iterable[bytes]:
        """RFC 4731 3.1: only COUNT says something of no result."""
        names, positions = returning.names, found.positions
        if positions and "MIN" in names:
            yield b"MIN " + self.set_of(positions[:1])
        if positions and "MAX" in names:
            yield b"MAX " + self.set_of(positions[-1:])
        if "COUNT" in names:
            yield b"COUNT %d" % len(positions)
        if positions and "ALL" in names:
            yield b"ALL " + self.set_of(positions)
        if (page := returning.page) is not None:
            within = page.of(len(positions))
            shown = self.set_of(positions[within.start : within.stop]) or b"NIL"
            yield b"PARTIAL (%b %b)" % (page.text, shown)

    def set_of(self, positions: Sequence[int]) -> bytes:
        """As a sequence set, in that order."""
        return compress(self.numbers(positions))
