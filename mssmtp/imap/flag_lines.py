"""FETCH responses that hold nothing but flags and UIDs, for thousands of messages at once.

A client asks for the flags of a whole mailbox whenever it opens it. Row by row that costs two
microseconds a message; from an image all lines of a batch are one formatting of one template.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        values = (b"UID %d" if item is Simple.UID else b"FLAGS (%b)" for item in items)
        template = b"* %d FETCH (" + b" ".join(values) + b")\r\n"
        return b"".join(
            self._lines(template, items, span, place)
            for span, place in zip(spans, places, strict=True)
        )

    def _lines(self, template: bytes, items: Sequence[Item], span: Span, place: Span) -> bytes:
        start, stop = span
        columns = [
            self._selected.view.uids[start:stop] if item is Simple.UID else self.flags(span, place)
            for item in items
        ]
        arguments: list[int | bytes] = [0] * ((1 + len(items)) * (stop - start))
        arguments[0 :: 1 + len(items)] = range(start + 1, stop + 1)
        for number, column in enumerate(columns, 1):
            arguments[number :: 1 + len(items)] = column
        return template * (stop - start) % tuple(arguments)

    def flags(self, span: Span, place: Span) -> list[bytes]:
        """Of each message at `span` of the view, which is at `place` of the image."""
        codes = self._codes[place[0] : place[1]]
        shown = list(map(self._plain.__getitem__, codes))
        for start, stop in self._selected.recents.within(self._selected.view, span):
            at, end = start - span[0], stop - span[0]
            shown[at:end] = map(self._recent.__getitem__, codes[at:end])
        return shown
