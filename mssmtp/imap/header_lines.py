"""FETCH responses made of rows and summaries alone: what a client asks for to show a list of mail.

Nothing of the message itself is read, every value is octets at once, and one template holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mssmtp.imap import dates, responses
from mssmtp.imap.items import Body, Item, Section, Simple, label_of
from mssmtp.message.headers import header_fields
from mssmtp.message.summary import Texts, UnknownSummary, texts_of
from mssmtp.storage.model import MessageRow

MOST_ITEMS = 16
MOST_OCTETS = 16_384
"""Of a summary: `MOST_ITEMS` times as much is held for one message (D11)."""

Value = Callable[[MessageRow, Texts, bool], bytes]


def is_in_summary(section: Section) -> bool:
    """The header section of the message itself, or fields of it."""
    return section.text == "HEADER" and not section.path


def header_octets(body: Body, header: bytes) -> bytes:
    """A header section, or the fields of it that were asked for."""
    header = chosen(body.section, header)
    if body.partial:
        start, length = body.partial
        header = header[start : start + length]
    return responses.literal(header)


def chosen(section: Section, header: bytes) -> bytes:
    """The fields of a header section that were asked for, or all of it."""
    if section.names is None:
        return header
    return header_fields(header, section.names, section.negate)


class HeaderLines:
    """Renders `items`, which are enough for it (`serves`)."""

    def __init__(self, items: Sequence[Item]) -> None:
        values = (label.replace(b"%", b"%%") + b" %b" for label in map(label_of, items))
        self._template = b"* %d FETCH (" + b" ".join(values) + b")\r\n"
        self._values = [_value(item) for item in items]

    @staticmethod
    def serves(items: Sequence[Item]) -> bool:
        """Whether no part of a message is needed."""
        return len(items) <= MOST_ITEMS and all(
            is_in_summary(item.section) if isinstance(item, Body) else item in _VALUES
            for item in items
        )

    def line(self, number: int, row: MessageRow, summary: bytes, *, recent: bool) -> bytes | None:
        """The response of one message; None for a damaged summary, or a huge one."""
        if len(summary) > MOST_OCTETS:
            return None
        try:
            texts = texts_of(summary)
        except UnknownSummary:
            return None
        return self._template % (number, *[get(row, texts, recent) for get in self._values])


_VALUES: dict[Item, Value] = {
    Simple.UID: lambda row, _texts, _recent: b"%d" % row.uid,
    Simple.SIZE: lambda row, _texts, _recent: b"%d" % row.size_octets,
    Simple.MODSEQ: lambda row, _texts, _recent: b"(%d)" % row.modseq,
    Simple.INTERNALDATE: lambda row, _texts, _recent: dates.render_date_time(row.internal_date_us),
    Simple.FLAGS: lambda row, _texts, recent: b"(%b)" % responses.flags(row.flags, recent=recent),
    Simple.ENVELOPE: lambda _row, texts, _recent: texts[0],
    Simple.BODYSTRUCTURE: lambda _row, texts, _recent: texts[1],
    Simple.BODY: lambda _row, texts, _recent: texts[2],
}


def _value(item: Item) -> Value:
    if isinstance(item, Body):
        body = item
        return lambda _row, texts, _recent: header_octets(body, texts[3])
    return _VALUES[item]
