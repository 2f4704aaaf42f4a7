"""STATUS (RFC 3501 6.3.10, RFC 9051 6.3.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, responses, statuses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Question, Steps, read, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class Status(Command):
    """Counters of a mailbox, kept by the store: no message is looked at but new ones (R02)."""

    mailbox: str
    items: tuple[str, ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if "HIGHESTMODSEQ" in self.items:
            yield from sync.become_aware(session)

        def query(reading: Reading) -> bytes:
            mailbox = mailboxes.find(reading, session.principal, self.mailbox, mailboxes.READ)
            name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
            limit = session.limits.message_octets
            return statuses.line(reading, mailbox, name, self.items, limit)

        words = ("status", self.mailbox, self.items, session.dialect.utf8)
        is_heavy = statuses.are_heavy(self.items)
        question = None if is_heavy else Question(session.principal, words)
        yield from send((yield from read(query, is_long=is_heavy, question=question)))
        return Done(b"STATUS completed")


def parse(cursor: Cursor) -> Status:
    """`mailbox SP "(" status-att *(SP status-att) ")"`, a space behind it forgiven (APL-05)."""
    mailbox = cursor.mailbox()
    cursor.space()
    items = statuses.items(cursor)
    cursor.end()
    return Status(mailbox, items)
