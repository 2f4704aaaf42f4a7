"""FETCH responses that hold nothing but flags and UIDs, for thousands of messages at once.

A client asks for the flags of a whole mailbox whenever it opens it. Row by row that costs two
microseconds a message. From an image a thousand lines are one template, in which all stands but the
thousands of their numbers, and the flags: to write a number costs more than its line. Most of a
mailbox is as it was when somebody asked before: the thousands said last are kept as they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mssmtp.imap import responses
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import Span, View
from mssmtp.imap.selected import Selected

if TYPE_CHECKING:
    from mssmtp.storage.flags import FlagSets
    from mssmtp.storage.images import Image

ITEMS = frozenset({Simple.UID, Simple.FLAGS})
LEAST = 64
"""Of fewer messages the rows are read: an image may have to be made first."""
MANY = 4_096
"""Of so many it pays to make a template for UIDs too, which are further on than the numbers."""
_THOUSAND = 1_000
_KEPT = 128
_KEPT_FLAGS = 64
"""Thousands of lines that are remembered, and the octets their flags may have: 5 MB, 14 at most."""
_NUMBER, _UID, _NEXT_UID = b"\1", b"\2", b"\3"
"""Stand for thousands in a template; the UIDs of its last lines may be in the next."""


def are_enough(items: Sequence[Item]) -> bool:
    """Whether `items` can be told from an image."""
    return Simple.FLAGS in items and ITEMS.issuperset(items)


def aligned(view: View, spans: Sequence[Span], image: Image) -> list[Span] | None:
    """Where the messages at `spans` of a session's view stand in the image; None when some of
    them are gone."""
    out = []
    for start, stop in spans:
        low, high = image.span(view.uids[start], view.uids[stop - 1])
        if high - low != stop - start or image.uids[low:high] != view.uids[start:stop]:
            return None
        out.append((low, high))
    return out


class Lines:
    """Renders messages of one image."""

    def __init__(self, selected: Selected, image: Image, sets: FlagSets) -> None:
        self._selected = selected
        self._codes = image.codes
        names = [sets.of(bits) for bits in image.sets]
        self._plain = [responses.flags(each) for each in names]
        self._recent = [responses.flags(each, recent=True) for each in names]

    def of(self, items: Sequence[Item], spans: Sequence[Span], places: Sequence[Span]) -> bytes:
        """The lines with `items` of the messages at `spans` of the view, which are at `places` of
        the image."""
        out: list[bytes] = []
        shown = tuple(item is Simple.UID for item in items)
        for (start, stop), place in zip(spans, places, strict=True):
            at, is_many = start, stop - start >= MANY
            while at < stop:
                end = min(stop, (at + 1) // _THOUSAND * _THOUSAND + _THOUSAND - 1)
                low = place[0] + at - start
                out.append(self._lines(shown, (at, end), (low, low + end - at), is_many=is_many))
                at = end
        return b"".join(out)

    def _lines(self, shown: tuple[bool, ...], span: Span, place: Span, *, is_many: bool) -> bytes:
        """Of messages whose numbers begin with the same thousands."""
        uids = self._selected.view.uids[span[0] : span[1]]
        codes = self._codes[place[0] : place[1]]
        is_recent = any(self._selected.recents.within(self._selected.view, span))
        if not is_recent and max(map(len, self._plain)) <= _KEPT_FLAGS:
            plain = tuple(self._plain)
            return _kept(shown, span[0], uids.tobytes(), codes, plain, is_many=is_many)
        return _text(shown, span[0], uids, self.flags(span, place), is_many=is_many)

    def flags(self, span: Span, place: Span) -> list[bytes]:
        """Of each message at `span` of the view, which is at `place` of the image."""
        codes = self._codes[place[0] : place[1]]
        shown = list(map(self._plain.__getitem__, codes))
        for start, stop in self._selected.recents.within(self._selected.view, span):
            at, end = start - span[0], stop - span[0]
            shown[at:end] = map(self._recent.__getitem__, codes[at:end])
        return shown


@lru_cache(maxsize=_KEPT)
def _kept(
    shown: tuple[bool, ...],
    start: int,
    uids: bytes,
    codes: bytes,
    plain: tuple[bytes, ...],
    *,
    is_many: bool,
) -> bytes:
    """Told by all that the lines are made of, they are those of any mailbox and any time."""
    flags = list(map(plain.__getitem__, codes))
    return _text(shown, start, array("I", uids), flags, is_many=is_many)


def _text(
    shown: tuple[bool, ...], start: int, uids: array[int], flags: list[bytes], *, is_many: bool
) -> bytes:
    """Lines of messages from position `start`, whose numbers begin with the same thousands."""
    count = len(uids)
    thousands, first = divmod(start + 1, _THOUSAND)
    further = uids[0] - start - 1
    is_row = is_many and thousands > 0 and uids[-1] - uids[0] == count - 1
    template = _template(shown, further % _THOUSAND if is_row else None, thousands > 0)
    text = b"".join(template[first : first + count])
    if thousands:
        text = text.replace(_NUMBER, b"%d" % thousands)
    is_told = is_row or True not in shown
    if is_row:
        ahead = thousands + further // _THOUSAND
        text = text.replace(_UID, b"%d" % ahead).replace(_NEXT_UID, b"%d" % (ahead + 1))
    if is_told and flags.count(flags[0]) == count:
        return text.replace(b"%b", flags[0])
    columns = [uids if is_uid else flags for is_uid in shown if not (is_uid and is_told)]
    arguments: list[int | bytes] = [0] * (len(columns) * count)
    for number, column in enumerate(columns):
        arguments[number :: len(columns)] = column
    return text % tuple(arguments)


@lru_cache(maxsize=16)
def _template(shown: tuple[bool, ...], further: int | None, is_beyond: bool) -> list[bytes]:
    """A thousand lines that show UIDs (True) and flags. `further`: of each UID than its number, in
    the last three digits; None: UIDs are still to be written. `is_beyond` the first thousand."""
    lines = []
    for last in range(_THOUSAND):
        number = b"%b%03d" % (_NUMBER, last) if is_beyond else b"%d" % last
        uid = b"%d"
        if further is not None:
            carried, digits = divmod(last + further, _THOUSAND)
            uid = b"%b%03d" % (_NEXT_UID if carried else _UID, digits)
        values = (b"UID " + uid if is_uid else b"FLAGS (%b)" for is_uid in shown)
        lines.append(b"* " + number + b" FETCH (" + b" ".join(values) + b")\r\n")
    return lines
