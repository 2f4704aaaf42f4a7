"""The body of a message as one number, to tell whether two messages say the same (CL-80)."""

from __future__ import annotations

import hashlib

_END = b"\r\n\r\n"
_EMPTY_LINES_AT_ONCE = 4_096


class BodyDigest:
    """SHA-256 of what follows the header section, without the line ends at its end.

    SMTP ends every message with CRLF, an APPEND need not (RFC 6376 3.4.3 leaves out the same for
    its signatures). Any split of the octets gives the same digest; a few octets are held.
    """

    __slots__ = ("_empty", "_hash", "_held", "_in_header")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held = b"\r\n"  # an empty header section ends at the first line end
        self._in_header = True
        self._empty = 0

    def feed(self, block: bytes) -> None:
        """The next octets of the message."""
        data = self._held + block
        if self._in_header:
            at = data.find(_END)
            if at < 0:
                self._held = data[-3:]
                return
            self._in_header = False
            data = data[at + len(_END) :]
        # A CR at the end may be half a line end.
        kept = len(data) - 1 if data.endswith(b"\r") else len(data)
        self._held = data[kept:]
        text = _text_end(data, kept)
        if text:
            self._write_empty_lines()
            self._hash.update(memoryview(data)[:text])
        self._empty += (kept - text) // 2

    def digest(self) -> bytes:
        """Of a message that ends here; nothing may be fed any more."""
        if not self._in_header and self._held:
            self._write_empty_lines()
            self._hash.update(self._held)
            self._held = b""
        return self._hash.digest()

    def _write_empty_lines(self) -> None:
        while self._empty:
            lines = min(self._empty, _EMPTY_LINES_AT_ONCE)
            self._hash.update(b"\r\n" * lines)
            self._empty -= lines


def _text_end(data: bytes, stop: int) -> int:
    """Where only CRLFs follow until `stop`; a bare CR or LF is text."""
    if data[:stop].endswith(b"\r"):
        return stop
    start = len(data[:stop].rstrip(b"\r\n"))
    ends = data[start:stop]
    last = max(ends.rfind(b"\n\n"), ends.rfind(b"\r\r")) + 1
    return start + last + (ends[last : last + 1] == b"\n")
