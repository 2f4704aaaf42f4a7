"""The grammar of commands (RFC 3501 9): a cursor over one framed command."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import TypeVar

from mssmtp.errors import BadSyntax
from mssmtp.imap import dates, names
from mssmtp.imap.framer import Literal, Part
from mssmtp.imap.numbers import NumberSet
from mssmtp.mail import ModSeq

T = TypeVar("T")

MAX_DEPTH = 50
"""Nested parentheses (ATT-04)."""
MAX_LIST = 1_000
"""Members of one parenthesised list."""

_TAG = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\+]{1,64}')
_ATOM = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\\]]+')
_ASTRING = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\]+')
_PATTERN = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff"\\]+')
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_NUMBER = re.compile(rb"[0-9]{1,10}")
_NUMBER64 = re.compile(rb"[0-9]{1,19}")
_SET = re.compile(rb"[0-9*:,]+|\$(?=[ )]|\Z)")
_FLAG = re.compile(rb'\\?[^(){ \x00-\x1f\x7f-\xff%*"\\\]]+')
_DATE = re.compile(rb'"?(\d{1,2}-[A-Za-z]{3}-\d{4})"?')
_INITIAL = re.compile(rb"[A-Za-z0-9+/=]+")
_FROM_START = re.compile(rb"([1-9][0-9]{0,9}):([1-9][0-9]{0,9})")
_FROM_END = re.compile(rb"(-[1-9][0-9]{0,9}):(-[1-9][0-9]{0,9})")
_WORD = re.compile(rb"[A-Za-z0-9.=\-]+")

SYSTEM_FLAGS = {
    flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
}
MAX_KEYWORD = 64


class Cursor:
    """Reads a command from left to right; every method raises BadSyntax and nothing else."""

    def __init__(self, parts: tuple[Part, ...], *, utf8: bool = False) -> None:
        """`utf8`: mailbox names are spelt in UTF-8, not in modified UTF-7."""
        self._parts = parts
        self._utf8 = utf8
        self._index = 0
        self._at = 0
        self._depth = 0
        self.given = b""
        """The last mailbox name as it was spelt, when that is not the form names are kept in."""

    # ------------------------------------------------------------ primitives

    def _here(self) -> bytes:
        part = self._parts[self._index] if self._index < len(self._parts) else b""
        return part if isinstance(part, bytes) else b""

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        found = pattern.match(self._here(), self._at)
        if found is None:
            raise BadSyntax(f"{what} expected")
        self._at = found.end()
        return found

    def _next_literal(self) -> Literal | None:
        if self._at < len(self._here()) or self._index + 1 >= len(self._parts):
            return None
        part = self._parts[self._index + 1]
        return part if isinstance(part, Literal) else None

    def _take_literal(self) -> bytes | None:
        literal = self._next_literal()
        if literal is None:
            return None
        self._index += 2
        self._at = 0
        return literal.octets

    def sees(self, text: bytes) -> bool:
        """True when `text` (any case) comes next; nothing is taken."""
        return self._here()[self._at : self._at + len(text)].upper() == text.upper()

    def takes(self, text: bytes) -> bool:
        """Take `text` (any case) if it comes next."""
        if not self.sees(text):
            return False
        self._at += len(text)
        return True

    def expect(self, text: bytes) -> None:
        """Take `text` or raise."""
        if not self.takes(text):
            raise BadSyntax(f"{text.decode('ascii')} expected")

    def space(self) -> None:
        """Exactly one SP."""
        self.expect(b" ")

    def at_end(self) -> bool:
        """True when nothing is left."""
        return self._at >= len(self._here()) and self._index + 1 >= len(self._parts)

    def end(self) -> None:
        """Nothing may follow; trailing spaces are forgiven (APL-05)."""
        while self.takes(b" "):
            pass
        if not self.at_end():
            raise BadSyntax("unexpected arguments")

    # ------------------------------------------------------------ words and strings

    def tag(self) -> bytes:
        """1*<any ASTRING-CHAR except "+">, at most 64."""
        return self._match(_TAG, "tag").group()

    def word(self) -> str:
        """A verb, key or option, in capitals."""
        return self._match(_WORD, "word").group().decode("ascii").upper()

    def initial_response(self) -> bytes:
        """`base64 / "="` (RFC 4959); its content is the mechanism's matter."""
        return self._match(_INITIAL, "base64").group()

    def is_trailing_space(self) -> bool:
        """True when only spaces are left: forgiven behind any command (APL-05)."""
        return self._index + 1 >= len(self._parts) and not self._here()[self._at :].strip(b" ")

    def atom(self) -> bytes:
        """`atom`."""
        return self._match(_ATOM, "atom").group()

    def string(self) -> bytes:
        """`string`: quoted or literal. 8-bit in quotes passes: clients send it (GEN-15)."""
        literal = self._take_literal()
        if literal is not None:
            return literal
        text = self._match(_QUOTED, "string").group(1)
        if self._utf8 and not text.isascii() and not names.normal_utf8(text):
            raise BadSyntax("not UTF-8")  # RFC 6855 3
        return _ESCAPE.sub(rb"\1", text)

    def _is_string(self) -> bool:
        return self.sees(b'"') or self._next_literal() is not None

    def astring(self) -> bytes:
        """`astring`."""
        return self.string() if self._is_string() else self._match(_ASTRING, "string").group()

    def nstring(self) -> bytes | None:
        """`nstring`."""
        if self._is_string():
            return self.string()
        self.expect(b"NIL")
        return None

    def number(self) -> int:
        """`number`, below 2**32."""
        number = int(self._match(_NUMBER, "number").group())
        if number >= 1 << 32:
            raise BadSyntax("number too large")
        return number

    def number64(self) -> int:
        """`number64`, below 2**63 (RFC 9051 9): sizes, and places in a message."""
        number = int(self._match(_NUMBER64, "number").group())
        if number >= 1 << 63:
            raise BadSyntax("number too large")
        return number

    def modseq(self) -> ModSeq:
        """`mod-sequence-valzer`: 63 bits (RFC 7162 7)."""
        return ModSeq(self.number64())

    def number_set(self) -> NumberSet:
        """`sequence-set`."""
        return NumberSet.parse(self._match(_SET, "set of numbers").group())

    def sees_number_set(self) -> bool:
        """True when a `sequence-set` comes next."""
        return _SET.match(self._here(), self._at) is not None

    def partial_range(self) -> tuple[int, int, bytes]:
        """`partial-range` (RFC 9394 4): both ends from the first result, or both, negative, from
        the last; and how it is written."""
        pattern = _FROM_END if self.sees(b"-") else _FROM_START
        found = self._match(pattern, "range of results")
        first, last = map(int, found.groups())
        if max(abs(first), abs(last)) >= 1 << 32:
            raise BadSyntax("number too large")
        return first, last, found.group()

    # ------------------------------------------------------------ mail's own words

    def mailbox(self) -> str:
        """`mailbox` as a Unicode name. Raises names.BadName too: no such name can exist."""
        octets = self.astring()
        if not self._utf8:
            return names.decode(octets)
        name = names.decode_utf8(octets)
        self.given = b"" if names.encode_utf8(name) == octets else octets
        return name

    def pattern(self) -> bytes:
        """`list-mailbox`, undecoded."""
        return self.string() if self._is_string() else self._match(_PATTERN, "pattern").group()

    def flag(self) -> str | None:
        """`flag`: a system flag in its own spelling, or a keyword as given.

        None for one nobody can set (`\\Recent`, an unknown `\\Name`): Outlook takes every flag for
        permanent, so these are passed over, not refused (OLC-01).
        """
        text = self._match(_FLAG, "flag").group().decode("ascii")
        if text.startswith("\\"):
            return SYSTEM_FLAGS.get(text.lower())
        if len(text) > MAX_KEYWORD:
            raise BadSyntax("keyword too long")
        return text

    def use(self) -> str:
        """`use-attr` (RFC 6154 6), as given."""
        self.expect(b"\\")
        return "\\" + self.atom().decode("ascii")

    def flags(self) -> frozenset[str]:
        """`flag-list`."""
        return frozenset(filter(None, self.listed(self.flag, may_be_empty=True)))

    def date(self) -> date:
        """`date`."""
        return dates.parse_date(self._match(_DATE, "date").group(1).decode("ascii"))

    def date_time(self) -> datetime:
        """`date-time`."""
        text = self._match(_QUOTED, "date-time").group(1)
        return dates.parse_date_time(text.decode("latin-1"))

    def listed(self, member: Callable[[], T], *, may_be_empty: bool = False) -> list[T]:
        """`"(" member *(SP member) ")"`, bounded in length and depth (ATT-04)."""
        self.expect(b"(")
        if may_be_empty and self.takes(b")"):
            return []
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadSyntax("nested too deeply")
        out = [member()]
        while not self.takes(b")"):
            self.space()
            out.append(member())
            if len(out) > MAX_LIST:
                raise BadSyntax("list too long")
        self._depth -= 1
        return out
