"""What FETCH and SEARCH need of a message, computed once at delivery.

The octets are a pure function of the message, so that packs can be rebuilt identically (D6).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mssmtp.message import stub
from mssmtp.message.structure import body_of
from mssmtp.message.tree import Part, Scan

VERSION = 3
_HEAD = struct.Struct(">BQ32sIIIII")
_NODE = struct.Struct(">BQQQQHBBB")
_LEAF, _MULTIPART, _MESSAGE, _STUB = 0, 1, 2, 3
_STUB_MARK = bytes([_STUB])
_UNKNOWN = bytes(32)

SectionText = Literal["", "HEADER", "TEXT", "MIME"]


class UnknownSummary(ValueError):
    """Octets of another version or cut short: the message must be scanned again."""


@dataclass(frozen=True, slots=True)
class Node:
    """One entity: where it is and how its text decodes. Offsets as in `tree.Part`."""

    kind: int
    header_start: int
    body_start: int
    body_end: int
    decoded_octets: int
    full_type: str
    encoding: str
    charset: str
    children: tuple[Node, ...]

    @property
    def is_text(self) -> bool:
        """A leaf that a text search reads."""
        return self.kind == _LEAF and self.full_type.startswith("text/")

    @property
    def is_leaf(self) -> bool:
        """Its body is in its transfer encoding; that of a multipart or message is as it stands."""
        return self.kind == _LEAF

    @property
    def is_message(self) -> bool:
        """Its one child is a message with a header of its own."""
        return self.kind == _MESSAGE


Texts = tuple[bytes, bytes, bytes, bytes]
"""`envelope`, `bodystructure`, `body` and `header` of a summary."""


def texts_of(octets: bytes) -> Texts:
    """What lists of mail need, for thousands of messages: no object is made. UnknownSummary."""
    if len(octets) < _HEAD.size or octets[0] != VERSION:
        raise UnknownSummary
    _, _, _, envelope, structure, body, header, tree = _HEAD.unpack_from(octets)
    start = _HEAD.size
    first = start + envelope
    second = first + structure
    third = second + body
    fourth = third + header
    if fourth + tree != len(octets):
        raise UnknownSummary
    return octets[start:first], octets[first:second], octets[second:third], octets[third:fourth]


@dataclass(frozen=True, slots=True)
class Summary:
    """`envelope`, `bodystructure`, `body`: ready FETCH values. `header`: raw top section.

    `sha256` is over the whole message.
    """

    size_octets: int
    sha256: bytes
    envelope: bytes
    bodystructure: bytes
    body: bytes
    header: bytes
    tree: bytes

    @classmethod
    def of(cls, scan: Scan, sha256: bytes = _UNKNOWN) -> Summary:
        """From a finished scan."""
        pieces: list[bytes] = []
        _pack(scan.root, pieces)
        return cls(
            size_octets=scan.size_octets,
            sha256=sha256,
            envelope=scan.envelope,
            bodystructure=body_of(scan.root, extended=True),
            body=body_of(scan.root, extended=False),
            header=scan.header,
            tree=b"".join(pieces),
        )

    @classmethod
    def of_unparsable(cls, size_octets: int, sha256: bytes) -> Summary:
        """Of a message that is beyond the limits of the scanner (D10)."""
        shown = stub.UNPARSABLE
        return cls(
            size_octets=size_octets,
            sha256=sha256,
            envelope=stub.ENVELOPE,
            bodystructure=shown.structure(size_octets, extended=True),
            body=shown.structure(size_octets, extended=False),
            header=shown.header,
            tree=_NODE.pack(_STUB, 0, 0, size_octets, size_octets, 0, 0, 0, 0),
        )

    @property
    def is_stub(self) -> bool:
        """Made by `of_unparsable`."""
        return self.tree.startswith(_STUB_MARK)

    def to_bytes(self) -> bytes:
        """Version octet first; `from_bytes(x.to_bytes()) == x`."""
        fields = (self.envelope, self.bodystructure, self.body, self.header, self.tree)
        head = _HEAD.pack(VERSION, self.size_octets, self.sha256, *map(len, fields))
        return head + b"".join(fields)

    @classmethod
    def from_bytes(cls, octets: bytes) -> Summary:
        """Raises UnknownSummary."""
        if len(octets) < _HEAD.size or octets[0] != VERSION:
            raise UnknownSummary
        _, size, sha256, *lengths = _HEAD.unpack_from(octets)
        position, fields = _HEAD.size, []
        for length in lengths:
            fields.append(octets[position : position + length])
            position += length
        if position != len(octets):
            raise UnknownSummary
        return cls(size, sha256, *fields)

    @property
    def root(self) -> Node:
        """The tree of entities."""
        return _opened(self.tree)

    def section(self, path: tuple[int, ...], text: SectionText) -> tuple[int, int] | None:
        """Octets [start, stop) of the message for `BODY[path.text]`; None when there is none.

        RFC 3501 6.4.5: HEADER and TEXT need a message, MIME needs a part number.
        """
        if not path:
            return _of_message(self.root, text, self.size_octets)
        part = self.part(path)
        if part is None:
            return None
        if text == "":
            return part.body_start, part.body_end
        if text == "MIME":
            return part.header_start, part.body_start
        return _of_message(part.children[0], text, 0) if part.kind == _MESSAGE else None

    def part(self, path: tuple[int, ...]) -> Node | None:
        """The entity with the part number `path`, which is not empty; None when there is none."""
        node = self.root
        for number in path[:-1]:
            inner = _numbered(node, number)
            if inner is None or inner.kind == _LEAF:
                return None
            node = inner.children[0] if inner.kind == _MESSAGE else inner
        return _numbered(node, path[-1])

    def entities(self) -> tuple[Node, ...]:
        """Every entity in order, parents first."""
        found: list[Node] = []
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting.extend(reversed(node.children))
        return tuple(found)


def _numbered(container: Node, number: int) -> Node | None:
    """Part `number` of a message or multipart; what is no multipart is its own part 1."""
    if container.kind != _MULTIPART:
        return container if number == 1 else None
    return container.children[number - 1] if 1 <= number <= len(container.children) else None


def _of_message(node: Node, text: SectionText, size: int) -> tuple[int, int] | None:
    if text == "HEADER":
        return node.header_start, node.body_start
    if text == "TEXT":
        return node.body_start, node.body_end
    return (0, size) if text == "" else None


def _pack(part: Part, pieces: list[bytes]) -> None:
    kind = _MULTIPART if part.is_multipart else _MESSAGE if part.is_message else _LEAF
    words = [
        word.encode("ascii", "replace")[:255]
        for word in (part.full_type, part.encoding, part.charset)
    ]
    offsets = (part.header_start, part.body_start, part.body_end, part.decoded_octets)
    pieces.append(_NODE.pack(kind, *offsets, len(part.children), *map(len, words)))
    pieces.extend(words)
    for child in part.children:
        _pack(child, pieces)


@lru_cache(maxsize=16)
def _opened(tree: bytes) -> Node:
    """Kept for a moment: a thousand sections of one message may be asked for in turn (ATT-27)."""
    return _unpack(tree, 0)[0]


def _unpack(tree: bytes, position: int) -> tuple[Node, int]:
    kind, header, start, end, decoded, count, *lengths = _NODE.unpack_from(tree, position)
    position += _NODE.size
    words: list[str] = []
    for length in lengths:
        words.append(tree[position : position + length].decode("ascii"))
        position += length
    full_type, encoding, charset = words
    children: list[Node] = []
    for _ in range(count):
        child, position = _unpack(tree, position)
        children.append(child)
    node = Node(kind, header, start, end, decoded, full_type, encoding, charset, tuple(children))
    return node, position
