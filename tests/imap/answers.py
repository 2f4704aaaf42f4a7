"""Reads what a server says as strictly as the grammar is written (RFC 9051 9, RFC 3501 9).

No answer of ours may make a careful client stumble: lists are closed, strings quoted or counted,
one space between values, printable ASCII outside of literals, a text behind every condition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONDITIONS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")
_LITERAL = re.compile(rb"~?\{(\d+)\}\r\n")
_QUOTED = re.compile(rb'"(?:[^"\\\r\n\0]|\\["\\])*"')
# A section goes with the name in front of it: BODY[HEADER.FIELDS (Subject)]<0>.
_ATOM = re.compile(
    rb'[^\x00-\x20\x7f(){"\[\]]+\[(?:[^\x00-\x1f\x7f"\]]|"[^"\r\n]*")*\](?:<\d+>)?'
    rb'|[^\x00-\x20\x7f(){"\]]+'
)
_CODE = re.compile(rb"\[([A-Z][A-Z0-9-]*)(?: ([^\]\r\n]+))?\] ")
_TEXT = re.compile(rb"[^\0\r\n]+")

Value = bytes | list["Value"]


class Malformed(AssertionError):
    """An answer that is not in the grammar."""


class _CutShort(Exception):
    """The connection ended here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. `tag` is `*`, `+` or the client's; `values` what follows, text left out."""

    tag: bytes
    values: tuple[Value, ...]
    code: bytes = b""
    code_arguments: bytes = b""

    @property
    def kind(self) -> bytes:
        """OK, EXISTS, FETCH, LIST …"""
        words = [value for value in self.values if isinstance(value, bytes)]
        if words and words[0].isdigit() and len(words) > 1:
            return words[1].upper()
        return words[0].upper() if words else b""


class Reader:
    """Answers out of octets. `utf8`: strings may hold UTF-8 (RFC 6855). `cut`: the connection was
    broken off, which may only happen inside a literal (GEN-04), or in the place of one."""

    def __init__(self, octets: bytes, *, utf8: bool = False, cut: bool = False) -> None:
        self._octets = octets
        self._at = 0
        self._utf8 = utf8
        self._cut = cut

    def all(self) -> list[Answer]:
        """Every answer; Malformed when one is not, or is cut short."""
        out = []
        while self._at < len(self._octets):
            try:
                out.append(self._answer())
            except _CutShort:
                break
        return out

    def _fail(self, expected: str) -> Malformed:
        around = self._octets[max(0, self._at - 60) : self._at + 60]
        return Malformed(f"{expected} expected at {around!r}")

    def _match(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        found = pattern.match(self._octets, self._at)
        if found is None:
            raise self._fail(expected)
        self._at = found.end()
        return found

    def _takes(self, octets: bytes) -> bool:
        if not self._octets.startswith(octets, self._at):
            return False
        self._at += len(octets)
        return True

    def _end(self) -> None:
        if not self._takes(b"\r\n"):
            raise self._fail("CRLF")

    def _answer(self) -> Answer:
        if self._takes(b"+ "):
            text = re.compile(rb"[^\0\r\n]*").match(self._octets, self._at)
            self._at = text.end() if text else self._at
            self._end()
            return Answer(b"+", ())
        tag = self._match(re.compile(rb'[^\x00-\x20\x7f(){%"\\+]+ '), "tag")[0][:-1]
        word = self._match(re.compile(rb"[A-Za-z0-9-]+"), "word")[0]
        if word in _CONDITIONS:
            return self._condition(tag, word)
        if tag != b"*":
            raise self._fail("condition")
        values: list[Value] = [word]
        while not self._takes(b"\r\n"):
            # Threads stand side by side (RFC 5256 5, thread-data).
            beside = word == b"THREAD" and len(values) > 1
            if not beside and not self._takes(b" "):
                raise self._fail("space")
            values.append(self._value())
        answer = Answer(tag, tuple(values))
        if answer.kind == b"FETCH":
            self._check_items(answer)
        return answer

    def _condition(self, tag: bytes, word: bytes) -> Answer:
        if not self._takes(b" "):
            raise self._fail("space")
        code = arguments = b""
        if self._octets.startswith(b"[", self._at):
            found = self._match(_CODE, "response code")
            code, arguments = found[1], found[2] or b""
        text = self._match(_TEXT, "text")[0]
        self._check_ascii(text)
        self._end()
        return Answer(tag, (word,), code, arguments)

    def _check_ascii(self, octets: bytes) -> None:
        if octets.isascii():
            return
        if not self._utf8:
            raise self._fail(f"ASCII instead of {octets!r}")
        octets.decode("utf-8")

    def _value(self, depth: int = 0) -> Value:
        if depth > 200:
            raise self._fail("less nesting")
        if self._cut and self._at == len(self._octets):
            raise _CutShort
        if self._takes(b"("):
            return self._members(depth)
        if self._octets.startswith(b'"', self._at):
            quoted = self._match(_QUOTED, "quoted string")[0]
            self._check_ascii(quoted)
            return re.sub(rb"\\(.)", rb"\1", quoted[1:-1])
        if self._octets.startswith((b"{", b"~{"), self._at):
            size = int(self._match(_LITERAL, "literal")[1])
            octets = self._octets[self._at : self._at + size]
            self._at += size
            if len(octets) != size:
                raise _CutShort() if self._cut else self._fail("the whole literal")
            return octets
        atom = self._match(_ATOM, "value")[0]
        self._check_ascii(atom)
        return atom

    def _members(self, depth: int) -> list[Value]:
        members: list[Value] = []
        while not self._takes(b")"):
            between_lists = bool(members) and self._octets[self._at - 1 : self._at + 1] == b")("
            if members and not between_lists and not self._takes(b" "):
                raise self._fail("space")
            members.append(self._value(depth + 1))
        return members

    def _check_items(self, answer: Answer) -> None:
        items = answer.values[2] if len(answer.values) == 3 else None
        if not isinstance(items, list) or not items or len(items) % 2:
            raise self._fail("pairs of items and values")
        if any(isinstance(name, list) for name in items[::2]):
            raise self._fail("names of items")


def read(octets: bytes, *, utf8: bool = False, cut: bool = False) -> list[Answer]:
    """Every answer in `octets`. Raises Malformed."""
    return Reader(octets, utf8=utf8, cut=cut).all()
