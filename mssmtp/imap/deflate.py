"""Both directions of a compressed connection (RFC 4978): octets in, octets out.

Off unless the settings say otherwise: iOS was seen to wait for ever where a server does not flush
(APL-04). So each flush is a whole one, and what is received is inflated a piece at a time.
"""

from __future__ import annotations

import zlib

PIECE_OCTETS = 65_536
"""Inflated at once; the rest waits compressed."""
FREE_OCTETS = 16 * 1_048_576
MOST_TIMES = 300
"""Beyond FREE_OCTETS a client may send so many times what it took on the wire: base64 of blank
pages reaches 200, a bomb 1,000."""
_LEVEL, _WINDOW, _MEMORY = 3, -12, 5
"""32 KiB a connection, where zlib's own choice takes 256: thousands are open."""


class BadStream(Exception):
    """Not DEFLATE, or a bomb."""


class Deflate:
    """One connection's two streams."""

    def __init__(self) -> None:
        self._out = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
        self._in = zlib.decompressobj(-15)
        self._taken = self._given = 0
        self._is_full = False

    @property
    def holds_more(self) -> bool:
        """The last piece was full: more may come without further octets."""
        return self._is_full

    def packed(self, octets: bytes) -> bytes:
        """`octets` for the wire, all of them (RFC 4978 3)."""
        return self._out.compress(octets) + self._out.flush(zlib.Z_SYNC_FLUSH)

    def unpacked(self, octets: bytes) -> tuple[bytes, bytes]:
        """One piece of what came, and what of `octets` is to be handed in again. BadStream."""
        try:
            piece = self._in.decompress(octets, PIECE_OCTETS)
        except zlib.error as error:
            raise BadStream("not DEFLATE") from error
        if self._in.eof:
            raise BadStream("the stream has ended")
        rest = self._in.unconsumed_tail
        self._is_full = len(piece) == PIECE_OCTETS
        self._taken += len(octets) - len(rest)
        self._given += len(piece)
        if self._given > FREE_OCTETS and self._given > MOST_TIMES * self._taken:
            raise BadStream("a bomb")
        return piece, rest
