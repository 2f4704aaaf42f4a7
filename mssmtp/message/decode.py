"""Text as a person reads it and as SEARCH compares it (RFC 3501 6.4.4, GEN-15).

Nothing here raises on a peer's octets; time is linear in them (ATT-27).
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Protocol

from mssmtp.message.headers import fields
from mssmtp.message.transfer import decoded
from mssmtp.message.words import decode_charset, decode_unlabelled, decode_words

__all__ = ["decode_unlabelled", "decode_words", "fold", "header_text", "headers_text", "text_of"]

_CHUNK = 1_024
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u0652\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f\u00ad\u200b-\u200d\ufeff]+"
)
_HUGE_REFERENCE = re.compile("&#[0-9]{12,}")
_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "’": "'", "ʼ": "'"}
)


def fold(text: str) -> str:
    """`text` for comparison: compatibility forms, case and accents removed.

    Compare folded with folded: `fold("Œdème")` is `fold("OEDEME")`.
    """
    if text.isascii():
        return text.lower()
    # Marks go first and the rest is normalised in short pieces: ordering a long run of marks is
    # quadratic inside `normalize`.
    bare = _MARKS.sub("", text)
    pieces = (
        unicodedata.normalize("NFKD", bare[start : start + _CHUNK])
        for start in range(0, len(bare), _CHUNK)
    )
    folded = "".join(_MARKS.sub("", piece) for piece in pieces).casefold()
    return folded.translate(_LETTERS)


class TextEntity(Protocol):
    """A leaf whose text can be read: a `Part` or a `Node`."""

    @property
    def encoding(self) -> str:
        """Transfer encoding, lower case."""
        ...

    @property
    def charset(self) -> str:
        """Lower case, "" when not declared."""
        ...

    @property
    def full_type(self) -> str:
        """`text/plain`, lower case."""
        ...


def text_of(part: TextEntity, body: bytes) -> str:
    """The text a reader sees in the encoded octets `body` of a text leaf.

    Of HTML, tags are left out and character references resolved; nothing is rendered.
    """
    text = decode_charset(decoded(part.encoding, body), part.charset)
    return _without_tags(text) if part.full_type == "text/html" else text


def _without_tags(text: str) -> str:
    """What stands outside `<…>`; an unfinished tag is text."""
    first, *rest = text.split("<")
    pieces = [first]
    for piece in rest:
        _tag, closed, after = piece.partition(">")
        pieces.append(after if closed else "<" + piece)
    # Python refuses to read thousands of digits as a number; no character has more than seven.
    return html.unescape(_HUGE_REFERENCE.sub("\ufffd", "".join(pieces)))


def header_text(header: bytes, name: str) -> str:
    """Decoded values of every field called `name`, one a line; "" when there is none."""
    wanted = name.lower()
    return "\n".join(decode_words(f.value) for f in fields(header) if f.name == wanted)


def headers_text(header: bytes) -> str:
    """The whole section, decoded, one field a line: what SEARCH TEXT reads beside the bodies."""
    return "\n".join(
        f"{f.raw_name.decode('ascii')}: {decode_words(f.value)}" for f in fields(header)
    )
