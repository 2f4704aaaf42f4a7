"""Comparators and match types (RFC 5228 2.7, RFC 5231, RFC 5229 3.2), without backtracking."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from mssmtp.sieve.budget import Budget
from mssmtp.sieve.script import Match

MAX_WILDCARDS = 9
"""RFC 5229 3.2: what `:matches` remembers, `${1}` to `${9}`."""

_RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}
_DIGITS = "0123456789"
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Found(NamedTuple):
    """Whether a key matched, and what the wildcards of it stood for (`${0}` first)."""

    matched: bool
    wildcards: tuple[str, ...] | None = None


def find(match: Match, values: Sequence[str], keys: Sequence[str], budget: Budget) -> Found:
    """Does any value match any key? Raises ScriptFailed."""
    if match.type == "count":
        counted = str(len(values))
        return Found(any(_related(match, counted, key) for key in keys))
    for value in values:
        for key in keys:
            budget.characters(len(value) + len(key))
            if match.type == "matches":
                wildcards = _matched(match, value, key, budget)
                if wildcards is not None:
                    return Found(True, (value, *wildcards))
            elif _compared(match, value, key):
                return Found(True)
    return Found(False)


def _compared(match: Match, value: str, key: str) -> bool:
    if match.type == "value":
        return _related(match, value, key)
    if match.comparator == "i;ascii-numeric":
        return _number(value) == _number(key)
    value, key = _folded(match, value), _folded(match, key)
    return key in value if match.type == "contains" else value == key


def _folded(match: Match, text: str) -> str:
    return text if match.comparator == "i;octet" else text.translate(_LOWER)


def _related(match: Match, value: str, key: str) -> bool:
    """RFC 5231 4: `value` stands to `key` as the relation says, by the order of the comparator."""
    if match.comparator == "i;ascii-numeric":
        left, right = _number(value), _number(key)
        order = (left > right) - (left < right)
    else:
        one, other = _folded(match, value).encode(), _folded(match, key).encode()
        order = (one > other) - (one < other)
    return _RELATIONS[match.relation](order, 0)


def _number(text: str) -> float:
    """RFC 4790 9.1: the digits it begins with; infinity, equal to itself, without any."""
    digits = text[: len(text) - len(text.lstrip(_DIGITS))]
    return int(digits[:300]) if digits else float("inf")


# ---------------------------------------------------------------- wildcards


class _Glob(NamedTuple):
    """A pattern between its stars. A piece is a list of characters, None for `?`.

    `is_star`: for each wildcard in order, whether it is a star.
    """

    pieces: tuple[tuple[str | None, ...], ...]


@lru_cache(maxsize=256)
def _glob(pattern: str) -> _Glob:
    """RFC 5228 2.7.1: `*`, `?`, and a backslash before what is meant literally."""
    pieces: list[tuple[str | None, ...]] = []
    piece: list[str | None] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\" and position + 1 < len(pattern):
            position += 1
            piece.append(pattern[position])
        elif character == "*":
            pieces.append(tuple(piece))
            piece = []
        else:
            piece.append(None if character == "?" else character)
        position += 1
    pieces.append(tuple(piece))
    return _Glob(tuple(pieces))


def _matched(match: Match, value: str, pattern: str, budget: Budget) -> tuple[str, ...] | None:
    """What each wildcard stands for, as little as possible each (RFC 5229 3.2); None: no match.

    Each piece between two stars is put at the first place where it fits. If that leads nowhere no
    other place does: what follows only needs more room. So nothing is ever tried twice.
    """
    pieces = _glob(_folded(match, pattern)).pieces
    text = _folded(match, value)
    first, rest = pieces[0], pieces[1:]
    if len(text) < sum(map(len, pieces)) or not _fits(first, text, 0):
        return None
    found = _singles(first, value, 0)
    if not rest:
        return tuple(found[:MAX_WILDCARDS]) if len(text) == len(first) else None
    position = len(first)
    for piece in rest[:-1]:
        start = _place(piece, text, position, budget)
        if start < 0:
            return None
        found += [value[position:start], *_singles(piece, value, start)]
        position = start + len(piece)
    start = len(text) - len(rest[-1])
    if start < position or not _fits(rest[-1], text, start):
        return None
    found += [value[position:start], *_singles(rest[-1], value, start)]
    return tuple(found[:MAX_WILDCARDS])


def _place(piece: tuple[str | None, ...], text: str, position: int, budget: Budget) -> int:
    """The first place from `position` on where `piece` fits, -1 without one."""
    budget.characters(4 * (len(text) - position) * (1 + piece.count(None)))
    found = _expression(piece).search(text, position)
    return -1 if found is None else found.start()


@lru_cache(maxsize=256)
def _expression(piece: tuple[str | None, ...]) -> re.Pattern[str]:
    """Literal characters and dots: nothing repeats, so that nothing can backtrack (ATT-27)."""
    written = "".join("." if each is None else re.escape(each) for each in piece)
    return re.compile(written, re.DOTALL)


def _fits(piece: tuple[str | None, ...], text: str, position: int) -> bool:
    for wanted, character in zip(piece, text[position : position + len(piece)], strict=False):
        if wanted is not None and wanted != character:
            return False
    return True


def _singles(piece: tuple[str | None, ...], value: str, start: int) -> list[str]:
    """What the question marks of a piece put at `start` stand for."""
    return [value[start + at] for at, wanted in enumerate(piece) if wanted is None]
