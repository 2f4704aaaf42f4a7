"""STATUS (RFC 3501 6.3.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "APPENDLIMIT")


@dataclass(frozen=True, slots=True)
class Status(Command):
    """Counters of a mailbox, kept by the store: no message is looked at but new ones (R02)."""

    mailbox: str
    items: tuple[str, ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def query(reading: Reading) -> dict[str, int]:
            mailbox = mailboxes.find(reading, session.principal, self.mailbox)
            return _counters(reading, mailbox, session.limits.message_octets)

        counters = yield from read(query)
        values = responses.listed(b"%b %d" % (i.encode("ascii"), counters[i]) for i in self.items)
        name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
        yield from send(b"* STATUS %b %b\r\n" % (name, values))
        return Done(b"STATUS completed")


def _counters(reading: Reading, mailbox: Mailbox, append_limit: int) -> dict[str, int]:
    recent = 0
    if mailbox.recent_from < mailbox.uid_next:
        recent = len(reading.uids(mailbox.id, mailbox.recent_from))
    return {
        "MESSAGES": mailbox.messages,
        "RECENT": recent,
        "UIDNEXT": mailbox.uid_next,
        "UIDVALIDITY": mailbox.uid_validity,
        "UNSEEN": mailbox.unseen,
        "APPENDLIMIT": append_limit,
    }


def parse(cursor: Cursor) -> Status:
    """`mailbox SP "(" status-att *(SP status-att) ")"`, a space behind it forgiven (APL-05)."""
    mailbox = cursor.mailbox()
    cursor.space()
    items = cursor.listed(cursor.word)
    cursor.end()
    for item in items:
        if item not in _ITEMS:
            raise BadSyntax("unknown status item")
    return Status(mailbox, tuple(items))
