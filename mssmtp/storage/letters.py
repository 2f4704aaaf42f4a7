"""Writing a letter: scanned, sealed and spilled to a file while it arrives."""

from __future__ import annotations

from mssmtp.storage.model import Letter


class SealedBlob:
    """Sealed content; opaque outside the store."""


class LetterWriter:
    """Takes the octets of one message. Not for two threads at once; any thread may be next."""

    def write(self, block: bytes) -> None:
        """Scan and seal `block`. Raises TooComplex, StorageFull, StorageUnavailable."""
        raise NotImplementedError

    def finish(self) -> Letter:
        """The letter; durable on disk already when it is large."""
        raise NotImplementedError

    def abort(self) -> None:
        """Forget everything; no trace remains."""
        raise NotImplementedError
