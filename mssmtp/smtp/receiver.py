"""Content in bulk: blocks of any size in, content octets out (RFC 5321 4.5.2, RFC 3030, DEF-02).

Only CRLF.CRLF ends DATA, only an announced length ends a chunk. Everything another server could
take for an end (ATT-01) is counted as a defect instead: the door answers 550 after the true end and
stores nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import IncrementalNewlineDecoder

from mssmtp.errors import MailError
from mssmtp.smtp import replies

_END = b"\r\n.\r\n"
# A dot between two line ends of any kind, one of which is not CRLF: somebody's end of data.
_DOT_LINE = re.compile(rb"[\r\n]\.[\r\n]")


class Flooded(MailError):
    """The peer goes on sending far beyond the size limit: the connection is closed."""

    smtp = replies.TOO_BIG


@dataclass(frozen=True, slots=True)
class DataLimits:
    """`size_octets` is what EHLO announces; past `flood_octets` (raw) nothing more is read."""

    size_octets: int
    flood_octets: int


class DataReceiver:
    """Finds the end of one message and removes the dots that were stuffed.

    `feed` returns the content octets that became certain; the result does not depend on how the
    octets were split. After the end `done` is True and `rest` holds what follows. `bare` and `nul`
    tell of refused octets; `ambiguous` of a line end that other servers take for the end: what
    follows on the connection cannot be trusted to be commands. Past `size_octets` nothing more is
    returned and `too_big` is set; past `flood_octets` `feed` raises Flooded.
    """

    def __init__(self, limits: DataLimits) -> None:
        self._limits = limits
        self._held = b"\r\n"  # DATA starts at the start of a line: `.CRLF` alone ends it.
        self._unsent = 2  # of these two octets nothing belongs to the message
        self._before = b""  # last raw octets of the previous piece
        self._raw_octets = 0
        self.size_octets = 0
        self.bare = self.nul = self.ambiguous = self.too_big = self.done = False
        self.rest = b""

    @property
    def clean(self) -> bool:
        """True while nothing was seen that must be refused."""
        return not (self.bare or self.nul or self.too_big)

    def feed(self, block: bytes) -> bytes:
        """Content octets (possibly none) that `block` completes. Raises Flooded."""
        if self.done:
            raise ValueError("the data has ended")
        self._raw_octets += len(block)
        octets = self._held + block if self._held else block
        # Without CRLF-dot there is neither an end nor a stuffed dot, as in nearly all blocks.
        dotted = last_dot_line(octets)
        end = octets.find(_END) if dotted >= 0 else -1
        if end >= 0:
            piece, self._held, self.done = octets[: end + 2], b"", True
            self.rest = octets[end + len(_END) :]
            if dotted == end:
                dotted = octets.rfind(b"\r\n.", 0, end)
        else:
            held = _held_octets(octets)
            piece, self._held = octets[: len(octets) - held], octets[len(octets) - held :]
            if self._raw_octets > self._limits.flood_octets:
                raise Flooded
        self._inspect(piece)
        return self._count(piece.replace(b"\r\n.", b"\r\n") if dotted >= 0 else piece)

    def _inspect(self, piece: bytes) -> None:
        """Note NUL, bare CR and bare LF. No CRLF is cut in two (`_held_octets`)."""
        if b"\0" in piece:
            self.nul = True
        if not has_only_crlf(piece):
            self.bare = True
        if self.bare and not self.ambiguous:
            window = self._before + piece
            self.ambiguous = bool(_DOT_LINE.search(window)) or (
                self.done and window.endswith(b"\r\r\n")
            )
        if piece:
            self._before = (self._before + piece)[-2:]

    def _count(self, content: bytes) -> bytes:
        if self._unsent and content:
            # The invented CRLF always leaves in one piece: it is a CRLF (see `_inspect`).
            content, self._unsent = content[self._unsent :], 0
        self.size_octets += len(content)
        if self.size_octets > self._limits.size_octets:
            self.too_big = True
        return b"" if self.too_big else content


class ChunkReceiver:
    """One message in chunks whose lengths were told before (RFC 3030 2). No dot means anything.

    `begin` announces a chunk, `feed` takes its octets, at most `missing` of them; `end` comes after
    the last chunk. The flags are those of `DataReceiver`, and do not depend on how the message was
    cut into chunks. BINARYMIME is not announced: a bare CR, a bare LF or a NUL, which a later DATA
    could not carry, is as wrong here as there (ATT-01).
    """

    def __init__(self, limits: DataLimits) -> None:
        self._limits = limits
        self._line_ends = IncrementalNewlineDecoder(None, translate=False)
        self._announced_octets = 0
        self.missing = 0
        self.size_octets = 0
        self.bare = self.nul = self.too_big = False
        self.ambiguous = False  # the length alone ends a chunk, for everybody
        self.chunks = 0

    @property
    def clean(self) -> bool:
        """True while nothing was seen that must be refused."""
        return not (self.bare or self.nul or self.too_big)

    def begin(self, size_octets: int) -> None:
        """A chunk of `size_octets` comes. Raises Flooded: it is not worth being read."""
        if self.missing:
            raise ValueError("a chunk inside a chunk")
        self.chunks += 1
        self._announced_octets += size_octets
        if self._announced_octets > self._limits.flood_octets:
            raise Flooded
        self.too_big = self.too_big or self._announced_octets > self._limits.size_octets
        self.missing = size_octets

    def feed(self, block: bytes) -> bytes:
        """Octets of the announced chunk; they come back unless the message is too big."""
        if len(block) > self.missing:
            raise ValueError("beyond the end of the chunk")
        self.missing -= len(block)
        self.size_octets += len(block)
        self.nul = self.nul or b"\0" in block
        self._look(block)
        return b"" if self.too_big else block

    def end(self) -> None:
        """No chunk follows: a CR at the very end is a bare one."""
        self._look(b"", final=True)

    def _look(self, block: bytes, *, final: bool = False) -> None:
        self._line_ends.decode(block.decode("latin-1"), final=final)
        self.bare = self._line_ends.newlines not in (None, "\r\n")


def last_dot_line(octets: bytes) -> int:
    """Where the last CRLF before a dot is, -1: there is none.

    Base64 has no dot: that is seen by one memchr. Else backwards, because that search skips ahead
    where there is no CR, and takes a third of the time.
    """
    return octets.rfind(b"\r\n.") if b"." in octets else -1


def has_only_crlf(octets: bytes) -> bool:
    """No CR without LF, no LF without CR.

    The decoder notes in one pass which line ends there are. Counting CRLF, CR and LF took ten times
    as long: 4 ms per MB, a third of the loop's time for a large message.
    """
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(octets.decode("latin-1"), final=True)
    return seen.newlines in (None, "\r\n")


def _held_octets(octets: bytes) -> int:
    """Length of the longest end of `octets` that begins CRLF.CRLF."""
    for length in range(min(len(octets), len(_END) - 1), 0, -1):
        if octets.endswith(_END[:length]):
            return length
    return 0
