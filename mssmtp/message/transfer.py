"""Content-Transfer-Encoding: how large a body decodes, and decoding it (RFC 2045 6)."""

from __future__ import annotations

import re
from typing import Protocol

from mssmtp.message.words import BASE64_ALPHABET, NOT_BASE64, decode_base64

_ESCAPE = re.compile(rb"=[0-9A-Fa-f][0-9A-Fa-f]")
_HEX = frozenset(b"0123456789ABCDEFabcdef")
KNOWN = frozenset(("7bit", "8bit", "binary", "base64", "quoted-printable"))
"""What RFC 2045 6.1 defines; of another encoding nobody can tell the octets."""


class Counter(Protocol):
    """Counts decoded octets of a body that comes in blocks of any split."""

    def add(self, block: bytes | bytearray) -> None:
        """The next encoded octets."""
        ...

    def total(self) -> int:
        """Decoded octets of everything added, as if the body ended here."""
        ...


class PlainCounter:
    """7bit, 8bit, binary and whatever we do not know: as it is."""

    __slots__ = ("_octets",)

    def __init__(self) -> None:
        self._octets = 0

    def add(self, block: bytes | bytearray) -> None:
        self._octets += len(block)

    def total(self) -> int:
        return self._octets


class Base64Counter:
    """Four letters make three octets, whatever stands between them (RFC 2045 6.8)."""

    __slots__ = ("_letters",)

    def __init__(self) -> None:
        self._letters = 0

    def add(self, block: bytes | bytearray) -> None:
        self._letters += len(block) - len(block.translate(None, BASE64_ALPHABET))

    def total(self) -> int:
        return self._letters * 3 // 4


class QuotedPrintableCounter:
    """Each `=XX` is one octet, each soft line break none (RFC 2045 6.7).

    What a `=` means depends on the two octets after it alone, so each kind can be counted at once.
    """

    __slots__ = ("_held", "_octets")

    def __init__(self) -> None:
        self._held = b""
        self._octets = 0

    def add(self, block: bytes | bytearray) -> None:
        data = self._held + bytes(block)
        tail = data.rfind(b"=", max(0, len(data) - 2))
        self._held = b"" if tail < 0 else data[tail:]
        self._octets += _unquoted_octets(data[: len(data) - len(self._held)])

    def total(self) -> int:
        return self._octets + _unquoted_octets(self._held)


def _unquoted_octets(data: bytes) -> int:
    soft = 2 * data.count(b"=\n") + 3 * data.count(b"=\r\n")
    return len(data) - 2 * len(_ESCAPE.findall(data)) - soft


def counter_of(encoding: str) -> Counter:
    """The counter of a lower-case transfer encoding."""
    if encoding == "base64":
        return Base64Counter()
    if encoding == "quoted-printable":
        return QuotedPrintableCounter()
    return PlainCounter()


def decoded(encoding: str, body: bytes) -> bytes:
    """The octets of a whole body in a lower-case transfer encoding; never raises.

    Of base64 anything outside the alphabet is ignored, padding included; a broken escape of
    quoted-printable stays as it is written; an unknown encoding is none.
    """
    if encoding == "base64":
        return decode_base64(body)
    return _unquoted(body) if encoding == "quoted-printable" else body


class Decoder(Protocol):
    """Decodes a body that comes in blocks of any split."""

    @property
    def held(self) -> bytes:
        """What waits for more octets: another decoder made with it goes on from here."""
        ...

    def feed(self, block: bytes) -> bytes:
        """Octets that are certain by now."""
        ...

    def close(self) -> bytes:
        """The rest."""
        ...


class _PlainDecoder:
    held = b""

    def feed(self, block: bytes) -> bytes:
        return block

    def close(self) -> bytes:
        return b""


class _Base64Decoder:
    def __init__(self, held: bytes) -> None:
        self.held = held

    def feed(self, block: bytes) -> bytes:
        letters = self.held + block.translate(None, NOT_BASE64)
        whole = len(letters) & ~3
        self.held = letters[whole:]
        return decode_base64(letters[:whole])

    def close(self) -> bytes:
        return decode_base64(self.held)


class _QuotedPrintableDecoder:
    def __init__(self, held: bytes) -> None:
        self.held = held

    def feed(self, block: bytes) -> bytes:
        data = self.held + block
        tail = data.rfind(b"=", max(0, len(data) - 2))
        self.held = b"" if tail < 0 else data[tail:]
        return _unquoted(data[: len(data) - len(self.held)])

    def close(self) -> bytes:
        return _unquoted(self.held)


def decoder_of(encoding: str, held: bytes = b"") -> Decoder:
    """For a lower-case transfer encoding; what it gives joins to what `decoded` gives."""
    if encoding == "base64":
        return _Base64Decoder(held)
    if encoding == "quoted-printable":
        return _QuotedPrintableDecoder(held)
    return _PlainDecoder()


def _unquoted(data: bytes) -> bytes:
    first, *rest = data.split(b"=")
    pieces = [first]
    for piece in rest:
        if len(piece) >= 2 and piece[0] in _HEX and piece[1] in _HEX:
            pieces.append(_OCTETS[int(piece[:2], 16)])
            pieces.append(piece[2:])
        elif piece.startswith(b"\r\n"):
            pieces.append(piece[2:])
        elif piece.startswith(b"\n"):
            pieces.append(piece[1:])
        else:
            pieces.append(b"=" + piece)
    return b"".join(pieces)


_OCTETS = tuple(bytes((n,)) for n in range(256))
