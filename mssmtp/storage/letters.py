"""Writing a letter: scanned, sealed and spilled to a file while it arrives."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mssmtp.mail import BlobId
from mssmtp.outside import Entropy
from mssmtp.storage.database import refusal
from mssmtp.storage.files import BlobFiles, PartialFile
from mssmtp.storage.keys import KEY_OCTETS
from mssmtp.storage.model import Letter
from mssmtp.storage.sealing import CHUNK_OCTETS, ChunkSealer

if TYPE_CHECKING:
    from mssmtp.message.body_digest import BodyDigest
    from mssmtp.message.scanner import Scan, ScanLimits


TRACED_FIELDS = 20
TRACED_OCTETS = 998


class Scanning(Protocol):
    """What a letter needs of `message.Scanner`."""

    def feed(self, block: bytes) -> None:
        """Take octets in order; raises at a limit."""
        ...

    def close(self) -> Scan:
        """What was found."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """How a message is read: a fresh scanner, the summary, as octets, of what it found (None: it
    could not be read) in a message of that size and SHA-256, and the header fields a transfer
    traces (OP-74). Summaries begin with `version`; others are as good as missing."""

    scanner: Callable[[], Scanning]
    summary: Callable[[Scan | None, int, bytes], bytes]
    traced: Callable[[Scan], tuple[tuple[str, str], ...]]
    version: bytes


def message_reader(limits: ScanLimits | None) -> Reader:
    """The reader of the message room."""
    from mssmtp.message.scanner import ScanLimits, Scanner
    from mssmtp.message.summary import VERSION, Summary

    def summary(scan: Scan | None, size_octets: int, sha256: bytes) -> bytes:
        if scan is None:
            return Summary.of_unparsable(size_octets, sha256).to_bytes()
        return Summary.of(scan, sha256).to_bytes()

    chosen = limits or ScanLimits(header_octets=262_144, mime_depth=50, mime_parts=1_000)
    return Reader(lambda: Scanner(chosen), summary, traced_fields, bytes([VERSION]))


def traced_fields(scan: Scan) -> tuple[tuple[str, str], ...]:
    """Message-ID and X-MSS fields of the header, at most 20, each at most 998 octets."""
    from mssmtp.message.headers import fields

    found = [
        (field.name, field.value.decode("ascii", "replace"))
        for field in fields(scan.header)
        if (field.name == "message-id" or field.name.startswith("x-mss-"))
        and len(field.value) <= TRACED_OCTETS
    ]
    return tuple(found[:TRACED_FIELDS])


class SealedBlob:
    """Sealed content no row refers to yet; opaque outside the store.

    `data` is None when the content is a file. The file goes when the blob is discarded or
    forgotten, but never under a job that may still commit: a door that gives up waiting discards
    while the committer writes.
    """

    __slots__ = (
        "__weakref__",
        "_finalizer",
        "_is_gone",
        "_is_kept",
        "_is_unwanted",
        "_lock",
        "_offers",
        "data",
        "id",
        "index",
        "key",
        "was_offered",
    )

    def __init__(self, id: BlobId, key: bytes, index: bytes, data: bytes | None) -> None:
        self.id = id
        self.key = key
        self.index = index
        self.data = data
        self.was_offered = False
        self._finalizer: weakref.finalize[[BlobId], SealedBlob] | None = None
        self._lock = threading.Lock()
        self._offers = 0
        self._is_kept = self._is_unwanted = self._is_gone = False

    def remove_unless_kept(self, files: BlobFiles) -> None:
        """Tie the file to the life of this object."""
        self._finalizer = weakref.finalize(self, files.discard, self.id)
        self._finalizer.atexit = False  # a forked child that exits must not remove our files

    def offer(self) -> None:
        """A job writes a row for it. Raises ValueError when it was discarded before."""
        with self._lock:
            if self._is_gone:
                raise ValueError("the letter was discarded before it was written")
            self._offers += 1
            self.was_offered = True

    def withdraw(self) -> None:
        """The job was undone."""
        with self._lock:
            self._offers -= 1
            self._settle()

    def keep(self) -> None:
        """The job is committed, or its fate is unknown: then the sweep decides about the file."""
        with self._lock:
            self._is_kept = True
            if self._finalizer is not None:
                self._finalizer.detach()

    def discard(self) -> None:
        """Remove the file unless it is kept: now, or when the job that writes it is undone."""
        with self._lock:
            self._is_unwanted = True
            self._settle()

    def _settle(self) -> None:
        if self._is_unwanted and not self._is_kept and not self._offers:
            self._is_gone = True
            if self._finalizer is not None:
                self._finalizer()


class LetterWriter:
    """Takes the octets of one message. Not for two threads at once; any thread may be next.

    Memory stays at about two chunks plus `small_octets`, whatever the size of the message.
    """

    def __init__(
        self,
        blob: BlobId,
        reader: Reader,
        files: BlobFiles,
        entropy: Entropy,
        small_octets: int,
        body: BodyDigest | None = None,
    ) -> None:
        self._blob = blob
        self._body = body
        self._key = entropy.token_bytes(KEY_OCTETS)
        self._sealer = ChunkSealer(blob, self._key)
        self._reader = reader
        self._scanner = reader.scanner()
        self._files = files
        self._small_octets = small_octets
        self._hash = hashlib.sha256()
        self._size = 0
        self._pending = bytearray()
        self._sealed: list[bytes] = []
        self._sealed_octets = 0
        self._file: PartialFile | None = None
        self._forget: weakref.finalize[[PartialFile, BlobId], LetterWriter] | None = None
        self._is_open = True

    def write(self, block: bytes) -> None:
        """Scan and seal `block`. Raises TooComplex, StorageFull, StorageUnavailable.

        After an error only `abort` is left.
        """
        if not self._is_open:
            raise ValueError("the letter is finished")
        self._scanner.feed(block)
        self._hash.update(block)
        if self._body is not None:
            self._body.feed(block)
        self._size += len(block)
        self._pending += block
        # The last chunk says so in its context: one chunk is always held back.
        while len(self._pending) > CHUNK_OCTETS:
            with memoryview(self._pending) as view, view[:CHUNK_OCTETS] as chunk:
                sealed = self._sealer.seal(chunk, last=False)
            del self._pending[:CHUNK_OCTETS]
            self._put(sealed)

    def finish(self) -> Letter:
        """The letter; when it is large its file is on disk already, name included (D1).

        Raises TooComplex, StorageFull, StorageUnavailable.
        """
        if not self._is_open:
            raise ValueError("the letter is finished")
        try:
            scan = self._scanner.close()
            self._put(self._sealer.seal(bytes(self._pending), last=True))
            self._pending.clear()
            blob = self._finished()
            sha256 = self._hash.digest()
            summary = self._reader.summary(scan, self._size, sha256)
            traced = self._reader.traced(scan)
        except BaseException:
            self.abort()
            raise
        self._is_open = False
        body = None if self._body is None else self._body.digest()
        return Letter(blob, self._size, scan, summary, sha256, traced, body)

    def abort(self) -> None:
        """Forget everything; no trace remains. Harmless after `finish` or another `abort`."""
        if not self._is_open:
            return
        self._is_open = False
        self._sealed.clear()
        self._pending.clear()
        if self._forget is not None:
            self._forget()

    def _put(self, sealed: bytes) -> None:
        self._sealed.append(sealed)
        self._sealed_octets += len(sealed)
        if self._file is None and self._sealed_octets <= self._small_octets:
            return
        try:
            if self._file is None:
                self._file = self._files.begin(self._blob)
                # A writer dropped with its connection leaves nothing behind either.
                self._forget = weakref.finalize(self, self._files.abandon, self._file, self._blob)
                self._forget.atexit = False
            for piece in self._sealed:
                self._file.write(piece)
        except OSError as error:
            raise refusal(error) from error
        self._sealed.clear()

    def _finished(self) -> SealedBlob:
        index = self._sealer.index()
        if self._file is None:
            return SealedBlob(self._blob, self._key, index, b"".join(self._sealed))
        try:
            self._files.name(self._blob)
            self._file.sync()
            self._files.publish(self._blob)
        except OSError as error:
            raise refusal(error) from error
        if self._forget is not None:
            self._forget.detach()
        blob = SealedBlob(self._blob, self._key, index, None)
        blob.remove_unless_kept(self._files)
        return blob
