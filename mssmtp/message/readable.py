"""What SEARCH BODY and TEXT look through (RFC 3501 6.4.4): folded UTF-8, piece by piece.

BODY: the decoded text parts, nested messages with their headers, and the file names of the other
parts. TEXT: that and the top header section. A pure function of the message (D6), the same however
it is read; memory does not depend on the size of the message (D11).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mssmtp.message.content import read_content
from mssmtp.message.decode import decode_words, fold
from mssmtp.message.headers import fields
from mssmtp.message.hypertext import Hypertext
from mssmtp.message.summary import Node, Summary
from mssmtp.message.transfer import Decoder, decoder_of
from mssmtp.message.words import codec_of, decode_charset

BORDER = b"\xff"
"""Between two parts, fields or messages: in no UTF-8, so that nothing is found across it."""
_COLON = b": "
BLOCK_OCTETS = 262_144
_MAX_UNDECODED = 262_144
"""Octets of one character, or of one shifted run, that a codec may keep waiting."""

Read = Callable[[int, int], bytes]
"""Octets [start, stop) of the message."""


def folded_header(section: bytes) -> bytes:
    """The fields of a header section as `name: value`, decoded and folded, a border before each."""
    lines = (f"{f.raw_name.decode('ascii')}: {decode_words(f.value)}" for f in fields(section))
    return b"".join(BORDER + fold(line).encode() for line in lines)


def field_mark(name: str) -> bytes:
    """What stands before the value of a field in `folded_header`."""
    return BORDER + fold(name).encode() + _COLON


class Needle(NamedTuple):
    """What is looked for: folded, not empty. `mark`: in this field only, by its `field_mark`."""

    text: bytes
    mark: bytes = b""

    @property
    def field_name(self) -> str:
        """The field it is looked for in; empty: in all of the text."""
        return self.mark[len(BORDER) : -len(_COLON)].decode()

    def is_in(self, text: bytes, start: int, stop: int) -> bool:
        """True when `text[start:stop]` holds it."""
        if not self.mark:
            return text.find(self.text, start, stop) >= 0
        while (at := text.find(self.mark, start, stop)) >= 0:
            end = text.find(BORDER, at + 1, stop)
            end = stop if end < 0 else end
            if text.find(self.text, at + len(self.mark), end) >= 0:
                return True
            start = end
        return False


def folded_body(summary: Summary, read: Read) -> Iterator[bytes]:
    """The text of the body, in pieces that join to the whole."""
    root = summary.root
    waiting = [(root, False)]
    while waiting:
        node, is_message = waiting.pop()
        if node is not root:
            yield _heading(read(node.header_start, node.body_start), is_message=is_message)
        if node.is_text:
            yield from _text(node, read)
        yield BORDER
        waiting += [(child, node.is_message) for child in reversed(node.children)]


def _heading(section: bytes, *, is_message: bool) -> bytes:
    """What the header of a part says to a reader: of a nested message all, of a file its name."""
    if is_message:
        return folded_header(section) + BORDER
    if b"name" not in section.lower():
        return b""
    name = read_content(fields(section)).file_name
    return fold(name).encode() + BORDER if name else b""


def _text(node: Node, read: Read) -> Iterator[bytes]:
    hypertext = Hypertext() if node.full_type == "text/html" else None
    for piece in _decoded(node, read):
        shown = piece if hypertext is None else hypertext.feed(piece)
        if shown:
            yield fold(shown).encode()
    if hypertext is not None:
        yield fold(hypertext.close()).encode()


def _decoded(node: Node, read: Read) -> Iterator[str]:
    """The characters of a text leaf; what fits a block is decoded at once."""
    if node.body_end - node.body_start <= BLOCK_OCTETS:
        octets = b"".join(_octets(node, read))
        yield decode_charset(octets, node.charset)
        return
    decoder = codecs.getincrementaldecoder(_codec(node, read))("replace")
    for octets in _octets(node, read):
        yield decoder.decode(octets)
        if len(decoder.getstate()[0]) > _MAX_UNDECODED:
            # UTF-7: a run without end would be kept whole, and begun again with every block.
            yield decoder.decode(b"", final=True)
            decoder.reset()
    yield decoder.decode(b"", final=True)


def _octets(node: Node, read: Read) -> Iterator[bytes]:
    """The body without its transfer encoding."""
    decoder: Decoder = decoder_of(node.encoding)
    for start in range(node.body_start, node.body_end, BLOCK_OCTETS):
        yield decoder.feed(read(start, min(start + BLOCK_OCTETS, node.body_end)))
    yield decoder.close()


def _codec(node: Node, read: Read) -> str:
    """Python's codec for a leaf too long to decode at once; chooses as `decode_charset` does."""
    codec = codec_of(node.charset)
    if codec == "utf-16":
        start = next(filter(None, _octets(node, read)), b"")
        return "utf-16" if start.startswith((codecs.BOM_LE, codecs.BOM_BE)) else "utf-16-be"
    if codec == "ascii" or (codec is None and not node.charset):
        return "utf-8" if _is_utf_8(node, read) else "cp1252"
    return codec or "iso8859-1"


def _is_utf_8(node: Node, read: Read) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        for octets in _octets(node, read):
            decoder.decode(octets)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
