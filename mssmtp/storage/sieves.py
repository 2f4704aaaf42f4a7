"""Sieves: which packs of texts a search need not open.

A sieve has a bit for each group of three octets that stands within a word of the pack (for the
checksum of it: different groups may share a bit). What is looked for can be in the pack only if all
bits of its own groups are set; most packs lack one for a rare word or a name. It tells no more than
the pack does, is sealed as the pack is, and goes with it.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Iterator

SIEVE_OCTETS = 8_192
_MASK = 8 * SIEVE_OCTETS - 1
_GROUP = 3
_PIECE_OCTETS = 65_536
_KNOWN_WORDS = 32_768

Places = frozenset[int]
"""Bits of a sieve."""


def places_of(text: bytes) -> Places:
    """The bits that a sieve must have where `text` is found; none: it may be anywhere.

    Groups do not reach over white space: what stands between two words in a text is not counted
    when its words are.
    """
    return frozenset(_places(set(text.split())))


def sieve_of(texts: Iterable[bytes]) -> bytes:
    """The sieve of a pack: the same for the same texts (D6). Memory does not grow with them."""
    places: set[int] = set()
    known: set[bytes] = set()
    for piece in _pieces(texts):
        words = set(piece.split()) - known
        places |= _places(words)
        known = words if len(known) > _KNOWN_WORDS else known | words
    bits = bytearray(SIEVE_OCTETS)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def _pieces(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Each begins with what a group needs of the one before."""
    for text in texts:
        for start in range(0, len(text), _PIECE_OCTETS):
            yield text[max(start - _GROUP + 1, 0) : start + _PIECE_OCTETS]


def _places(words: Iterable[bytes]) -> set[int]:
    return {
        crc32(word[at : at + _GROUP]) & _MASK
        for word in words
        for at in range(len(word) - _GROUP + 1)
    }


def lets_through(sieve: bytes, places: Places) -> bool:
    """Whether a text with these bits may be in the pack."""
    return all(sieve[place >> 3] & 1 << (place & 7) for place in places)
