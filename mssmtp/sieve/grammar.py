"""Sieve tokens to a tree of calls (RFC 5228 8.2): what is written, not yet what it means."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.sieve.faults import BadScript
from mssmtp.sieve.lexer import Kind, Token, tokens

MAX_DEPTH = 32
"""Of blocks and tests together; RFC 5228 2.10.5 asks for 15 of each at least."""
MAX_CALLS = 4_096
MAX_LIST = 1_024


@dataclass(frozen=True, slots=True)
class Tag:
    """`:contains`; `name` in lower case."""

    name: str


@dataclass(frozen=True, slots=True)
class Strings:
    """One string or a list of strings; `is_list` when it was written in brackets."""

    values: tuple[str, ...]
    is_list: bool


Argument = Tag | Strings | int


@dataclass(frozen=True, slots=True)
class Call:
    """A command or a test. `block` is None where the command ends with a semicolon."""

    name: str
    line: int
    arguments: tuple[Argument, ...]
    tests: tuple[Call, ...] = ()
    block: tuple[Call, ...] | None = None


def parse(octets: bytes) -> tuple[Call, ...]:
    """The commands of a script. Raises BadScript."""
    parser = _Parser(octets)
    found = parser.commands(0)
    parser.expect_end()
    return found


class _Parser:
    def __init__(self, octets: bytes) -> None:
        self._tokens = tokens(octets)
        self._token = next(self._tokens)
        self._calls = 0

    def _next(self) -> Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _is(self, mark: str) -> bool:
        return self._token.kind is Kind.MARK and self._token.text == mark

    def _take(self, mark: str) -> bool:
        if self._is(mark):
            self._next()
            return True
        return False

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise BadScript(self._token.line, f"« {mark} » attendu avant {_shown(self._token)}")

    def expect_end(self) -> None:
        """Raises BadScript."""
        if self._token.kind is not Kind.END:
            raise BadScript(self._token.line, f"inattendu : {_shown(self._token)}")

    def commands(self, depth: int) -> tuple[Call, ...]:
        """Up to a closing brace or the end."""
        found = []
        while self._token.kind is Kind.WORD:
            found.append(self._command(depth))
        return tuple(found)

    def _count(self, depth: int) -> Token:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise BadScript(self._token.line, f"plus de {MAX_CALLS} commandes et tests")
        if depth > MAX_DEPTH:
            raise BadScript(self._token.line, f"plus de {MAX_DEPTH} niveaux imbriqués")
        if self._token.kind is not Kind.WORD:
            raise BadScript(self._token.line, f"un nom est attendu avant {_shown(self._token)}")
        return self._next()

    def _command(self, depth: int) -> Call:
        name = self._count(depth)
        arguments, tests = self._arguments(depth)
        if self._take(";"):
            return Call(name.text, name.line, arguments, tests)
        if not self._take("{"):
            raise BadScript(self._token.line, f"« ; » attendu avant {_shown(self._token)}")
        block = self.commands(depth + 1)
        self._need("}")
        return Call(name.text, name.line, arguments, tests, block)

    def _test(self, depth: int) -> Call:
        name = self._count(depth)
        arguments, tests = self._arguments(depth)
        return Call(name.text, name.line, arguments, tests)

    def _arguments(self, depth: int) -> tuple[tuple[Argument, ...], tuple[Call, ...]]:
        found: list[Argument] = []
        while (argument := self._argument()) is not None:
            found.append(argument)
        if self._token.kind is Kind.WORD:
            return tuple(found), (self._test(depth + 1),)
        if not self._take("("):
            return tuple(found), ()
        tests = [self._test(depth + 1)]
        while self._take(","):
            tests.append(self._test(depth + 1))
        self._need(")")
        return tuple(found), tuple(tests)

    def _argument(self) -> Argument | None:
        kind = self._token.kind
        if kind is Kind.TAG:
            return Tag(self._next().text)
        if kind is Kind.NUMBER:
            return self._next().number
        if kind is Kind.STRING:
            return Strings((self._next().text,), is_list=False)
        return self._list() if self._is("[") else None

    def _list(self) -> Strings:
        self._need("[")
        found: list[str] = []
        while True:
            if self._token.kind is not Kind.STRING:
                raise BadScript(self._token.line, "une liste ne contient que des textes")
            found.append(self._next().text)
            if len(found) > MAX_LIST:
                raise BadScript(self._token.line, f"liste de plus de {MAX_LIST} textes")
            if not self._take(","):
                break
        self._need("]")
        return Strings(tuple(found), is_list=True)


def _shown(token: Token) -> str:
    if token.kind is Kind.END:
        return "la fin du script"
    if token.kind is Kind.STRING:
        return "un texte"
    return f"« :{token.text} »" if token.kind is Kind.TAG else f"« {token.text} »"
