"""What lists of mail show of neighbouring messages, in columns: a part of each pack of summaries.

A client that opens a mailbox asks the same few values of all of it. Message by message, out of
summaries, that is four microseconds each; a column is cut into its values at once, and nothing else
of a summary has to be decompressed. Made of the summaries alone (D6).
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import accumulate

from mssmtp.errors import Damaged
from mssmtp.mail import Uid
from mssmtp.message.headers import listed_fields
from mssmtp.message.summary import Summary, UnknownSummary

MAX_OCTETS = 1_048_576
"""Of a window with more to show nothing is listed: it would be rendered whole (D11)."""
_HEAD = struct.Struct(">II")
_COLUMNS = 6

Span = tuple[int, int]
"""Places `start <= i < stop` in a listing."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The columns; place i of each belongs to the message `uids[i]`."""

    octets: bytes
    uids: array[int]
    sizes: array[int]
    present: array[int]
    """Which of `message.headers.LISTED` each has, as `headers.listed_bits`."""
    all_present: int
    """The same of all together."""
    _lengths: tuple[array[int], ...]
    """Of the texts of each column, which stand behind one another."""

    def envelopes(self, span: Span) -> list[bytes]:
        """Ready FETCH values."""
        return self._texts(0, span)

    def structures(self, span: Span) -> list[bytes]:
        """Ready values of BODYSTRUCTURE."""
        return self._texts(1, span)

    def fields(self, span: Span) -> list[bytes]:
        """The LISTED fields of their header sections, with the empty line."""
        return self._texts(2, span)

    def _texts(self, column: int, span: Span) -> list[bytes]:
        octets, lengths = self.octets, self._lengths[column]
        start = len(octets) - sum(map(sum, self._lengths[column:])) + sum(lengths[: span[0]])
        bounds = list(accumulate(lengths[slice(*span)], initial=start))
        return [octets[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def listed(found: dict[Uid, bytes]) -> bytes:
    """The listing of summaries in the order of their UIDs; empty when there is too much to list."""
    table: list[list[int]] = [[] for _ in range(_COLUMNS)]
    texts: list[list[bytes]] = [[], [], []]
    every = 0
    try:
        for uid, octets in found.items():
            summary = Summary.from_bytes(octets)
            present, fields = listed_fields(summary.header)
            every |= present
            shown = (summary.envelope, summary.bodystructure, fields)
            row = (uid, summary.size_octets, present, *map(len, shown))
            for column, number in zip(table, row, strict=True):
                column.append(number)
            for pieces, text in zip(texts, shown, strict=True):
                pieces.append(text)
        numbers = [number for column in table for number in column]
        head = _HEAD.pack(len(found), every) + struct.pack(f">{len(numbers)}I", *numbers)
    except (UnknownSummary, struct.error):
        return b""
    made = head + b"".join(text for pieces in texts for text in pieces)
    return made if len(made) <= MAX_OCTETS else b""


def opened(octets: bytes) -> Listing | None:
    """The inverse; None for an empty one. Raises Damaged."""
    if not octets:
        return None
    try:
        count, every = _HEAD.unpack_from(octets)
    except struct.error as error:
        raise Damaged("a listing cannot be read") from error
    start = _HEAD.size + 4 * _COLUMNS * count
    if not count or start > len(octets):
        raise Damaged("a listing cannot be read")
    numbers = array("I", octets[_HEAD.size : start])
    if sys.byteorder == "little":
        numbers.byteswap()
    columns = [numbers[at : at + count] for at in range(0, len(numbers), count)]
    if start + sum(map(sum, columns[3:])) != len(octets):
        raise Damaged("a listing has another size")
    return Listing(octets, columns[0], columns[1], columns[2], every, tuple(columns[3:]))
