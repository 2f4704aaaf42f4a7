"""LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with SPECIAL-USE (RFC 6154) and CHILDREN (RFC 3348)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, names, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.mailboxes import Shown
from mssmtp.imap.names import DELIMITER
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal

if TYPE_CHECKING:
    from mssmtp.storage import Reading

MAX_PATTERN = 1_024
MAX_PATTERNS = 20
LONG_PATTERN = 64
_SLASH = DELIMITER.encode("ascii")


def matches(pattern: bytes, name: bytes) -> bool:
    """True when `name` is one of `pattern`: `*` is anything, `%` anything within one level.

    Time grows with the product of the two lengths, never faster (ATT-27).
    """
    alive = {0}
    for octet in pattern:
        if octet in b"*%":
            first = min(alive)
            stop = len(name)
            if octet == 0x2A:
                alive = set(range(first, stop + 1))
            else:
                alive = (
                    {i for start in alive for i in range(start, _level_end(name, start) + 1)}
                    if len(alive) < 3
                    else _spread(name, alive)
                )
        else:
            alive = {i + 1 for i in alive if i < len(name) and name[i] == octet}
        if not alive:
            return False
    return len(name) in alive


def _level_end(name: bytes, start: int) -> int:
    end = name.find(_SLASH, start)
    return len(name) if end < 0 else end


def _spread(name: bytes, alive: set[int]) -> set[int]:
    """Every position reachable from `alive` without crossing a delimiter."""
    out: set[int] = set()
    reach = -1
    for i in range(len(name) + 1):
        if i in alive:
            reach = _level_end(name, i)
        if i <= reach:
            out.add(i)
    return out


@dataclass(frozen=True, slots=True)
class List(Command):
    """Names that match; `subscribed` is LSUB, `special` the selection of RFC 6154 5.1."""

    patterns: tuple[bytes, ...]
    subscribed: bool = False
    special: bool = False

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        verb = b"LSUB" if self.subscribed else b"LIST"
        if self.patterns == (b"",):
            yield from send(b'* %b (\\Noselect) "/" ""\r\n' % verb)  # 6.3.8: what is the delimiter?
            return Done(b"%b completed" % verb)
        who = session.principal
        # Not on the loop: thousands of names against long patterns take seconds (ATT-27).
        is_long = sum(map(len, self.patterns)) > LONG_PATTERN
        yield from send((yield from read(lambda r: self._lines(r, who), is_long=is_long)))
        return Done(b"%b completed" % verb)

    def _lines(self, reading: Reading, who: Principal) -> bytes:
        if self.subscribed:
            return b"".join(_lsub(mailboxes.subscribed(reading, who), self.patterns))
        return b"".join(self._list(mailboxes.shown(reading, who)))

    def _list(self, shown: list[Shown]) -> Iterable[bytes]:
        parents = _parents(shown)
        for each in shown:
            if self.special and not each.special_use:
                continue
            wire = names.encode(each.name)
            if any(matches(pattern, wire) for pattern in self.patterns):
                attributes = _attributes(each, has_children=each.name in parents)
                yield b'* LIST (%b) "/" %b\r\n' % (attributes, responses.quoted(wire))


def _attributes(each: Shown, *, has_children: bool) -> bytes:
    out = [b"\\HasChildren" if has_children else b"\\HasNoChildren"]
    if each.mailbox is None:
        out.insert(0, b"\\Noselect")
    elif each.special_use:
        out.append(each.special_use.encode("ascii"))
    return b" ".join(out)


def _parents(shown: list[Shown]) -> set[str]:
    return {each.name.rpartition(DELIMITER)[0] for each in shown}


def _lsub(subscribed: list[str], patterns: tuple[bytes, ...]) -> Iterable[bytes]:
    """Subscribed names; with `%`, also the levels above a subscribed one, `\\Noselect` (6.3.9)."""
    told: set[str] = set()
    known = set(subscribed)
    for each in subscribed:
        levels = each.split(DELIMITER)
        above = [DELIMITER.join(levels[:n]) for n in range(1, len(levels))]
        for name in (*above, each):
            wire = names.encode(name)
            if name in told or not any(_reaches(p, wire, name in known) for p in patterns):
                continue
            told.add(name)
            attributes = b"" if name in known else b"\\Noselect"
            yield b'* LSUB (%b) "/" %b\r\n' % (attributes, responses.quoted(wire))


def _reaches(pattern: bytes, wire: bytes, is_subscribed: bool) -> bool:
    return (is_subscribed or b"%" in pattern) and matches(pattern, wire)


def _joined(reference: bytes, pattern: bytes) -> bytes:
    """Reference and pattern as one (6.3.8); INBOX in any case; a trailing delimiter forgiven."""
    whole = reference + pattern
    if len(whole) > MAX_PATTERN:
        raise BadSyntax("pattern too long")
    if len(whole) > 1:
        whole = whole.removesuffix(_SLASH)
    if whole[:5].upper() == b"INBOX" and whole[5:6] in (b"", _SLASH):
        whole = b"INBOX" + whole[5:]
    return whole


def parse(cursor: Cursor) -> List:
    """`[select-opts SP] mailbox SP patterns [SP "RETURN" SP return-opts]`.

    Of RFC 5258 only what RFC 6154 clients send (AND-01): attributes come unasked anyway.
    """
    options: list[str] = []
    if cursor.sees(b"("):
        options = cursor.listed(cursor.word, may_be_empty=True)
        cursor.space()
    reference = cursor.astring()
    cursor.space()
    wanted = cursor.listed(cursor.pattern) if cursor.sees(b"(") else [cursor.pattern()]
    if cursor.takes(b" RETURN "):
        _known(cursor.listed(cursor.word, may_be_empty=True))
    cursor.end()
    _known(options)
    if len(wanted) > MAX_PATTERNS:
        raise BadSyntax("too many patterns")
    patterns = tuple(_joined(reference, each) if each else each for each in wanted)
    if "SUBSCRIBED" in options:
        raise BadSyntax("unknown option")
    return List(patterns, special="SPECIAL-USE" in options)


def _known(options: list[str]) -> None:
    if not set(options) <= {"SPECIAL-USE", "CHILDREN", "SUBSCRIBED"}:
        raise BadSyntax("unknown option")


def parse_lsub(cursor: Cursor) -> List:
    """`mailbox SP list-mailbox`."""
    reference = cursor.astring()
    cursor.space()
    pattern = cursor.pattern()
    cursor.end()
    return List((_joined(reference, pattern) if pattern else b"",), subscribed=True)
