"""Octets of lists and certificates, changed: what spoils them, what a signature does not see."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Edits = list[tuple[float, int, bytes]]

TOKENS = [
    b"<",
    b">",
    b"</",
    b"/>",
    b"&",
    b"&#13;",
    b"&#0;",
    b"&lt;",
    b'"',
    b"'",
    b"<!--",
    b"-->",
    b"<?",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE",
    b"xmlns=",
    b"xmlns:a='",
    b'Id="a"',
    b"<Signature>",
    b"<Object/>",
    b"<ListeDomaines/>",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"=",
    b"A",
    b" ",
    b"",
]
"""What a reader of signed XML gives a meaning to."""


def edited(octets: bytes, edits: Edits) -> bytes:
    """Each edit replaces some octets at a place by a token."""
    for where, length, token in edits:
        at = int(where * len(octets))
        octets = octets[:at] + token + octets[at + length :]
    return octets


def flipped(der: bytes, flips: list[tuple[float, int]]) -> bytes:
    """Each flip changes bits of the octet at a place."""
    octets = bytearray(der)
    for where, mask in flips:
        octets[int(where * len(octets))] ^= mask
    return bytes(octets)


# ---------------------------------------------------------------- what canonicalisation undoes

Chance = random.Random
Change = Callable[[Chance, bytes], bytes]
_SIGNED_TAG = re.compile(rb"<(/?)(Nom|Domaine|Description|DateMAJ|ListeDomaines|SupportContact)>")
_TEXT = re.compile(rb">([^<>&\s][^<>&]*)<")


def _at(octets: bytes, found: re.Match[bytes], new: bytes) -> bytes:
    return octets[: found.start()] + new + octets[found.end() :]


def _one_of(chance: Chance, octets: bytes, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
    """A match before the signature, whose own texts are not canonicalised twice."""
    return chance.choice(list(pattern.finditer(octets, 0, octets.index(b"<Signature "))))


def _space_in_a_tag(chance: Chance, octets: bytes) -> bytes:
    found = _one_of(chance, octets, _SIGNED_TAG)
    return _at(
        octets, found, b"<" + found[1] + found[2] + chance.choice((b" ", b"\n", b"\t")) + b">"
    )


def _a_reference_for_a_character(chance: Chance, octets: bytes) -> bytes:
    found = _one_of(chance, octets, _TEXT)
    text = found[1].decode()
    at = chance.randrange(len(text))
    form = chance.choice(("&#{};", "&#x{:x};", "&#x000{:X};")).format(ord(text[at]))
    return _at(octets, found, f">{text[:at]}{form}{text[at + 1 :]}<".encode())


def _a_cdata_section(chance: Chance, octets: bytes) -> bytes:
    found = _one_of(chance, octets, _TEXT)
    text = found[1].decode()
    one, two = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    return _at(octets, found, f">{text[:one]}<![CDATA[{text[one:two]}]]>{text[two:]}<".encode())


def _the_namespace_again(chance: Chance, octets: bytes) -> bytes:
    found = chance.choice(list(re.finditer(rb"<(Nom|Domaine|ListeDomaines)>", octets)))
    name = b' xmlns="https://listeblanche.mssante.fr/schema"'
    return _at(octets, found, b"<" + found[1] + name + b">")


def _an_unused_namespace(chance: Chance, octets: bytes) -> bytes:
    found = chance.choice(list(re.finditer(rb"<(Nom|Domaine|ListeDomaines)>", octets)))
    return _at(octets, found, b"<" + found[1] + b' xmlns:a="urn:x">')


def _other_line_ends(chance: Chance, octets: bytes) -> bytes:
    return octets.replace(
        b"\n    ", chance.choice((b"\r\n    ", b"\r    ")), chance.randrange(1, 9)
    )


def _other_declaration(chance: Chance, octets: bytes) -> bytes:
    declared = b'<?xml version="1.0" encoding="UTF-8"?>'
    other = (b"", b"<?xml version='1.0'?>", declared + b"\n", b"\xef\xbb\xbf" + declared)
    return octets.replace(declared, chance.choice(other), 1)


def _other_lines_of_base64(chance: Chance, octets: bytes) -> bytes:
    at = octets.index(b"<SignatureValue>") + 16 + chance.randrange(70)
    return octets[:at] + chance.choice((b"\n", b" ", b"&#13;\n", b"\t")) + octets[at:]


def _white_space_behind_the_signature(chance: Chance, octets: bytes) -> bytes:
    start = octets.index(b"<Signature ")
    text = octets[octets.index(b"</ListeDomaines>") + 16 : start]
    assert not text.strip()
    end = octets.index(b"</Signature>") + 12
    at = chance.randrange(len(text))
    return octets[: start - len(text) + at] + octets[start:end] + text[at:] + octets[end:]


NEUTRAL: dict[str, Change] = {
    "space in a tag": _space_in_a_tag,
    "a reference for a character": _a_reference_for_a_character,
    "a CDATA section": _a_cdata_section,
    "the namespace again": _the_namespace_again,
    "an unused namespace": _an_unused_namespace,
    "other line ends": _other_line_ends,
    "other declaration": _other_declaration,
    "other lines of base64": _other_lines_of_base64,
    "white space behind the signature": _white_space_behind_the_signature,
}
"""Changes of a signed list that exclusive canonicalisation undoes: the signature still holds."""
