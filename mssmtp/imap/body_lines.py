"""FETCH responses made of rows and of whole messages: what a client asks for to keep a copy.

As with `header_lines`, one template holds what stands around the message; what a program that takes
the mailbox home waits for is the interpreter, not the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mssmtp.errors import Damaged
from mssmtp.imap import responses, values
from mssmtp.imap.bodies import Bodies
from mssmtp.imap.items import Body, Item, Simple, label_of
from mssmtp.storage.model import MessageRow, NoSuchMessage

MOST_ITEMS = 16

Value = Callable[[MessageRow], bytes] | None
"""None stands for FLAGS, which depend on the session."""


class BodyLines:
    """Renders `items`, which are enough for it (`serves`)."""

    def __init__(self, items: Sequence[Item]) -> None:
        at = next(number for number, item in enumerate(items) if isinstance(item, Body))
        labels = [label_of(item) for item in items]
        before = [label + b" %b " for label in labels[:at]]
        behind = [b" " + label + b" %b" for label in labels[at + 1 :]]
        self._opening = b"* %d FETCH (" + b"".join(before) + labels[at] + b" {%d}\r\n"
        self._closing = b"".join(behind) + b")\r\n"
        self._before = [_value(item) for item in items[:at]]
        self._behind = [_value(item) for item in items[at + 1 :]]

    @staticmethod
    def serves(items: Sequence[Item]) -> bool:
        """Whether they are the message itself, once and whole, and values of its row."""
        others = [item for item in items if not isinstance(item, Body)]
        wholes = [
            item
            for item in items
            if isinstance(item, Body) and item.section == values.WHOLE and item.partial is None
        ]
        return (
            len(wholes) == 1
            and len(others) == len(items) - 1 < MOST_ITEMS
            and all(item is Simple.FLAGS or item in values.FROM_ROW for item in others)
        )

    def line(
        self, number: int, row: MessageRow, bodies: Bodies, *, recent: bool
    ) -> tuple[bytes, bytes, bytes] | None:
        """The response of one message, in pieces; None for one that is large or damaged."""
        if row.size_octets > values.INLINE_OCTETS:
            return None
        try:
            octets = bodies.read(row, 0, row.size_octets)
        except (Damaged, NoSuchMessage):
            return None
        before, behind = self._before, self._behind
        shown = b""
        if None in before or None in behind:
            shown = b"(%b)" % responses.flags(row.flags, recent=recent)
        told = [shown if get is None else get(row) for get in before]
        opening = self._opening % (number, *told, len(octets))
        if not behind:
            return opening, octets, self._closing
        told = [shown if get is None else get(row) for get in behind]
        return opening, octets, self._closing % tuple(told)


def _value(item: Item) -> Value:
    return None if item is Simple.FLAGS else values.FROM_ROW[item]
