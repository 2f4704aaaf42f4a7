"""EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, sync, tracing
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, write
from mssmtp.imap.numbers import NumberSet
from mssmtp.imap.progress import Progress
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal, Uid
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

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
        session.is_changed = session.owes_news = True
        removed = yield from remove_deleted(session, tag, named)
        if not removed or not session.dialect.modseqs:
            return Done(b"EXPUNGE completed")
        yield from sync.tell(session, expunge=True, highest=False)
        # RFC 7162 3.2.7: the tagged response says up to where all is told now.
        return Done(b"EXPUNGE completed", b"HIGHESTMODSEQ %d" % selected.gone_modseq)


def remove_deleted(
    session: Session, tag: bytes, named: Collection[int] | None = None
) -> Steps[int]:
    """Remove the messages with `\\Deleted`, of `named` only when given, BATCH at a time.

    No message is removed that lost its flag meanwhile. When a later batch fails the earlier ones
    are gone, which the untagged EXPUNGEs tell. Returns how many were removed.
    """
    mailbox = session.selected.mailbox
    # Of a part that was handed over, those in it alone: others may be marked beside it (DEF-23).
    found = yield from read(
        lambda reading: reading.among_part(mailbox, reading.deleted(mailbox.id))
    )
    uids = found if named is None else [uid for uid in found if uid in named]
    progress, removed = Progress(session, tag, b"Still removing"), 0
    for start in range(0, len(uids), BATCH):
        yield from progress.told(start, len(uids))
        removed += yield from _remove(session.principal, mailbox, uids[start : start + BATCH])
    return removed


def _remove(who: Principal, mailbox: Mailbox, uids: list[Uid]) -> Steps[int]:
    def job(writing: Writing) -> list[Uid]:
        mailboxes.demand_still(writing, who, mailbox, mailboxes.EXPUNGE)
        gone = writing.expunge(mailbox.id, uids)
        if gone:
            tracing.deleted(writing, who, mailbox, gone)
        return gone

    removed = yield from write(job)
    return len(removed)


def parse(cursor: Cursor) -> Expunge:
    """No arguments."""
    cursor.end()
    return Expunge(None)


def parse_uid(cursor: Cursor) -> Expunge:
    """`sequence-set` of UIDs."""
    uids = cursor.number_set()
    cursor.end()
    return Expunge(uids)
