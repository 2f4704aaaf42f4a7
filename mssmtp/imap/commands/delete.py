"""DELETE (RFC 3501 6.3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, Watch, write
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import MailboxId

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Removes a mailbox with its messages; its children stay (6.3.4)."""

    mailbox: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> MailboxId:
            place = mailboxes.locate(writing, session.principal, self.mailbox)
            found = mailboxes.find(writing, session.principal, self.mailbox)
            writing.delete_mailbox(place.bal.id, place.name)
            return found.id

        gone = yield from write(job)
        if session.selected_or_none and session.selected.mailbox.id == gone:
            yield Watch(None)
            session.select(None)
        return Done(b"DELETE completed")


def parse(cursor: Cursor) -> Delete:
    """`mailbox`."""
    mailbox = cursor.mailbox()
    cursor.end()
    return Delete(mailbox)
