"""Parts of a message too large for a batch: read a block at a time when their turn has come.

60 MB never rest in memory (OLC-04), and no transaction is open while a slow client reads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mssmtp.mail import MailboxId, Uid
from mssmtp.message.summary import Node
from mssmtp.message.transfer import decoder_of

if TYPE_CHECKING:
    from mssmtp.storage import Reading

BLOCK_OCTETS = 262_144
ENCODED_BLOCK_OCTETS = 131_072
"""Between two places from which decoding can go on."""
PARTS_REMEMBERED = 2

Part = tuple[Uid, tuple[int, ...]]
"""A message of the selected mailbox and a part of it."""


class Place(NamedTuple):
    """So many octets were decoded of so many; `held` waits for more."""

    decoded: int
    encoded: int
    held: bytes


BEGINNING = Place(0, 0, b"")


class Places:
    """Where decoding of a part can go on.

    A client that fetches 60 MB piece by piece (RFC 3516 4.2, `<start.length>`) would else have the
    beginning decoded again with each piece (ATT-27).
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Part, list[Place]] = OrderedDict()

    def before(self, part: Part, start: int) -> Place:
        """The last known one at or before octet `start` of the decoded part."""
        known = self._known.get(part, [BEGINNING])
        return known[bisect_right(known, start, key=lambda place: place.decoded) - 1]

    def add(self, part: Part, place: Place) -> None:
        """Remember one; those of a part come in order, or are known already."""
        known = self._known.setdefault(part, [BEGINNING])
        self._known.move_to_end(part)
        if place.encoded > known[-1].encoded:
            known.append(place)
        if len(self._known) > PARTS_REMEMBERED:
            self._known.popitem(last=False)


@dataclass(slots=True)
class Stretch:
    """Octets `start` to `stop` of a message as they are."""

    mailbox: MailboxId
    uid: Uid
    start: int
    stop: int
    instead: bytes
    """Said when not even the first of them can be read."""

    @property
    def left(self) -> int:
        """Octets that are still to come."""
        return self.stop - self.start

    @property
    def opening(self) -> bytes:
        """The literal of what is left begins so."""
        return b"{%d}\r\n" % self.left

    def next(self, reading: Reading) -> bytes | None:
        """The next block; None when there are no more octets. Raises Damaged, NoSuchMessage."""
        stop = min(self.start + BLOCK_OCTETS, self.stop)
        octets = reading.body(self.mailbox, self.uid, self.start, stop)
        self.start += len(octets)
        return octets or None


class Decoded:
    """Octets `start` to `stop` of a part without its transfer encoding (RFC 3516)."""

    __slots__ = ("_at", "_node", "_part", "_places", "_start", "instead", "mailbox", "stop", "uid")

    def __init__(self, mailbox: MailboxId, uid: Uid, node: Node, span: tuple[int, int]) -> None:
        self.mailbox = mailbox
        self.uid = uid
        self._node = node
        self._part: Part = (uid, (node.body_start, node.body_end))
        self._start, self.stop = span
        self._places = Places()
        self._at: Place | None = None
        self.instead = b"NIL"

    @property
    def left(self) -> int:
        """Octets that are still to come."""
        return self.stop - self._start

    @property
    def opening(self) -> bytes:
        """4.3: nobody knows yet whether a NUL is among them, so that it may be a literal8 only."""
        return b"~{%d}\r\n" % self.left

    def remember(self, places: Places) -> None:
        """Go on where an earlier command stopped, and say where this one has come to."""
        self._places = places

    def next(self, reading: Reading) -> bytes | None:
        """The next block, empty while those before `start` are decoded; None when there is no
        more. Raises Damaged, NoSuchMessage."""
        node = self._node
        at = self._at or self._places.before(self._part, self._start)
        decoder = decoder_of(node.encoding, at.held)
        low = node.body_start + at.encoded
        high = min(low + ENCODED_BLOCK_OCTETS, node.body_end)
        if low >= high:
            return None
        octets = decoder.feed(reading.body(self.mailbox, self.uid, low, high))
        if high == node.body_end:
            octets += decoder.close()
        end = at.decoded + len(octets)
        self._at = Place(end, high - node.body_start, decoder.held)
        if high < node.body_end:
            self._places.add(self._part, self._at)
        octets = octets[max(self._start - at.decoded, 0) : max(self.stop - at.decoded, 0)]
        self._start += len(octets)
        return octets


Stream = Stretch | Decoded
