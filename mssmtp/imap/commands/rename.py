"""RENAME (RFC 3501 6.3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import listing, mailboxes, metadata, names
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.copy import MOVE_BATCH
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import MailboxId, Uid
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class _Renamed:
    """`mailbox` under its new name, None for a level that only holds others. `inbox`: the one that
    is emptied into it, with its messages."""

    mailbox: Mailbox | None
    inbox: MailboxId | None = None
    uids: tuple[Uid, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename(Command):
    """Gives a mailbox and its children another name; INBOX is emptied into it instead.

    `given`: the old name as it was spelt (RFC 9051 6.3.6, OLDNAME).
    """

    old: str
    new: str
    given: bytes = b""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> _Renamed:
            source = mailboxes.renamable(writing, session.principal, self.old)
            target = mailboxes.creatable(writing, session.principal, self.new)
            if source.bal.id != target.bal.id:
                raise Refused("CANNOT", b"Names of two boxes: copy the messages instead")
            inbox = writing.mailbox(source.bal.id, source.name)
            if inbox is None or inbox.name != "INBOX":
                writing.rename_mailbox(source.bal.id, source.name, target.name)
                return _Renamed(writing.mailbox(target.bal.id, target.name))
            made = writing.create_mailbox(target.bal.id, target.name)
            metadata.copy(writing, inbox, made, session.principal.account)
            return _Renamed(made, inbox.id, tuple(writing.uids(inbox.id)))

        renamed = yield from write(job)
        session.is_changed = True  # a renamed INBOX loses its messages
        if renamed.mailbox is None:
            return Done(b"RENAME completed")
        if renamed.inbox is not None:
            yield from _empty(renamed.inbox, renamed.mailbox.id, renamed.uids)
        elif session.dialect.rev2:
            shown = mailboxes.as_shown(renamed.mailbox, self.new)
            yield from send(listing.unasked(shown, was=self.given))
        return Done(b"RENAME completed")


def _empty(source: MailboxId, target: MailboxId, uids: Sequence[Uid]) -> Steps[None]:
    """The messages that were there, in commits as short as those of MOVE."""
    for start in range(0, len(uids), MOVE_BATCH):
        yield from _move(source, uids[start : start + MOVE_BATCH], target)


def _move(source: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Steps[None]:
    yield from write(lambda writing: writing.move(source, uids, target))


def parse(cursor: Cursor) -> Rename:
    """`mailbox SP mailbox`."""
    old = cursor.mailbox()
    given = cursor.given or names.encode_utf8(old)
    cursor.space()
    new = names.creatable(cursor.mailbox())
    cursor.end()
    return Rename(old, new, given)
