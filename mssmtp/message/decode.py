"""Text as a person reads it and as SEARCH compares it (RFC 3501 6.4.4, GEN-15).

Nothing here raises on a peer's octets; time is linear in them (ATT-27).
"""

from __future__ import annotations

import unicodedata
from typing import Protocol

from mssmtp.message.headers import fields
from mssmtp.message.hypertext import seen
from mssmtp.message.transfer import decoded
from mssmtp.message.words import decode_charset, decode_unlabelled, decode_words

__all__ = ["decode_unlabelled", "decode_words", "fold", "header_text", "headers_text", "text_of"]

_IGNORED = "\u00ad\u034f\u200b\u200c\u200d\ufeff"
_LETTERS = str.maketrans(
    {
        "œ": "oe",
        "æ": "ae",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ı": "i",
        "’": "'",
        "ʼ": "'",
        **dict.fromkeys(_IGNORED, ""),
    }
)


def _folded(character: str) -> str:
    """One character for comparison; folding what comes out changes nothing.

    What has a combining class goes: nothing is left whose order Unicode may change, so that a text
    folds character by character, wherever it is cut.
    """
    while True:
        bare = unicodedata.normalize("NFKD", character)
        bare = "".join(c for c in bare if not unicodedata.combining(c))
        bare = bare.casefold().translate(_LETTERS)
        if bare == character:
            # Half of a pair cannot be written down; UTF-7 and UTF-16 can spell one.
            return "\ufffd" if "\ud800" <= character <= "\udfff" else character
        character = bare


class _Folding(dict[int, str]):
    """`str.translate` with what each character becomes, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _folded(chr(code))
        return found


_FOLDING = _Folding()
# French is Latin-1 but for a few characters: these first, then one look-up per octet in C.
_RARE = tuple((c, _folded(c)) for c in "’‘“”–—…œŒæÆßŸ€\u202f¼½¾" if ord(c) > 255 or c in "æÆß¼½¾")
_LATIN = bytes(
    ord(found) if len(found := _folded(chr(code))) == 1 and ord(found) < 256 else code
    for code in range(256)
)
_NOT_LATIN = bytes((0xB5,))
"""MICRO SIGN folds to a Greek letter."""


def fold(text: str) -> str:
    """`text` for comparison: compatibility forms, case and accents removed.

    Compare folded with folded: `fold("Œdème")` is `fold("OEDEME")`. Character by character:
    `fold(a + b) == fold(a) + fold(b)`.
    """
    if text.isascii():
        return text.lower()
    for character, found in _RARE:
        text = text.replace(character, found)
    try:
        octets = text.encode("latin-1")
    except UnicodeEncodeError:
        return text.translate(_FOLDING)
    if _NOT_LATIN in octets:
        return text.translate(_FOLDING)
    return octets.translate(_LATIN, b"\xad").decode("latin-1")


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

    Of HTML, what `Hypertext` says; nothing is rendered.
    """
    text = decode_charset(decoded(part.encoding, body), part.charset)
    return seen(text) if part.full_type == "text/html" else text


def header_text(header: bytes, name: str) -> str:
    """Decoded values of every field called `name`, one a line; "" when there is none."""
    wanted = name.lower()
    return "\n".join(decode_words(f.value) for f in fields(header) if f.name == wanted)


def headers_text(header: bytes) -> str:
    """The whole section, decoded, one field a line: what SEARCH TEXT reads beside the bodies."""
    return "\n".join(
        f"{f.raw_name.decode('ascii')}: {decode_words(f.value)}" for f in fields(header)
    )
