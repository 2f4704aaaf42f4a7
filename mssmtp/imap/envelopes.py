"""Reading back an ENVELOPE that a summary holds (RFC 3501 7.4.2), for SORT and THREAD.

What it says is what a client is shown, so that the order it sees is the order of what it sees. The
common envelope, without literals, is read by one look of a pattern, and only as far as is needed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = rb'(?:NIL|"[^"\\]*+(?:\\.[^"\\]*+)*+")'
_MAILBOX = rb"\(%b %b %b %b\)" % (_TEXT, _TEXT, _TEXT, _TEXT)
_PEOPLE = rb"(?:NIL|\((?:%b)*+\))" % _MAILBOX
_FIRST = rb"(?:NIL|\(\((%b) %b (%b) (%b)\)(?:%b)*+\))" % (_TEXT, _TEXT, _TEXT, _TEXT, _MAILBOX)
_HEAD = rb"\((%b) (%b)" % (_TEXT, _TEXT)
_TOKEN = re.compile(rb' *(?:(\()|(\))|NIL|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|\{(\d+)\}\r\n)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_DEEPEST = 3

DATE, SUBJECT, FROM, TO, CC, IN_REPLY_TO, MESSAGE_ID = 0, 1, 2, 5, 6, 8, 9
"""Where each stands in the list."""


def _behind(skipped: int) -> bytes:
    """A pattern of an envelope up to the first of a list of people, some lists skipped."""
    return _HEAD + rb" " + (_PEOPLE + rb" ") * skipped + _FIRST


_SHORT = re.compile(_HEAD, re.DOTALL)
_FIRSTS = {place: re.compile(_behind(place - FROM), re.DOTALL) for place in (FROM, TO, CC)}
_LONG = re.compile(
    _HEAD + rb" " + (_PEOPLE + rb" ") * 6 + rb"(%b) (%b)\)" % (_TEXT, _TEXT), re.DOTALL
)


class Person(NamedTuple):
    """The first address of a list, as far as it says something; of a group its name is `mailbox`,
    and `host` is None."""

    name: bytes | None
    mailbox: bytes | None
    host: bytes | None


NOBODY = Person(None, None, None)


class Ids(NamedTuple):
    """What THREAD needs beside the References."""

    date: bytes | None
    subject: bytes | None
    in_reply_to: bytes | None
    message_id: bytes | None


def head(envelope: bytes) -> tuple[bytes | None, bytes | None]:
    """Date and subject, undecoded."""
    found = _SHORT.match(envelope)
    if found is None:
        whole = _whole(envelope)
        return _text(whole, DATE), _text(whole, SUBJECT)
    return _plain(found[1]), _plain(found[2])


def ids(envelope: bytes) -> Ids:
    """Date, subject and the fields with message ids."""
    found = _LONG.match(envelope)
    if found is None:
        whole = _whole(envelope)
        return Ids(*(_text(whole, place) for place in (DATE, SUBJECT, IN_REPLY_TO, MESSAGE_ID)))
    return Ids(*map(_plain, found.groups()))


def first_of(envelope: bytes, place: int) -> Person:
    """The first address of a list of people."""
    found = _FIRSTS[place].match(envelope)
    if found is not None:
        return Person(*map(_plain, found.groups()[2:]))
    whole = _whole(envelope)
    people = whole[place] if place < len(whole) else None
    first = people[0] if isinstance(people, list) and people else None
    if not isinstance(first, list):
        return NOBODY
    return Person(_text(first, 0), _text(first, 2), _text(first, 3))


def _plain(token: bytes | None) -> bytes | None:
    """The octets of a quoted string; None for NIL, and for what is not there."""
    if token is None or token == b"NIL":
        return None
    inner = token[1:-1]
    return _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner


Value = bytes | None | list["Value"]


def _text(values: list[Value], place: int) -> bytes | None:
    value = values[place] if place < len(values) else None
    return value if isinstance(value, bytes) else None


def _whole(envelope: bytes) -> list[Value]:
    """Every value, literals too; what stands behind something that is not understood is lost."""
    top: list[Value] = []
    open_lists = [top]
    at = 0
    while token := _TOKEN.match(envelope, at):
        at = token.end()
        opened, closed, quoted, length = token.groups()
        if opened:
            inner: list[Value] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif closed:
            open_lists.pop()
        elif quoted is not None:
            open_lists[-1].append(_ESCAPED.sub(rb"\1", quoted))
        elif length:
            open_lists[-1].append(envelope[at : at + int(length)])
            at += int(length)
        else:
            open_lists[-1].append(None)
        if not 1 < len(open_lists) <= _DEEPEST + 1:
            break
    first = top[0] if top else None
    return first if isinstance(first, list) else []
