"""EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mssmtp.imap import mailboxes
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, write
from mssmtp.imap.numbers import NumberSet
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import MailboxId, Uid

BATCH = 500
"""Messages of one commit. Each one is shredded and leaves an event: all of a large mailbox at once
would keep every other writer of the home waiting for seconds."""


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """Removes `\\Deleted` messages, of `uids` only when given; the news tell the numbers."""

    uids: NumberSet | None

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        selected.demand(mailboxes.EXPUNGE)
        named: frozenset[int] | None = None
        if self.uids is not None:
            named = frozenset(selected.view.uids_of(selected.view.spans(self.uids, by_uid=True)))
        session.is_changed = True
        yield from remove_deleted(selected.mailbox.id, named)
        return Done(b"EXPUNGE completed")


def remove_deleted(mailbox: MailboxId, named: Collection[int] | None = None) -> Steps[None]:
    """Remove the messages with `\\Deleted`, of `named` only when given, BATCH at a time.

    No message is removed that lost its flag meanwhile. When a later batch fails the earlier ones
    are gone, which the untagged EXPUNGEs tell.
    """
    found = yield from read(lambda reading: reading.deleted(mailbox))
    uids = found if named is None else [uid for uid in found if uid in named]
    for start in range(0, len(uids), BATCH):
        yield from _remove(mailbox, uids[start : start + BATCH])


def _remove(mailbox: MailboxId, uids: list[Uid]) -> Steps[None]:
    yield from write(lambda writing: writing.expunge(mailbox, uids))


def parse(cursor: Cursor) -> Expunge:
    """No arguments."""
    cursor.end()
    return Expunge(None)


def parse_uid(cursor: Cursor) -> Expunge:
    """`sequence-set` of UIDs."""
    uids = cursor.number_set()
    cursor.end()
    return Expunge(uids)
