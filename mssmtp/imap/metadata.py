"""Annotations (RFC 5464): what an entry may be called, how much may be kept, how it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.responses import Refused
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import AccountId, BalId, Principal
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

MAX_VALUE = 4_096
"""Octets; RFC 5464 4.1 asks for 1024 at least."""
MOST_ENTRIES = 20
"""Shared ones, and private ones of each person, of one mailbox; ten at least (4.1)."""
MOST_IN_BOX = 5_000
"""Of all mailboxes of a box, and of everybody: LIST may tell them all at once (D11)."""
MAX_NAME = 255
SHARED = "/shared/"

_ENTRY = re.compile(r"/(private|shared)(/[\x20-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)*\Z")
_TOO_SHORT = re.compile(r"/[^/]+(/vendor(/[^/]+)?)?\Z")
"""Two components at least, of a vendor four (3.2); with DEPTH it stands for those below."""
_ANY_RIGHT = frozenset((mailboxes.READ, mailboxes.SEEN, mailboxes.WRITE, mailboxes.INSERT, "p"))

Values = Mapping[str, bytes]


def entry(cursor: Cursor) -> str:
    """`entry`, in small letters: names are the same in any case (3.2)."""
    name = cursor.astring().decode("latin-1").lower()
    if len(name) > MAX_NAME or not _ENTRY.match(name):
        raise BadSyntax("no name of an entry")
    return name


def settable(cursor: Cursor) -> str:
    """An `entry` that can have a value."""
    name = entry(cursor)
    if _TOO_SHORT.match(name):
        raise BadSyntax("no name of an entry")
    return name


def entries(cursor: Cursor) -> tuple[str, ...]:
    """`"(" entry *(SP entry) ")"`; one asked for twice is told once."""
    return tuple(dict.fromkeys(cursor.listed(lambda: entry(cursor))))


def box_of(principal: Principal) -> BalId:
    """The box that keeps what a person notes of the server. Raises Refused for who has none."""
    if principal.first is None:
        raise Refused("NOPERM")
    return principal.first


def may_be_read(rights: str) -> bool:
    """True where annotations may be looked at and made (3.3)."""
    return mailboxes.LOOKUP in rights and bool(_ANY_RIGHT & set(rights))


def find(reading: Reading, principal: Principal, name: str) -> tuple[Mailbox, str]:
    """The mailbox `name` and the rights there (3.3: `l`, and one of `rswip`)."""
    mailbox, rights = mailboxes.find_with_rights(reading, principal, name, mailboxes.LOOKUP)
    if not may_be_read(rights):
        raise Refused("NOPERM")
    return mailbox, rights


def of_mailbox(reading: Reading, mailbox: Mailbox, account: AccountId) -> Values:
    """Shared entries, and those private to `account`."""
    return {
        **reading.annotations(mailbox.bal, mailbox.id),
        **reading.annotations(mailbox.bal, mailbox.id, account),
    }


def copy(writing: Writing, source: Mailbox, target: Mailbox, account: AccountId) -> None:
    """What a renamed INBOX leaves to the new mailbox, and keeps (4.1)."""
    for whose in (0, account):
        for name, value in writing.annotations(source.bal, source.id, whose).items():
            writing.annotate(target.bal, name, value, mailbox=target.id, account=whose)


def of_server(reading: Reading, principal: Principal) -> Values:
    """What a person noted of the server: there is nothing shared."""
    return reading.annotations(box_of(principal), 0, principal.account)


def told(name: bytes, values: Iterable[tuple[str, bytes | None]]) -> bytes:
    """`* METADATA` of the mailbox called `name` on the wire; nothing when there is nothing."""
    pairs = [
        b"%b %b" % (responses.quoted(entry.encode("ascii")), _value(value))
        for entry, value in values
    ]
    return b"* METADATA %b %b\r\n" % (name, responses.listed(pairs)) if pairs else b""


def _value(value: bytes | None) -> bytes:
    """`nstring / literal8`."""
    if value is None:
        return b"NIL"
    return b"~" + responses.literal(value) if b"\0" in value else responses.quoted(value)
