"""Finds a word in octets, however it is spelt (ATT-39).

Every canary contains STEM, with or without its accents, in any case: searching for one word in
every encoding is enough, and what stands around it tells which canary it was.
"""

from __future__ import annotations

import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import zstandard

STEM = "ZqKànarïx"
PLAIN = "zqkanarix"
"""The same without accents: for addresses, and what folding makes of it."""

_FRAMES = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b\x08": "gzip", b"\x78\x9c": "zlib"}
_BEGINNING_OCTETS = 65_536


def spellings() -> dict[str, bytes]:
    """Name of an encoding and what STEM is in it; the same octets are listed once."""
    found: dict[bytes, str] = {}
    forms = (STEM, STEM.lower(), STEM.upper(), PLAIN, PLAIN.upper(), PLAIN.capitalize())
    for form in forms:
        for name, octets in spelt(form):
            found.setdefault(octets, f"{name} {form}")
    return {name: octets for octets, name in found.items()}


def secrets_under(secrets: Mapping[str, str], *places: Path) -> dict[str, set[str]]:
    """What of `secrets`, by what it is, stands in which file below `places`, in any spelling."""
    needles = {what: {octets for _, octets in spelt(word)} for what, word in secrets.items()}
    found: dict[str, set[str]] = {}
    for path in (each for place in places for each in place.rglob("*") if each.is_file()):
        octets = path.read_bytes()
        for what, ways in needles.items():
            if any(way in octets for way in ways):
                found.setdefault(what, set()).add(str(path))
    return found


def spelt(word: str) -> Iterator[tuple[str, bytes]]:
    """Name of an encoding, and `word` in it."""
    charsets = {name: word.encode(name) for name in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}
    yield from charsets.items()
    for charset, octets in charsets.items():
        hexadecimal = octets.hex()
        yield f"hex {charset}", hexadecimal.encode()
        yield f"HEX {charset}", hexadecimal.upper().encode()
        for shift in range(3):
            # Neighbours decide the outer characters: cut them off.
            inner = slice(4 if shift else 0, -4)
            padded = b"\0" * shift + octets
            yield f"base64+{shift} {charset}", b64encode(padded)[inner]
            yield f"base64url+{shift} {charset}", urlsafe_b64encode(padded)[inner]
    yield "octal escapes", _escaped(word, "\\{:03o}")
    yield "backslash escapes", _escaped(word, "\\x{:02x}")
    yield "quoted-printable", _escaped(word, "={:02X}")
    yield "quoted-printable latin-1", _escaped(word, "={:02X}", "latin-1")
    yield "percent", quote(word).encode()
    yield "json", b"".join(c.encode() if c.isascii() else f"\\u{ord(c):04x}".encode() for c in word)
    yield "modified UTF-7", _modified_utf7(word)


def _escaped(word: str, escape: str, charset: str = "utf-8") -> bytes:
    return "".join(chr(o) if o < 0x80 else escape.format(o) for o in word.encode(charset)).encode()


def _modified_utf7(word: str) -> bytes:
    """RFC 3501 5.1.3, of a word without `&`."""
    pieces: list[str] = []
    for character in word:
        if character.isascii():
            pieces.append(character)
        else:
            inside = b64encode(character.encode("utf-16-be")).decode().rstrip("=")
            pieces.append(f"&{inside.replace('/', ',')}-")
    return "".join(pieces).encode()


_SPELLINGS = spellings()


def found_in(octets: bytes) -> list[str]:
    """How the word is spelt in `octets`, in the open or compressed; empty when it is not there."""
    found = [name for name, spelling in _SPELLINGS.items() if spelling in octets]
    return found + [f"{name} of {what}" for name, what in _unpacked(octets)]


def _unpacked(octets: bytes) -> Iterator[tuple[str, str]]:
    for magic, name in _FRAMES.items():
        at = octets.find(magic)
        while at >= 0:
            inside = _beginning(name, octets[at : at + _BEGINNING_OCTETS])
            yield from ((name, what) for what, word in _SPELLINGS.items() if word in inside)
            at = octets.find(magic, at + 1)


def _beginning(name: str, octets: bytes) -> bytes:
    try:
        if name == "zstd":
            return zstandard.ZstdDecompressor().stream_reader(octets).read(_BEGINNING_OCTETS)
        unpacker = zlib.decompressobj(31 if name == "gzip" else 15)
        return unpacker.decompress(octets, _BEGINNING_OCTETS)
    except (zstandard.ZstdError, zlib.error):
        return b""


def found_under(*places: Path) -> dict[str, list[str]]:
    """Files below `places` that hold the word, or are called so, and how it is spelt there."""
    found: dict[str, list[str]] = {}
    for place in places:
        for path in [place, *sorted(place.rglob("*"))]:
            told = found_in(path.name.encode("utf-8", "surrogateescape"))
            if path.is_file() and not path.is_symlink():
                told += found_in(path.read_bytes())
            if told:
                found[str(path)] = told
    return found
