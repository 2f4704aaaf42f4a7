"""Reads FETCH responses with a small parser of its own: values as a client gets them."""

from __future__ import annotations

import re

Value = None | int | bytes | list["Value"]
"""NIL, number, string of any form, list; atoms are strings."""

_START = re.compile(rb"\* (\d+) FETCH ")
_LITERAL = re.compile(rb"~?\{(\d+)\}\r\n")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\["\\])*)"')
_ATOM = re.compile(rb"[^\s()\"{\[]+(?:\[[^\]]*\](?:<\d+>)?)?")


def responses(octets: bytes) -> dict[int, dict[bytes, Value]]:
    """By sequence number, the items of every `* n FETCH` among `octets`, each response whole."""
    found: dict[int, dict[bytes, Value]] = {}
    at = 0
    while start := _START.match(octets, at):
        items, at = _value(octets, start.end())
        assert isinstance(items, list)
        assert octets[at : at + 2] == b"\r\n"
        at += 2
        pairs = zip(items[::2], items[1::2], strict=True)
        values = found.setdefault(int(start[1]), {})
        values.update({name: value for name, value in pairs if isinstance(name, bytes)})
    rest = octets[at:]
    assert b" FETCH " not in rest, rest[:200]
    return found


def parsed(octets: bytes) -> Value:
    """One value, whole."""
    value, end = _value(octets, 0)
    assert end == len(octets)
    return value


def _value(octets: bytes, at: int) -> tuple[Value, int]:
    if octets[at : at + 1] == b"(":
        return _list(octets, at + 1)
    if literal := _LITERAL.match(octets, at):
        end = literal.end() + int(literal[1])
        assert end <= len(octets)
        return octets[literal.end() : end], end
    if quoted := _QUOTED.match(octets, at):
        assert quoted[1].isascii()
        return re.sub(rb"\\(.)", rb"\1", quoted[1]), quoted.end()
    atom = _ATOM.match(octets, at)
    assert atom, octets[at : at + 80]
    word = atom[0]
    if word == b"NIL":
        return None, atom.end()
    return (int(word) if word.isdigit() else word), atom.end()


def _list(octets: bytes, at: int) -> tuple[Value, int]:
    """Members with one SP between; the parts of a multipart stand without."""
    members: list[Value] = []
    while octets[at : at + 1] != b")":
        if octets[at : at + 1] == b" ":
            assert members
            at += 1
        member, at = _value(octets, at)
        members.append(member)
    return members, at + 1
