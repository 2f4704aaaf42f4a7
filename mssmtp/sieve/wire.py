"""ManageSieve on the wire (RFC 5804 4): octets to commands, answers to octets. Nothing waits here.

A literal is refused by its announced size, before any of it is kept (ATT-03).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mssmtp.sieve.script import MAX_OCTETS

LINE_OCTETS = 16_384
"""Of one command outside its literals; a SASL response of 12,288 octets fits."""
STRANGER_OCTETS = 12_288
"""A literal before login: only a SASL response can be one."""
SKIPPED_OCTETS = 4 * 1_048_576
"""A literal too large to be taken is skipped up to here; beyond, the connection ends."""
MAX_WORDS = 8
QUOTED_OCTETS = 1_024
"""RFC 5804 4: longer strings are literals."""

_ATOM = re.compile(rb"[!#$&'*+,./0-9:;<=>?@A-Z\[\]^_`a-z|~-]++")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_ESCAPED = re.compile(rb"\\([\"\\])")
_LITERAL = re.compile(rb"\{(\d{1,10})\+\}\r\n")


class BadCommand(Exception):
    """Not in the grammar; the line was taken, and the next one can be right."""


class TooLarge(Exception):
    """A string above the limit; it was skipped (RFC 5804 1.3: QUOTA/MAXSIZE)."""


class Broken(Exception):
    """Nothing behind it could be understood: the connection ends."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A word or number without quotes."""

    text: str


Word = Atom | bytes
"""Bytes are a string, quoted or literal."""


class Framer:
    """Octets in any pieces; whole commands out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = 0
        self._skip = 0
        self._literal_octets = STRANGER_OCTETS
        self._is_too_large = False

    @property
    def buffered(self) -> int:
        """Octets that wait."""
        return len(self._buffer)

    def trust(self) -> None:
        """Whoever is there has logged in: scripts may come."""
        self._literal_octets = MAX_OCTETS

    def feed(self, octets: bytes) -> None:
        """Take what came."""
        if self._skip:
            gone = min(self._skip, len(octets))
            self._skip -= gone
            octets = octets[gone:]
        self._buffer += octets

    def next(self) -> list[Word] | None:
        """The words of the next command, None while it is not whole. An empty line is no words.

        Raises BadCommand, TooLarge, Broken.
        """
        if self._skip or len(self._buffer) < self._wanted:
            return None
        words: list[Word] = []
        position = 0
        while True:
            end = self._buffer.find(b"\n", position)
            if end < 0:
                self._wait_for_line(position)
                return None
            # An octet of a literal is no part of the line behind it.
            if end == position or self._buffer[end - 1 : end] != b"\r":
                raise self._cut(end + 1, BadCommand("a line ends with CRLF"))
            literal = self._literal_at(position, end)
            line = bytes(self._buffer[position : end - 1 if literal is None else literal[0]])
            try:
                words += _words(line)
                if len(words) > MAX_WORDS:
                    raise BadCommand("too many words")
            except BadCommand as bad:
                raise (self._cut(end + 1, bad) if literal is None else Broken(str(bad))) from bad
            if literal is None:
                return self._whole(end + 1, words)
            _, start, size = literal
            if size > self._literal_octets:
                self._skip_literal(start, size)
                return None
            if len(self._buffer) < start + size:
                self._wanted = start + size
                return None
            words.append(bytes(self._buffer[start : start + size]))
            position = start + size

    def _literal_at(self, position: int, end: int) -> tuple[int, int, int] | None:
        """Where a literal is announced at the end of this line, where it starts, its size."""
        brace = self._buffer.rfind(b"{", position, end)
        if brace < 0:
            return None
        found = _LITERAL.fullmatch(self._buffer, brace, end + 1)
        # Inside a quoted string a brace means nothing: there a quote follows it.
        return None if found is None else (brace, end + 1, int(found[1]))

    def _skip_literal(self, start: int, size: int) -> None:
        """Never kept: what is announced is let go as it comes, up to the end of its line."""
        if self._literal_octets < MAX_OCTETS or size > SKIPPED_OCTETS:
            raise Broken("a literal above the limit")
        self._is_too_large = True
        here = min(len(self._buffer) - start, size)
        self._skip = size - here
        del self._buffer[: start + here]
        self._wanted = 0

    def _wait_for_line(self, position: int) -> None:
        if len(self._buffer) - position > LINE_OCTETS:
            raise Broken("a line above the limit")
        self._wanted = 0

    def _whole(self, end: int, words: list[Word]) -> list[Word]:
        del self._buffer[:end]
        self._wanted = 0
        if self._is_too_large:
            self._is_too_large = False
            raise TooLarge
        return words

    def _cut(self, end: int, error: BadCommand) -> Exception:
        del self._buffer[:end]
        self._wanted = 0
        self._is_too_large = False
        return error


def _words(line: bytes) -> list[Word]:
    """Words of one line, single spaces between them."""
    found: list[Word] = []
    if len(line) > LINE_OCTETS:
        raise Broken("a line above the limit")
    position = 1 if line.startswith(b" ") else 0
    while position < len(line):
        if quoted := _QUOTED.match(line, position):
            found.append(_ESCAPED.sub(rb"\1", quoted[1]))
            position = quoted.end()
        elif atom := _ATOM.match(line, position):
            found.append(Atom(atom[0].decode("ascii")))
            position = atom.end()
        else:
            raise BadCommand("not a word")
        if position < len(line):
            if line[position : position + 1] != b" ":
                raise BadCommand("no space between words")
            position += 1
    return found


# ---------------------------------------------------------------- answers


def string(octets: bytes) -> bytes:
    """Quoted if it can be, else a literal."""
    if len(octets) > QUOTED_OCTETS or any(each in octets for each in (b"\r", b"\n", b"\0")):
        return b"{%d}\r\n" % len(octets) + octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def answer(kind: str, text: str = "", code: str = "", argument: bytes | None = None) -> bytes:
    """`OK`, `NO` or `BYE` with its code and a sentence."""
    line = kind.encode()
    if code:
        line += b" (" + code.encode()
        line += b")" if argument is None else b" " + string(argument) + b")"
    return line + (b" " + string(text.encode()) if text else b"") + b"\r\n"


def capabilities(values: Mapping[str, str | None]) -> bytes:
    """One a line; None: it has no value (RFC 5804 1.7)."""
    lines = []
    for name, value in values.items():
        line = string(name.encode())
        lines.append(line if value is None else line + b" " + string(value.encode()))
    return b"".join(line + b"\r\n" for line in lines)
