"""FETCH responses for lists of mail, hundreds of messages at once: out of columns, by one template.

Message by message the same lines cost two to four microseconds each (`header_lines`); here it is
less than one, so that a mailbox of 100,000 opens in a fraction of a second. Lines of windows that
no message can join are remembered, but for what changes, for who asks the same again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import dates, flag_lines
from mssmtp.imap.flag_lines import Lines
from mssmtp.imap.items import Body, Item, Simple, label_of
from mssmtp.imap.numbers import Span, View
from mssmtp.imap.selected import Selected
from mssmtp.message.headers import header_fields, listed_bits

if TYPE_CHECKING:
    from mssmtp.storage import Reading
    from mssmtp.storage.listing import Listing

LEAST = 64
"""Of fewer messages the rows are read."""
BATCH_OCTETS = 262_144
"""Windows are added to a batch until it holds as much. One alone may be four times as large."""

Column = Sequence[int] | Sequence[bytes]
Values = Callable[["Listing", Span], list[Column]]
"""One column for each argument that an item has in the template."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The lines of messages with all that never changes: numbers and flags are left out."""

    uids: array[int]
    text: bytes

    @property
    def octets_held(self) -> int:
        """What it takes of memory, roughly."""
        return len(self.text) + 4 * len(self.uids)


class ListLines:
    """Renders `items`, which are enough for it (`serves`)."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = tuple(items)
        self._values = {item: _values(item) for item in items if item not in _FROM_ROWS}
        values = b" ".join(map(_form, items))
        self._template = b"* %%d FETCH (" + values + b")\r\n"

    @staticmethod
    def serves(items: Sequence[Item]) -> bool:
        """Whether listings hold all that is asked for."""
        return all(item in _SIMPLE or item in _FROM_ROWS or _is_listed(item) for item in items)

    def batch(self, reading: Reading, selected: Selected, span: Span) -> tuple[list[bytes], int]:
        """The lines of the first messages at `span` of the view, and the position to go on from;
        nothing when there is no listing that holds them."""
        start, stop = span
        lines: list[bytes] = []
        size = 0
        while start < stop and size < BATCH_OCTETS:
            end = end_of_window(selected.view, (start, stop), reading.pack_uids)
            form = self._window(reading, selected, (start, end)) if end - start >= LEAST else None
            if form is None:
                break
            end = start + len(form.uids)
            own = self._from_rows(reading, selected, (start, end))
            if own is None:
                break
            columns = [own[item] for item in self._items if item in own]
            lines.append(_filled(form, [range(start + 1, end + 1), *columns]))
            size += len(lines[-1])
            start = end
        return lines, start

    def _window(self, reading: Reading, selected: Selected, span: Span) -> _Form | None:
        """The lines of the first messages at `span`, which are of one window; None where it has no
        listing, or one of a few messages, or another content."""
        view, mailbox = selected.view, selected.mailbox.id
        uids = view.uids[slice(*span)]
        window = uids[0] // reading.pack_uids
        mark = reading.pack_mark(mailbox, window)
        key = mark, self._template
        form = None if mark is None else reading.remembered.get(key, _Form)
        if form is not None and form.uids == uids:
            return form
        listing = reading.listing(mailbox, window)
        if listing is None:
            return None
        at = bisect_left(listing.uids, uids[0])
        place = at, min(at + len(uids), len(listing.uids))  # it may lack the newest
        shown = listing.uids[slice(*place)]
        if len(shown) < LEAST or shown != uids[: len(shown)]:
            return None
        form = _Form(shown, self._text(listing, place))
        if mark is not None and len(shown) == len(listing.uids):
            reading.remembered.keep(key, form, form.octets_held)
        return form

    def _text(self, listing: Listing, place: Span) -> bytes:
        columns: list[Column] = []
        for item in self._items:
            columns += self._values[item](listing, place) if item in self._values else []
        count = place[1] - place[0]
        return self._template * count % _rows_of(columns, count)

    def _from_rows(
        self, reading: Reading, selected: Selected, span: Span
    ) -> dict[Item, Column] | None:
        """What is kept beside the messages; None when one of these is gone."""
        found: dict[Item, Column] = {}
        view, mailbox = selected.view, selected.mailbox.id
        if Simple.FLAGS in self._items:
            image = reading.image(mailbox)
            places = None if image is None else flag_lines.aligned(view, [span], image)
            if image is None or places is None:
                return None
            lines = Lines(selected, image, reading.flag_sets(mailbox))
            found[Simple.FLAGS] = lines.flags(span, places[0])
        if Simple.INTERNALDATE in self._items and view.is_part:
            return None
        if Simple.INTERNALDATE in self._items:
            uids = view.uids[span[0]], view.uids[span[1] - 1]
            dates_us = reading.internal_dates(mailbox, *uids)
            if len(dates_us) != span[1] - span[0]:
                return None
            found[Simple.INTERNALDATE] = list(map(dates.render_date_time, dates_us))
        return found


def end_of_window(view: View, span: Span, uids: int) -> int:
    """Where the messages at `span` leave the window of `uids` UIDs in which they begin."""
    start, stop = span
    window = view.uids[start] // uids
    return bisect_left(view.uids, (window + 1) * uids, start, stop)


def _filled(form: _Form, columns: list[Column]) -> bytes:
    return form.text % _rows_of(columns, len(form.uids))


def _rows_of(columns: list[Column], count: int) -> tuple[int | bytes, ...]:
    """One value of each column for each line, as a template takes them."""
    arguments: list[int | bytes] = [0] * (len(columns) * count)
    for number, column in enumerate(columns):
        arguments[number :: len(columns)] = column
    return tuple(arguments)


def _is_listed(item: Item) -> bool:
    """Fields of the header section, all of them among those that are listed."""
    if not isinstance(item, Body) or item.partial is not None or item.section.path:
        return False
    section = item.section
    return (
        section.names is not None and not section.negate and listed_bits(section.names) is not None
    )


def _escaped(texts: list[bytes]) -> list[bytes]:
    """As they stand in a template."""
    return [text.replace(b"%", b"%%") for text in texts]


_FROM_ROWS = frozenset({Simple.FLAGS, Simple.INTERNALDATE})
_SIMPLE: dict[Item, Values] = {
    Simple.UID: lambda listing, place: [listing.uids[slice(*place)]],
    Simple.SIZE: lambda listing, place: [listing.sizes[slice(*place)]],
    Simple.ENVELOPE: lambda listing, place: [_escaped(listing.envelopes(place))],
    Simple.BODYSTRUCTURE: lambda listing, place: [_escaped(listing.structures(place))],
}
_FORMS: dict[Item, bytes] = {
    Simple.UID: b"UID %d",
    Simple.SIZE: b"RFC822.SIZE %d",
    Simple.FLAGS: b"FLAGS (%%b)",
    Simple.INTERNALDATE: b"INTERNALDATE %%b",
}


def _form(item: Item) -> bytes:
    """Its label, and what stands for its arguments; those of `_FROM_ROWS` come later."""
    if isinstance(item, Body):
        return item.name.replace(b"%", b"%%%%") + b" {%d}\r\n%b"
    return _FORMS.get(item) or label_of(item) + b" %b"


def _values(item: Item) -> Values:
    if not isinstance(item, Body):
        return _SIMPLE[item]
    names = item.section.names or ()
    wanted = listed_bits(names) or 0

    def fields(listing: Listing, place: Span) -> list[Column]:
        found = listing.fields(place)
        if listing.all_present & ~wanted:  # some have more than was asked for
            present = listing.present[slice(*place)]
            found = [
                header_fields(text, names) if bits & ~wanted else text
                for text, bits in zip(found, present, strict=True)
            ]
        return [list(map(len, found)), _escaped(found)]

    return fields
