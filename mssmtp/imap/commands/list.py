"""LIST (RFC 3501 6.3.8, RFC 5258, RFC 9051 6.3.9), with SPECIAL-USE (RFC 6154), CHILDREN (RFC
3348), LIST-STATUS (RFC 5819) and LIST-METADATA (RFC 9590)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, metadata, responses, statuses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.listing import Answer, Extra, Listing, Selection
from mssmtp.imap.mailboxes import Shown
from mssmtp.imap.patterns import MAX_PATTERNS, joined, spelt
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal

if TYPE_CHECKING:
    from mssmtp.storage import Reading

LONG_PATTERN = 64
_SELECTIONS = {"SUBSCRIBED", "SPECIAL-USE", "REMOTE", "RECURSIVEMATCH"}
_RETURNS = {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"}


@dataclass(frozen=True, slots=True)
class Returns:
    """What is said of each name beside its attributes."""

    subscribed: bool = False
    status: tuple[str, ...] = ()
    rights: bool = False
    metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class List(Command):
    """The names that match `patterns` and meet `selection`."""

    patterns: tuple[bytes, ...]
    selection: Selection = Selection()
    returns: Returns = Returns()

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if self.patterns == (b"",) and not self.selection.is_extended:
            yield from send(b'* LIST (\\Noselect) "/" ""\r\n')  # 6.3.8: what is the delimiter?
            return Done(b"LIST completed")
        if "HIGHESTMODSEQ" in self.returns.status:
            yield from sync.become_aware(session)
        answer = self._answer(session)
        patterns = spelt(self.patterns, utf8=answer.utf8)
        who = session.principal

        def query(reading: Reading) -> bytes:
            listing = Listing(reading, who, subscribed=answer.subscriptions)
            return b"".join(listing.lines(self.selection, patterns, answer))

        # Not on the loop: thousands of names against long patterns take seconds (ATT-27).
        # Nor beside short ones, what looks into every mailbox.
        is_heavy = bool(self.returns.metadata) or statuses.are_heavy(self.returns.status)
        is_long = is_heavy or sum(map(len, self.patterns)) > LONG_PATTERN
        yield from send((yield from read(query, is_long=is_long)))
        return Done(b"LIST completed")

    def _answer(self, session: Session) -> Answer:
        utf8 = session.dialect.utf8
        extras: list[Extra] = []
        if self.returns.rights:
            extras.append(_my_rights(utf8=utf8))
        if self.returns.metadata:
            extras.append(_annotations(self.returns.metadata, session.principal, utf8=utf8))
        if self.returns.status:
            limit = session.limits.message_octets

            def status(reading: Reading, each: Shown, wire: bytes) -> bytes:
                if each.mailbox is None or mailboxes.READ not in each.rights:
                    return b""  # RFC 5819 2: no STATUS where it would be refused
                name = responses.quoted(wire, utf8=utf8)
                return statuses.line(reading, each.mailbox, name, self.returns.status, limit)

            extras.append(status)
        return Answer(utf8, self.selection.subscribed or self.returns.subscribed, tuple(extras))


def _annotations(entries: tuple[str, ...], who: Principal, *, utf8: bool) -> Extra:
    """RFC 9590; nothing of a mailbox whose annotations may not be read."""

    def noted(reading: Reading, each: Shown, wire: bytes) -> bytes:
        if each.mailbox is None or not metadata.may_be_read(each.rights):
            return b""
        found = metadata.of_mailbox(reading, each.mailbox, who.account)
        values = [(entry, found.get(entry)) for entry in entries]
        return metadata.told(responses.quoted(wire, utf8=utf8), values)

    return noted


def _my_rights(*, utf8: bool) -> Extra:
    """RFC 8440: what MYRIGHTS would answer, behind the LIST line of the mailbox."""

    def line(reading: Reading, each: Shown, wire: bytes) -> bytes:
        name = responses.quoted(wire, utf8=utf8)
        return b"* MYRIGHTS %b %b\r\n" % (name, responses.rights(each.rights))

    return line


def parse(cursor: Cursor) -> List:
    """`[select-opts SP] mailbox SP (list-mailbox / patterns) [SP "RETURN" SP return-opts]`."""
    options: set[str] = set()
    is_extended = cursor.sees(b"(")
    if is_extended:
        options = set(cursor.listed(cursor.word, may_be_empty=True))
        cursor.space()
    reference = cursor.astring()
    cursor.space()
    if cursor.sees(b"("):
        is_extended = True
        wanted = cursor.listed(cursor.pattern)
    else:
        wanted = [cursor.pattern()]
    returns = Returns()
    if cursor.takes(b" RETURN "):
        is_extended = True
        returns = _returns(cursor)
    cursor.end()
    if len(wanted) > MAX_PATTERNS:
        raise BadSyntax("too many patterns")
    # Empty ones mean nothing in the extended syntax (RFC 9051 6.3.9).
    patterns = tuple(joined(reference, each) for each in wanted if each)
    return List(patterns or (b"",), _selection(options, is_extended=is_extended), returns)


def _selection(options: set[str], *, is_extended: bool) -> Selection:
    """RFC 5258 3.1: RECURSIVEMATCH is nothing by itself; no mailbox is REMOTE."""
    if not options <= _SELECTIONS:
        raise BadSyntax("unknown option")
    if "RECURSIVEMATCH" in options and options <= {"RECURSIVEMATCH", "REMOTE"}:
        raise BadSyntax("RECURSIVEMATCH of what?")
    return Selection(
        subscribed="SUBSCRIBED" in options,
        special="SPECIAL-USE" in options,
        recursive="RECURSIVEMATCH" in options,
        is_extended=is_extended,
    )


def _returns(cursor: Cursor) -> Returns:
    """`"(" [return-option *(SP return-option)] ")"`: CHILDREN and uses come unasked anyway."""
    status: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()

    def option() -> str:
        nonlocal status, noted
        name = cursor.word()
        if name == "STATUS":
            cursor.space()
            status = statuses.items(cursor)
        elif name == "METADATA":
            cursor.space()
            noted = metadata.entries(cursor)
        elif name not in _RETURNS:
            raise BadSyntax("unknown option")
        return name

    given = cursor.listed(option, may_be_empty=True)
    return Returns("SUBSCRIBED" in given, status, "MYRIGHTS" in given, noted)
