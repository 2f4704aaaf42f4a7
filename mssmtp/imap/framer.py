"""Where a command ends: lines, literals and their limits. Below all grammar (RFC 3501 2.2, 4.3).

The framer knows `CRLF` and `{n}`, nothing else. Octets of a literal are counted, never looked at:
what is inside a literal is never syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_ANNOUNCEMENT = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_MAX_DIGITS = 12
HUGE = 1 << 62
"""Stands for any size with more digits than anything we could take."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A string that came as `{n}` CRLF and n octets; `binary` is the `~` of RFC 3516."""

    octets: bytes
    binary: bool = False


Part = bytes | Literal


@dataclass(frozen=True, slots=True)
class Line:
    """One complete command: text and literals in turn, without the CRLF and announcements."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Announced:
    """A literal is coming; say `take`, `stream`, `skip` or `drop` before asking for more."""

    parts: tuple[Part, ...]
    size_octets: int
    synchronizing: bool
    binary: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets of a streamed literal; the last one has `is_last`."""

    octets: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Unframed:
    """The end of the command cannot be known any more: answer, then close (GEN-04)."""

    head: bytes
    reason: str


Event = Line | Announced | Chunk | Unframed


class _State(Enum):
    LINE = 1
    DECIDING = 2
    TAKING = 3
    STREAMING = 4
    SKIPPING = 5
    LOST = 6


class Framer:
    """Octets in by `feed`, events out by `next_event`: one command at a time.

    Pulling matters: what may follow depends on what the last command did (limits after LOGIN, raw
    lines during AUTHENTICATE and IDLE, nothing at all behind STARTTLS).
    """

    def __init__(self, line_octets: int) -> None:
        self._limit = line_octets
        self._buffer = bytearray()
        self._scanned = 0
        self._parts: list[Part] = []
        self._line_octets = 0
        self._announced: Announced | None = None
        self._remaining = 0
        self._state = _State.LINE

    @property
    def buffered(self) -> int:
        """Octets received and not yet given out."""
        return len(self._buffer)

    @property
    def lacks(self) -> int:
        """Octets without which no event can come, or no last one of a literal; 1 at least."""
        if self._state in (_State.LINE, _State.DECIDING, _State.LOST):
            return 1
        return max(self._remaining - len(self._buffer), 1)

    @property
    def between_commands(self) -> bool:
        """True when no command has begun."""
        return self._state is _State.LINE and not self._parts and not self._buffer

    @property
    def in_literal(self) -> bool:
        """True when octets of a literal are still to come, or to be decided about."""
        return self._state not in (_State.LINE, _State.LOST)

    def feed(self, octets: bytes) -> None:
        """Take octets as they came."""
        if self._state is not _State.LOST:
            self._buffer += octets

    def next_event(self) -> Event | None:
        """The next event, or None: feed more. After Unframed there is nothing any more."""
        match self._state:
            case _State.LINE:
                return self._next_line()
            case _State.TAKING:
                return self._next_taken()
            case _State.STREAMING | _State.SKIPPING:
                return self._next_chunk()
            case _State.DECIDING:
                raise RuntimeError("a literal waits for a decision")
            case _State.LOST:
                return None

    def next_raw_line(self) -> bytes | Unframed | None:
        """One line without its CRLF in which `{n}` means nothing (AUTHENTICATE, IDLE)."""
        return self._cut_line()

    # ------------------------------------------------------------ decisions about a literal

    def take(self) -> None:
        """Keep the literal in memory as part of the command."""
        self._begin(_State.TAKING)

    def stream(self) -> None:
        """Give the literal out as Chunk events; the command goes on with a fresh Line after it."""
        self._begin(_State.STREAMING)
        self._parts.clear()

    def skip(self) -> None:
        """As `stream`, with empty Chunks: the octets are counted and forgotten."""
        self._begin(_State.SKIPPING)
        self._parts.clear()

    def drop(self) -> None:
        """A refused synchronizing literal never comes; the next octets are a new command."""
        self._announced = None
        self._restart()

    def _begin(self, state: _State) -> None:
        if self._announced is None:
            raise RuntimeError("no literal was announced")
        self._remaining = self._announced.size_octets
        self._state = state

    def _restart(self) -> None:
        self._parts.clear()
        self._line_octets = 0
        self._state = _State.LINE

    # ------------------------------------------------------------ lines

    def _cut_line(self) -> bytes | Unframed | None:
        end = self._buffer.find(b"\n", self._scanned)
        room = self._limit - self._line_octets
        if end < 0 or end > room + 1:
            if len(self._buffer) > room + 1:
                return self._lose("Command line too long")
            self._scanned = len(self._buffer)
            return None
        if end == 0 or self._buffer[end - 1] != 0x0D:
            # A peer whose lines end otherwise would announce literals we count differently.
            return self._lose("Lines end with CRLF")
        line = bytes(self._buffer[: end - 1])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _lose(self, reason: str) -> Unframed:
        first = self._parts[0] if self._parts else bytes(self._buffer[:128]).partition(b"\n")[0]
        self._state = _State.LOST
        self._buffer.clear()
        self._parts.clear()
        return Unframed(first[:128] if isinstance(first, bytes) else b"", reason)

    def _next_line(self) -> Line | Announced | Unframed | None:
        line = self._cut_line()
        if line is None or isinstance(line, Unframed):
            return line
        self._line_octets += len(line)
        brace = line.rfind(b"{")
        found = _ANNOUNCEMENT.match(line, brace) if brace >= 0 else None
        if found is None:
            self._parts.append(line)
            whole = Line(tuple(self._parts))
            self._restart()
            return whole
        digits = found.group(1)
        binary = line[:brace].endswith(b"~")
        self._parts.append(line[: brace - binary])
        self._announced = Announced(
            tuple(self._parts),
            int(digits) if len(digits) <= _MAX_DIGITS else HUGE,
            synchronizing=not found.group(2),
            binary=binary,
        )
        self._state = _State.DECIDING
        return self._announced

    # ------------------------------------------------------------ literals

    def _next_taken(self) -> Event | None:
        if len(self._buffer) < self._remaining or self._announced is None:
            return None
        octets = self._first(self._remaining)
        del self._buffer[: self._remaining]
        self._parts.append(Literal(octets, self._announced.binary))
        self._announced = None
        self._state = _State.LINE
        return self._next_line()

    def _next_chunk(self) -> Chunk | None:
        if self._remaining and not self._buffer:
            return None
        count = min(self._remaining, len(self._buffer))
        octets = self._first(count) if self._state is _State.STREAMING else b""
        del self._buffer[:count]
        self._remaining -= count
        if not self._remaining:
            self._announced = None
            self._line_octets = 0
            self._state = _State.LINE
        return Chunk(octets, is_last=not self._remaining)

    def _first(self, count: int) -> bytes:
        """Copied once; a slice of the buffer would be a copy of its own."""
        with memoryview(self._buffer) as view:
            return bytes(view[:count])
