"""RENAME (RFC 3501 6.3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import Ended
from mssmtp.imap import listing, mailboxes, metadata, names, subscriptions
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.copy import BATCH, though_left
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.mailboxes import Place
from mssmtp.imap.names import DELIMITER
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import ALL_RIGHTS, MailboxId, Uid
from mssmtp.storage.model import Mailbox, MailboxExists

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class _Renamed:
    """`mailbox` under its new name, None for a level that only holds others. `tree`: with those
    below. `inbox`: the one that is emptied into it, with its messages."""

    mailbox: Mailbox | None
    tree: list[Mailbox]
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
                _rename(writing, session, source, target)
                tree = _tree(writing, session, target) if session.watching else []
                return _Renamed(writing.mailbox(target.bal.id, target.name), tree)
            made = writing.create_mailbox(target.bal.id, target.name)
            metadata.copy(writing, inbox, made, session.principal.account)
            return _Renamed(made, [made], inbox.id, tuple(writing.uids(inbox.id)))

        renamed = yield from write(job)
        if session.watching is not None:
            for each in renamed.tree:
                session.watching.named(mailboxes.beside(self.new, each), each)
        session.is_changed = True  # a renamed INBOX loses its messages
        if renamed.mailbox is None:
            return Done(b"RENAME completed")
        if renamed.inbox is not None:
            progress = Progress(session, tag, b"Still moving")
            yield from _empty(renamed.inbox, renamed.mailbox.id, renamed.uids, progress)
        elif session.dialect.rev2:
            shown = mailboxes.as_shown(renamed.mailbox, self.new)
            yield from send(listing.unasked(shown, was=self.given))
        return Done(b"RENAME completed")


def _rename(writing: Writing, session: Session, source: Place, target: Place) -> None:
    """Raises Refused also for a name below the new one that is taken by what is hidden: as for a
    new name where nothing may be made (ATT-24)."""
    try:
        writing.rename_mailbox(source.bal.id, source.name, target.name)
    except MailboxExists:
        if writing.mailbox(target.bal.id, target.name) is None and source.rights != ALL_RIGHTS:
            raise Refused("NOPERM") from None
        raise


def _tree(writing: Writing, session: Session, target: Place) -> list[Mailbox]:
    """What stands at `target` now and below, subscribed as it is for who asks."""
    below = target.name + DELIMITER
    return [
        subscriptions.seen_by(writing, session.principal, each)
        for each in writing.mailboxes(target.bal.id)
        if each.name == target.name or each.name.startswith(below)
    ]


def _empty(
    source: MailboxId, target: MailboxId, uids: Sequence[Uid], progress: Progress
) -> Steps[None]:
    """The messages that were there, in commits as short as those of MOVE."""
    for start in range(0, len(uids), BATCH):
        with suppress(Ended):  # it cannot be asked for again: what was begun is finished
            yield from progress.told(start, len(uids))
        yield from _move(source, uids[start : start + BATCH], target)


def _move(source: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Steps[None]:
    yield from though_left(lambda writing: writing.move(source, uids, target))


def parse(cursor: Cursor) -> Rename:
    """`mailbox SP mailbox`."""
    old = cursor.mailbox()
    given = cursor.given or names.encode_utf8(old)
    cursor.space()
    new = names.creatable(cursor.mailbox())
    cursor.end()
    return Rename(old, new, given)
