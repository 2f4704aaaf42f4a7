"""COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), both with COPYUID (RFC 4315 3)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from mssmtp.errors import Ended, MailError
from mssmtp.imap import mailboxes, responses, tracing
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send, write
from mssmtp.imap.looking import beside
from mssmtp.imap.numbers import NumberSet, compress
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox, NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing
    from mssmtp.storage.copying import CopyId

T = TypeVar("T")

BATCH = 200
"""Messages of one commit: all of a large mailbox at once kept every delivery of the home waiting
for seconds (13 s for a MOVE of 130,000)."""
MOST_COPIED = 50_000
"""Messages of one COPY: copied into itself again and again a mailbox would double without end, and
what is not finished has to be undone."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """`is_elsewhere`: not in the mailbox that was named, so its client is told no UIDs there.
    `copy`: what the store knows it by while it is not whole."""

    target: Mailbox
    after: Mailbox | None
    pairs: list[tuple[Uid, Uid]]
    is_elsewhere: bool
    copy: CopyId | None


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """All or nothing (6.4.7), though it be several commits. UIDs that are gone are OK with nothing
    done (GEN-10)."""

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
        progress = Progress(session, tag, b"Still moving" if self.moves else b"Still copying")
        copied = yield from self._in_batches(session, progress, uids)
        target, pairs = copied.target, copied.pairs
        verb = b"MOVE" if self.moves else b"COPY"
        if self.moves or target.id == selected.mailbox.id:
            session.is_changed = True
            session.owes_news = self.moves
        if not pairs:
            return Done(b"Nothing to do")
        if copied.is_elsewhere:
            return Done(b"%b completed, into the same box" % verb)
        if self.moves:
            yield from _tell_moved(copied)
            return Done(b"MOVE completed")
        code = yield from beside(len(pairs), lambda: _copyuid(target, pairs))
        return Done(b"COPY completed", code)

    def _in_batches(self, session: Session, progress: Progress, uids: list[Uid]) -> Steps[_Copied]:
        """A move is atomic for each message only (RFC 6851 3.3). A copy is undone when it fails."""
        starts = range(0, max(len(uids), 1), BATCH)
        if len(starts) > 1 and not self.moves:
            yield from read(lambda reading: self._demand_room(reading, session, uids))
        done: list[_Copied] = []
        try:
            for start in starts:
                with suppress(Ended):  # who asked may leave: what was begun is finished
                    yield from progress.told(start, len(uids))
                before = done[-1] if done else None
                some = uids[start : start + BATCH]
                batch = _Batch(self, session, some, before, is_last=start == starts[-1])
                session.is_changed |= self.moves
                copied = yield from though_left(batch)
                session.has_counted(copied.target, copied.after)
                done.append(copied)
        except Exception:
            if done and done[-1].copy is not None:
                session.is_changed = True
                yield from _undone(done[-1].copy)
            if done and self.moves:  # those stay where they are now (RFC 6851 3.3)
                yield from _tell_moved(_together(done))
            raise
        return _together(done)

    def copy(self, writing: Writing, session: Session, batch: _Batch) -> _Copied:
        """One batch, with the rights of this moment in both mailboxes (ATT-25)."""
        source, who = session.selected.mailbox, session.principal
        target, rights, is_elsewhere = self._target(writing, session)
        if batch.before is not None and batch.before.target.id != target.id:
            raise NoSuchMailbox  # the name is another's by now
        done: list[tuple[Uid, Uid]] = []
        if batch.uids:
            carry = writing.move if self.moves else writing.copy
            done = carry(source.id, batch.uids, target.id, rights)
        if source.bal != target.bal:
            # DEF-06: whoever reads the copy does it where nobody of the box sees that.
            letters = writing.letters_of(target.id, [(made, made) for _, made in done])
            writing.record_read(who.account, source.bal, letters, "releve")
        if self.moves and done:
            tracing.moved(writing, who, (source, target), [uid for uid, _ in done])
        copy = None if self.moves else batch.under_way(writing, target, [uid for _, uid in done])
        counted = recounted(writing, session.watching, target)
        return _Copied(*counted, done, is_elsewhere, copy)

    def _target(self, reading: Reading, session: Session) -> tuple[Mailbox, str, bool]:
        """Where it goes, with the rights there; True when that is not the mailbox named."""
        source, who = session.selected.mailbox, session.principal
        needed = mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE if self.moves else ""
        here = mailboxes.demand_still(reading, who, source, needed)
        target, rights = mailboxes.find_target(reading, who, self.mailbox)
        # A copy by who may not remove takes nothing away: the letter stays where it is.
        kept = None
        if mailboxes.may_remove(here):
            kept = mailboxes.kept_beside(reading, who, source, target)
        return (target, rights, False) if kept is None else (*kept, True)

    def _demand_room(self, reading: Reading, session: Session, uids: list[Uid]) -> None:
        """For all of it, before the first batch. Raises OverQuota."""
        target, _, _ = self._target(reading, session)
        reading.demand_room_for(session.selected.mailbox.id, uids, target.bal)


def _together(done: list[_Copied]) -> _Copied:
    return replace(done[-1], pairs=list(chain.from_iterable(each.pairs for each in done)))


def _tell_moved(copied: _Copied) -> Steps[None]:
    """RFC 6851 4.3: before the EXPUNGEs."""
    target, pairs = copied.target, copied.pairs
    if pairs and not copied.is_elsewhere:
        code = yield from beside(len(pairs), lambda: _copyuid(target, pairs))
        yield from send(responses.untagged(b"OK", b"Moved", code))


def _copyuid(target: Mailbox, pairs: list[tuple[Uid, Uid]]) -> bytes:
    sources, made = (compress([pair[side] for pair in pairs]) for side in (0, 1))
    return b"COPYUID %d %b %b" % (target.uid_validity, sources, made)


@dataclass(frozen=True, slots=True)
class _Batch:
    """`before`: what came of the batch before it, None for the first."""

    command: Copy
    session: Session
    uids: list[Uid]
    before: _Copied | None
    is_last: bool

    def __call__(self, writing: Writing) -> _Copied:
        return self.command.copy(writing, self.session, self)

    def under_way(self, writing: Writing, target: Mailbox, made: list[Uid]) -> CopyId | None:
        """Write down that there is more to come, or that this was all. One batch alone is whole."""
        copy = None if self.before is None else self.before.copy
        if copy is None:
            return None if self.is_last else writing.begin_copy(target.id, made)
        if self.is_last:
            writing.end_copy(copy)
            return None
        writing.extend_copy(copy, made)
        return copy


def though_left(job: Callable[[Writing], T]) -> Steps[T]:
    """Also for who has left since: what they have not been told is dropped by the first attempt."""
    try:
        return (yield from write(job))
    except Ended:
        return (yield from write(job))


def _undone(copy: CopyId) -> Steps[None]:
    """Take away what was copied. What cannot be now is left to whoever looks after such copies."""
    with suppress(MailError):
        while (yield from though_left(lambda writing: writing.undo_copy(copy))):
            pass


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
