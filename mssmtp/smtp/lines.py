"""Command lines out of octets: the layer below the grammar (RFC 5321 2.3.8, 4.5.3.1.4).

A line is ended by CRLF. A bare LF ends a line too, but only to refuse it: what other software could
read as two commands is never executed as one.
"""

from __future__ import annotations

import re

from mssmtp.errors import BadSyntax
from mssmtp.smtp import replies

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BadLine(BadSyntax):
    """Ended by a bare LF, or with a control character inside; as a command: empty."""

    smtp = replies.BAD_LINE


class LineTooLong(BadSyntax):
    """Longer than the limit (DEF-02)."""

    smtp = replies.LINE_TOO_LONG


class Inbox:
    """Octets received and not yet used, as lines or as blocks.

    `longest_octets` counts a line without its CRLF. The inbox keeps at most that of a line: the
    rest of a longer one is dropped as it comes.
    """

    def __init__(self, longest_octets: int) -> None:
        self._longest = longest_octets
        self._octets = bytearray()
        self._searched = 0
        self._skipping = False

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, block: bytes) -> None:
        """Keep `block`."""
        self._octets += block

    def unread(self, block: bytes) -> None:
        """Put octets that were taken too far back in front."""
        self._octets[:0] = block
        self._searched = 0

    def take(self, at_most: int | None = None) -> bytes:
        """Everything that waits, or the first `at_most` octets of it, as one block."""
        if at_most is not None and at_most < len(self._octets):
            octets = bytes(self._octets[:at_most])
            del self._octets[:at_most]
            self._searched = 0
            return octets
        octets = bytes(self._octets)
        self.clear()
        return octets

    def clear(self) -> None:
        """Forget everything (RFC 3207 4.2)."""
        self._octets.clear()
        self._searched = 0
        self._skipping = False

    def line(self) -> bytes | None:
        """The next line without its CRLF, which may be empty; None: not here yet.

        Raises BadLine or LineTooLong once per refused line, when its end has come.
        """
        end = self._octets.find(b"\n", self._searched)
        if end < 0:
            self._drop_excess()
            return None
        line = bytes(self._octets[:end])
        del self._octets[: end + 1]
        self._searched = 0
        skipping, self._skipping = self._skipping, False
        if skipping or len(line) > self._longest + 1:
            raise LineTooLong
        if not line.endswith(b"\r"):
            raise BadLine
        line = line[:-1]
        if len(line) > self._longest:
            raise LineTooLong
        if _CONTROL.search(line):
            raise BadLine
        return line

    def _drop_excess(self) -> None:
        if self._skipping or len(self._octets) > self._longest + 1:
            self._skipping = True
            self._octets.clear()
        self._searched = len(self._octets)
