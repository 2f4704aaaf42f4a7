"""RENAME (RFC 3501 6.3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, names
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Rename(Command):
    """Gives a mailbox and its children another name; INBOX is emptied into it instead."""

    old: str
    new: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> None:
            source = mailboxes.locate(writing, session.principal, self.old)
            try:
                target = mailboxes.locate(writing, session.principal, self.new)
            except NoSuchMailbox as error:
                raise Refused("CANNOT") from error
            if source.bal.id != target.bal.id:
                raise Refused("CANNOT", b"Names of two boxes: copy the messages instead")
            writing.rename_mailbox(source.bal.id, source.name, target.name)

        yield from write(job)
        session.is_changed = True  # a renamed INBOX loses its messages
        return Done(b"RENAME completed")


def parse(cursor: Cursor) -> Rename:
    """`mailbox SP mailbox`."""
    old = cursor.mailbox()
    cursor.space()
    new = names.creatable(cursor.mailbox())
    cursor.end()
    return Rename(old, new)
