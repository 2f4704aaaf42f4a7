"""Sealed content: chunks of 64 KiB that can be read one by one and never be swapped.

Each chunk is compressed (zstd level 1) when that helps, then AES-256-GCM with the chunk number as
nonce; the key serves one blob only, so that a nonce never comes twice. Blob id, number, "last" and
"compressed" are authenticated: no chunk can be moved, dropped or cut off unnoticed.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId

CHUNK_OCTETS = 65_536
_COMPRESSED = 0x8000_0000
_CONTEXT = struct.Struct(">16sIBB")
_ENTRY_OCTETS = 4


class _Codecs(threading.local):
    """zstandard's objects must not be shared between threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def compressed(octets: bytes | memoryview) -> bytes:
    """`octets` through zstd level 1."""
    return _codecs.compressor.compress(octets)


def decompressed(octets: bytes | memoryview, most: int) -> bytes:
    """The inverse, of at most `most` octets. Raises Damaged.

    The announced size is looked at first: the library would allocate whatever it says (ATT-31).
    """
    try:
        if zstandard.get_frame_parameters(octets).content_size > most:
            raise Damaged("a compressed value is larger than it may be")
        return _codecs.decompressor.decompress(octets, max_output_size=most)
    except zstandard.ZstdError as error:
        raise Damaged("a compressed value cannot be read") from error


class ChunkSealer:
    """Seals the chunks of one blob in order."""

    __slots__ = ("_aead", "_blob", "lengths")

    def __init__(self, blob: BlobId, key: bytes) -> None:
        self._blob = blob
        self._aead = AESGCM(key)
        self.lengths: list[int] = []

    def seal(self, block: bytes | memoryview, *, last: bool) -> bytes:
        """The next chunk; every one but the last has exactly CHUNK_OCTETS."""
        smaller = compressed(block)
        packs = len(smaller) < len(block) - (len(block) >> 4)
        number = len(self.lengths)
        sealed = self._aead.encrypt(
            number.to_bytes(12, "big"),
            smaller if packs else block,
            _CONTEXT.pack(self._blob, number, last, packs),
        )
        self.lengths.append(len(sealed) | (_COMPRESSED if packs else 0))
        return sealed

    def index(self) -> bytes:
        """The chunk index: what `ChunkReader` needs beside key and content."""
        return struct.pack(f">{len(self.lengths)}I", *self.lengths)


def chunk_entries(index: bytes, size_octets: int) -> tuple[int, ...]:
    """The chunk index, unpacked. Raises Damaged."""
    expected = max(1, -(-size_octets // CHUNK_OCTETS))
    if len(index) != _ENTRY_OCTETS * expected:
        raise Damaged("the chunk index does not fit the size")
    return struct.unpack(f">{expected}I", index)


def sealed_octets(index: bytes, size_octets: int) -> int:
    """How long a blob of `size_octets` is in its sealed form. Raises Damaged."""
    return sum(entry & ~_COMPRESSED for entry in chunk_entries(index, size_octets))


class ChunkReader:
    """Reads ranges of one blob; `source(offset, octets)` gives sealed octets."""

    __slots__ = ("_aead", "_blob", "_entries", "_size", "_source")

    def __init__(
        self,
        blob: BlobId,
        key: bytes,
        index: bytes,
        size_octets: int,
        source: Callable[[int, int], bytes],
    ) -> None:
        self._blob = blob
        self._aead = AESGCM(key)
        self._entries = chunk_entries(index, size_octets)
        self._size = size_octets
        self._source = source

    @property
    def size(self) -> int:
        """Octets of the opened content."""
        return self._size

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Octets `start` to `stop`, clipped to the size; only their chunks are opened.

        Raises Damaged when one of these chunks does not authenticate.
        """
        stop = self._size if stop is None else min(stop, self._size)
        start = max(start, 0)
        if start >= stop:
            return b""
        first, final = start // CHUNK_OCTETS, (stop - 1) // CHUNK_OCTETS
        offset = sum(entry & ~_COMPRESSED for entry in self._entries[:first])
        pieces = []
        for number in range(first, final + 1):
            length = self._entries[number] & ~_COMPRESSED
            pieces.append(self._open(number, self._source(offset, length)))
            offset += length
        base = first * CHUNK_OCTETS
        if len(pieces) == 1:
            return pieces[0][start - base : stop - base]
        pieces[-1] = pieces[-1][: stop - final * CHUNK_OCTETS]
        pieces[0] = pieces[0][start - base :]
        return b"".join(pieces)

    def verify(self) -> None:
        """Open every chunk, also the empty one of an empty message. Raises Damaged."""
        for _ in self.blocks():
            pass

    def blocks(self) -> Iterator[bytes]:
        """Every chunk opened, in order. Raises Damaged."""
        offset = 0
        for number, entry in enumerate(self._entries):
            length = entry & ~_COMPRESSED
            yield self._open(number, self._source(offset, length))
            offset += length

    def _open(self, number: int, sealed: bytes) -> bytes:
        last = number == len(self._entries) - 1
        octets = self._size - number * CHUNK_OCTETS if last else CHUNK_OCTETS
        place = number, last, octets
        return _opened(self._aead, self._blob, place, self._entries[number], sealed)


def open_small(blob: BlobId, key: bytes, index: bytes, size_octets: int, sealed: bytes) -> bytes:
    """The content of a blob of one chunk, as `ChunkReader` reads it. Raises Damaged."""
    if len(index) != _ENTRY_OCTETS:
        raise Damaged("the chunk index does not fit the size")
    entry = int.from_bytes(index, "big")
    place = 0, True, size_octets
    return _opened(AESGCM(key), blob, place, entry, sealed[: entry & ~_COMPRESSED])


def _opened(
    aead: AESGCM, blob: BlobId, place: tuple[int, bool, int], entry: int, sealed: bytes
) -> bytes:
    """A chunk: `place` is its number, whether it is the last one, and its size when opened."""
    number, last, size_octets = place
    packs = bool(entry & _COMPRESSED)
    try:
        octets = aead.decrypt(
            number.to_bytes(12, "big"), sealed, _CONTEXT.pack(blob, number, last, packs)
        )
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"chunk {number} does not authenticate") from error
    if packs:
        octets = decompressed(octets, CHUNK_OCTETS)
    if len(octets) != size_octets:
        raise Damaged(f"chunk {number} has another size")
    return octets
