"""Sieve octets to tokens (RFC 5228 8.1), in time that grows with the octets alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from mssmtp.sieve.faults import BadScript

MAX_NUMBER = 2**31 - 1
"""RFC 5228 2.4.1: what must be understood at least; more is refused."""
MAX_STRING = 32_768
_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}

# Possessive classes: each octet is looked at once, nothing to backtrack into (ATT-27).
_SPACE = re.compile(r"[ \t\r\n]++")
_HASH = re.compile(r"#[^\n]*+(?:\n|\Z)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*+")
_NUMBER = re.compile(r"([0-9]++)([KMGkmg]?)(?![A-Za-z0-9_])")
_QUOTED = re.compile(r'"((?:[^"\\]|\\[\s\S])*+)"')
_ESCAPED = re.compile(r"\\([\s\S])")
_MULTI = re.compile(r"text:[ \t]*+(?:#[^\n]*+)?+\r?\n", re.IGNORECASE)
_PUNCTUATION = "{}()[],;"


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    TAG = auto()
    NUMBER = auto()
    STRING = auto()
    MARK = auto()
    """One of `{}()[],;`."""
    END = auto()


class Token(NamedTuple):
    """`text` is lower case of a word or tag, without the colon; the value of a string."""

    kind: Kind
    text: str
    number: int
    line: int


def tokens(octets: bytes) -> Iterator[Token]:
    """Every token, last an END. Raises BadScript."""
    try:
        script = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise BadScript(line, "le script n'est pas en UTF-8") from error
    return _Lexer(script).run()


class _Lexer:
    """`_line` is the line of `_at`, counted forward only."""

    def __init__(self, script: str) -> None:
        self._script = script
        self._at = 0
        self._line = 1
        if "\0" in script:
            raise BadScript(1, "octet nul dans le script")

    def run(self) -> Iterator[Token]:
        while True:
            self._skip()
            if self._at >= len(self._script):
                yield Token(Kind.END, "", 0, self._line)
                return
            yield self._token()

    def _to(self, end: int) -> None:
        self._line += self._script.count("\n", self._at, end)
        self._at = end

    def _skip(self) -> None:
        script = self._script
        while self._at < len(script):
            found = _SPACE.match(script, self._at) or _HASH.match(script, self._at)
            if found:
                self._to(found.end())
            elif script.startswith("/*", self._at):
                end = script.find("*/", self._at + 2)
                if end < 0:
                    raise BadScript(self._line, "commentaire /* sans */")
                self._to(end + 2)
            else:
                return

    def _token(self) -> Token:
        script, line = self._script, self._line
        first = script[self._at]
        if first in _PUNCTUATION:
            self._at += 1
            return Token(Kind.MARK, first, 0, line)
        if first == '"':
            return Token(Kind.STRING, self._quoted(), 0, line)
        if multi := _MULTI.match(script, self._at):
            return Token(Kind.STRING, self._multi_line(multi.end()), 0, line)
        if word := _WORD.match(script, self._at):
            self._at = word.end()
            return Token(Kind.WORD, word.group().lower(), 0, line)
        if first == ":" and (word := _WORD.match(script, self._at + 1)):
            self._at = word.end()
            return Token(Kind.TAG, word.group().lower(), 0, line)
        if first.isdigit():
            return self._number()
        raise BadScript(line, f"caractère inattendu : {first!r}")

    def _number(self) -> Token:
        found = _NUMBER.match(self._script, self._at)
        if found is None or len(found.group(1)) > 10:
            raise BadScript(self._line, "nombre illisible")
        value = int(found.group(1)) * _FACTORS[found.group(2).lower()]
        if value > MAX_NUMBER:
            raise BadScript(self._line, f"nombre trop grand (au plus {MAX_NUMBER})")
        self._at = found.end()
        return Token(Kind.NUMBER, found.group(), value, self._line)

    def _quoted(self) -> str:
        found = _QUOTED.match(self._script, self._at)
        if found is None:
            raise BadScript(self._line, "texte entre guillemets sans fin")
        self._to(found.end())
        return self._bounded(_ESCAPED.sub(r"\1", found.group(1)))

    def _multi_line(self, start: int) -> str:
        """RFC 5228 2.4.2: dot-stuffed lines up to a line with a dot alone."""
        lines: list[str] = []
        position, script = start, self._script
        while True:
            end = script.find("\n", position)
            line = script[position : end + 1] if end >= 0 else script[position:]
            bare = line.rstrip("\r\n")
            if bare == ".":
                break
            if end < 0:
                raise BadScript(self._line, "texte « text: » sans ligne « . » à la fin")
            lines.append((bare[1:] if bare.startswith(".") else bare) + "\r\n")
            position = end + 1
        self._to(position + len(line))
        return self._bounded("".join(lines))

    def _bounded(self, text: str) -> str:
        if len(text) > MAX_STRING:
            raise BadScript(self._line, f"texte trop long (au plus {MAX_STRING} caractères)")
        return text
