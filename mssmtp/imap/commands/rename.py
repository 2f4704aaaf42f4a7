"""RENAME (RFC 3501 6.3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, names
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.copy import MOVE_BATCH
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import MailboxId, Uid
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


Emptied = tuple[MailboxId, MailboxId, list[Uid]] | None
"""INBOX, where its messages go, and which: None when another mailbox was renamed."""


@dataclass(frozen=True, slots=True)
class Rename(Command):
    """Gives a mailbox and its children another name; INBOX is emptied into it instead."""

    old: str
    new: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> Emptied:
            source = mailboxes.locate(writing, session.principal, self.old)
            try:
                target = mailboxes.locate(writing, session.principal, self.new)
            except NoSuchMailbox as error:
                raise Refused("CANNOT") from error
            if source.bal.id != target.bal.id:
                raise Refused("CANNOT", b"Names of two boxes: copy the messages instead")
            inbox = writing.mailbox(source.bal.id, source.name)
            if inbox is None or inbox.name != "INBOX":
                writing.rename_mailbox(source.bal.id, source.name, target.name)
                return None
            made = writing.create_mailbox(target.bal.id, target.name)
            return inbox.id, made.id, writing.uids(inbox.id)

        emptied = yield from write(job)
        session.is_changed = True  # a renamed INBOX loses its messages
        if emptied is not None:
            yield from _empty(*emptied)
        return Done(b"RENAME completed")


def _empty(source: MailboxId, target: MailboxId, uids: list[Uid]) -> Steps[None]:
    """The messages that were there, in commits as short as those of MOVE."""
    for start in range(0, len(uids), MOVE_BATCH):
        yield from _move(source, uids[start : start + MOVE_BATCH], target)


def _move(source: MailboxId, uids: list[Uid], target: MailboxId) -> Steps[None]:
    yield from write(lambda writing: writing.move(source, uids, target))


def parse(cursor: Cursor) -> Rename:
    """`mailbox SP mailbox`."""
    old = cursor.mailbox()
    cursor.space()
    new = names.creatable(cursor.mailbox())
    cursor.end()
    return Rename(old, new)
