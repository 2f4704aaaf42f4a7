"""DELETE (RFC 3501 6.3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import listing, mailboxes, responses, tracing
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.expunge import BATCH
from mssmtp.imap.effects import Steps, Watch, send, write
from mssmtp.imap.progress import Progress
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox, NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Removes a mailbox with its messages; its children stay (6.3.4).

    Of a large one the messages go first, some at a time. When a later commit fails the mailbox is
    there with the rest of them.
    """

    mailbox: str
    given: bytes = b""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        progress = Progress(session, tag, b"Still removing")
        # What comes meanwhile goes with the mailbox, however much it is: nobody holds this up.
        begun: Mailbox | None = None
        for most in (BATCH, None):
            gone, uids = yield from write(_Step(self, session, most, begun))
            begun = gone
            if uids is None:
                break
            for start in range(0, len(uids), BATCH):
                some = uids[start : start + BATCH]
                yield from _discard(session, self.mailbox, gone, some)
                yield from progress.told(start + BATCH, len(uids))
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


@dataclass(frozen=True, slots=True)
class _Step:
    """The mailbox is deleted (None), unless it holds more than `most`: then their UIDs.

    `begun`: what the name meant before, which alone is deleted.
    """

    command: Delete
    session: Session
    most: int | None
    begun: Mailbox | None

    def __call__(self, writing: Writing) -> tuple[Mailbox, list[Uid] | None]:
        who, name = self.session.principal, self.command.mailbox
        place = mailboxes.locate(writing, who, name)
        found = _found(writing, self.session, name, self.begun)
        if self.most is not None and found.messages > self.most:
            return found, writing.doomed(place.bal.id, place.name)
        writing.delete_mailbox(place.bal.id, place.name)
        tracing.deleted(writing, who, found)
        return found, None


def _discard(session: Session, name: str, mailbox: Mailbox, uids: list[Uid]) -> Steps[None]:
    """One commit, with the right of this moment (ATT-25)."""

    def job(writing: Writing) -> None:
        found = _found(writing, session, name, mailbox)
        if gone := writing.discard(found.id, uids):
            tracing.deleted(writing, session.principal, found, gone)

    yield from write(job)


def _found(writing: Writing, session: Session, name: str, begun: Mailbox | None) -> Mailbox:
    """What `name` means now. Raises NoSuchMailbox also where that is another than `begun`: renamed
    into its place, it would be lost with all its letters."""
    found = mailboxes.find(writing, session.principal, name, mailboxes.DELETE_MAILBOX)
    if begun is not None and found.id != begun.id:
        raise NoSuchMailbox
    return found


def parse(cursor: Cursor) -> Delete:
    """`mailbox`."""
    mailbox = cursor.mailbox()
    cursor.end()
    return Delete(mailbox, cursor.given)
