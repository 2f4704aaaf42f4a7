"""DELETE (RFC 3501 6.3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import listing, mailboxes, responses, tracing
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, Watch, send, write
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Removes a mailbox with its messages; its children stay (6.3.4)."""

    mailbox: str
    given: bytes = b""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> Mailbox:
            place = mailboxes.locate(writing, session.principal, self.mailbox)
            needed = mailboxes.DELETE_MAILBOX
            found = mailboxes.find(writing, session.principal, self.mailbox, needed)
            writing.delete_mailbox(place.bal.id, place.name)
            tracing.deleted(writing, session.principal, found)
            return found

        gone = yield from write(job)
        if session.watching is not None:
            session.watching.deleted(gone.id)
        if session.selected_or_none and session.selected.mailbox.id == gone.id:
            yield Watch(None)
            session.select(None)
            if session.dialect.rev2:  # RFC 9051 3.4: the state has changed
                closed = responses.untagged(b"OK", b"The selected mailbox is gone", b"CLOSED")
                yield from send(closed)
        if self.given and session.dialect.rev2:  # RFC 9051 6.3.5
            shown = mailboxes.as_shown(gone, self.mailbox)
            yield from send(listing.unasked(shown, gone=True, was=self.given))
        return Done(b"DELETE completed")


def parse(cursor: Cursor) -> Delete:
    """`mailbox`."""
    mailbox = cursor.mailbox()
    cursor.end()
    return Delete(mailbox, cursor.given)
