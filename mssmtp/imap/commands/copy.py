"""COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), both with COPYUID (RFC 4315 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, responses, tracing
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.numbers import NumberSet, compress
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

MOVE_BATCH = 200
"""Messages of one commit of MOVE: all of a large mailbox at once kept every delivery of the home
waiting for seconds (13 s for 130,000)."""
MOST_COPIED = 50_000
"""Messages of one COPY, which is all or nothing: seconds for everybody who waits. Copied into
itself again and again a mailbox would double without end."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """`is_elsewhere`: not in the mailbox that was named, so its client is told no UIDs there."""

    target: Mailbox
    after: Mailbox | None
    pairs: list[tuple[Uid, Uid]]
    is_elsewhere: bool


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """All or nothing (6.4.7). UIDs that are gone are OK with nothing done (GEN-10)."""

    numbers: NumberSet
    mailbox: str
    by_uid: bool
    moves: bool

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        if self.moves:  # RFC 6851 4.4: as STORE of \\Deleted and EXPUNGE
            selected.demand(mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE)
        spans = selected.view.spans(self.numbers, by_uid=self.by_uid)
        uids = [Uid(uid) for uid in selected.view.uids_of(spans)]
        if not self.moves and len(uids) > MOST_COPIED:
            raise Refused("LIMIT", b"Copy fewer messages at once")
        copied = yield from self._in_batches(session, tag, uids)
        target, pairs = copied.target, copied.pairs
        verb = b"MOVE" if self.moves else b"COPY"
        if self.moves or target.id == selected.mailbox.id:
            session.is_changed = True
            session.owes_news = self.moves
        if not pairs:
            return Done(b"Nothing to do")
        if copied.is_elsewhere:
            return Done(b"%b completed, into the same box" % verb)
        code = b"COPYUID %d %b %b" % (
            target.uid_validity,
            compress([source for source, _ in pairs]),
            compress([made for _, made in pairs]),
        )
        if self.moves:  # RFC 6851 4.3: before the EXPUNGEs
            yield from send(responses.untagged(b"OK", b"Moved", code))
            return Done(b"MOVE completed")
        return Done(b"%b completed" % verb, code)

    def _in_batches(self, session: Session, tag: bytes, uids: list[Uid]) -> Steps[_Copied]:
        """A copy is one commit; a move is atomic for each message only (RFC 6851 3.3)."""
        size = MOVE_BATCH if self.moves else MOST_COPIED
        pairs: list[tuple[Uid, Uid]] = []
        progress = Progress(session, tag, b"Still moving")
        for start in range(0, max(len(uids), 1), size):
            yield from progress.told(start, len(uids))
            batch = _Batch(self, session, uids[start : start + size])
            session.is_changed |= self.moves
            copied = yield from write(batch)
            session.has_counted(copied.target, copied.after)
            pairs += copied.pairs
        return replace(copied, pairs=pairs)

    def copy(self, writing: Writing, session: Session, uids: list[Uid]) -> _Copied:
        """One batch, with the rights of this moment in both mailboxes (ATT-25)."""
        source, who = session.selected.mailbox, session.principal
        needed = mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE if self.moves else ""
        here = mailboxes.demand_still(writing, who, source, needed)
        target, rights = mailboxes.find_target(writing, who, self.mailbox)
        # A copy by who may not remove takes nothing away: the letter stays where it is.
        beside = None
        if mailboxes.may_remove(here):
            beside = mailboxes.kept_beside(writing, who, source, target)
        if beside is not None:
            target, rights = beside
        done: list[tuple[Uid, Uid]] = []
        if uids:
            carry = writing.move if self.moves else writing.copy
            done = carry(source.id, uids, target.id, rights)
        if self.moves and done:
            tracing.moved(writing, who, (source, target), [uid for uid, _ in done])
        counted = recounted(writing, session.watching, target)
        return _Copied(*counted, done, is_elsewhere=beside is not None)


@dataclass(frozen=True, slots=True)
class _Batch:
    command: Copy
    session: Session
    uids: list[Uid]

    def __call__(self, writing: Writing) -> _Copied:
        return self.command.copy(writing, self.session, self.uids)


def _parse(cursor: Cursor, *, by_uid: bool, moves: bool) -> Copy:
    numbers = cursor.number_set()
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.end()
    return Copy(numbers, mailbox, by_uid, moves)


def parse(cursor: Cursor) -> Copy:
    """`sequence-set SP mailbox`."""
    return _parse(cursor, by_uid=False, moves=False)


def parse_uid(cursor: Cursor) -> Copy:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True, moves=False)


def parse_move(cursor: Cursor) -> Copy:
    """`sequence-set SP mailbox`."""
    return _parse(cursor, by_uid=False, moves=True)


def parse_uid_move(cursor: Cursor) -> Copy:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True, moves=True)
