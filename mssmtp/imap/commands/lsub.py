"""LSUB (RFC 3501 6.3.9) and XLIST: what older clients ask in place of LIST (RFC 5258, RFC 6154)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mssmtp.imap import mailboxes, names, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.list import LONG_PATTERN
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.listing import Answer, Listing, Selection
from mssmtp.imap.names import DELIMITER
from mssmtp.imap.patterns import joined, matches, spelt
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

_USES = {b"\\Junk": b"\\Spam"}
"""XLIST is older than RFC 6154 and has another word for one use."""


@dataclass(frozen=True, slots=True)
class Lsub(Command):
    """Subscribed names that match; with `%`, also the levels above, `\\Noselect` (6.3.9)."""

    pattern: bytes

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if not self.pattern:
            yield from send(b'* LSUB (\\Noselect) "/" ""\r\n')
            return Done(b"LSUB completed")
        who, utf8 = session.principal, session.dialect.utf8
        patterns = spelt((self.pattern,), utf8=utf8)
        octets = yield from read(
            lambda r: b"".join(_lines(mailboxes.subscribed(r, who), patterns, utf8=utf8)),
            is_long=len(self.pattern) > LONG_PATTERN,
        )
        yield from send(octets)
        return Done(b"LSUB completed")


def _lines(subscribed: list[str], patterns: tuple[bytes, ...], *, utf8: bool) -> Iterable[bytes]:
    told: set[str] = set()
    known = set(subscribed)
    for each in subscribed:
        levels = each.split(DELIMITER)
        above = [DELIMITER.join(levels[:n]) for n in range(1, len(levels))]
        for name in (*above, each):
            wire = names.spelling(name, utf8=utf8)
            if name in told or not any(_reaches(p, wire, name in known) for p in patterns):
                continue
            told.add(name)
            attributes = b"" if name in known else b"\\Noselect"
            yield b'* LSUB (%b) "/" %b\r\n' % (attributes, responses.quoted(wire, utf8=utf8))


def _reaches(pattern: bytes, wire: bytes, is_subscribed: bool) -> bool:
    return (is_subscribed or b"%" in pattern) and matches(pattern, wire)


@dataclass(frozen=True, slots=True)
class Xlist(Command):
    """LIST with the uses in Gmail's words: Outlook 2013 and 2016 ask it once (OLC-05)."""

    pattern: bytes

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        who, answer = session.principal, Answer(session.dialect.utf8)
        patterns = spelt((self.pattern,), utf8=answer.utf8)
        lines = yield from read(
            lambda r: list(Listing(r, who, subscribed=False).lines(Selection(), patterns, answer)),
            is_long=len(self.pattern) > LONG_PATTERN,
        )
        yield from send(b"".join(map(_in_gmails_words, lines)))
        return Done(b"XLIST completed")


def _in_gmails_words(line: bytes) -> bytes:
    attributes, delimiter, name = line.removeprefix(b"* LIST (").partition(b') "/" ')
    uses = [_USES.get(each, each) for each in attributes.split()]
    if name == b'"INBOX"\r\n':
        uses.append(b"\\Inbox")
    return b"* XLIST (%b%b%b" % (b" ".join(uses), delimiter, name)


def _pattern(cursor: Cursor) -> bytes:
    """`mailbox SP list-mailbox`."""
    reference = cursor.astring()
    cursor.space()
    pattern = cursor.pattern()
    cursor.end()
    return joined(reference, pattern) if pattern else b""


def parse(cursor: Cursor) -> Lsub:
    """`mailbox SP list-mailbox`."""
    return Lsub(_pattern(cursor))


def parse_xlist(cursor: Cursor) -> Xlist:
    """`mailbox SP list-mailbox`."""
    return Xlist(_pattern(cursor))
