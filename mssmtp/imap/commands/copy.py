"""COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), both with COPYUID (RFC 4315 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.numbers import NumberSet, compress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

MOVE_BATCH = 500
"""Messages of one commit of MOVE: all of a large mailbox at once kept every delivery of the home
waiting for seconds (13 s for 130,000)."""
MOST_COPIED = 50_000
"""Messages of one COPY, which is all or nothing: a second for everybody who waits. Copied into
itself again and again a mailbox would double without end."""
Copied = tuple[Mailbox, list[tuple[Uid, Uid]]]
Batched = tuple[tuple[Mailbox, Mailbox | None], list[tuple[Uid, Uid]]]


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
        target, pairs = yield from self._in_batches(session, uids)
        verb = b"MOVE" if self.moves else b"COPY"
        if self.moves or target.id == selected.mailbox.id:
            session.is_changed = True
            session.owes_news = self.moves
        if not pairs:
            return Done(b"Nothing to do")
        code = b"COPYUID %d %b %b" % (
            target.uid_validity,
            compress([source for source, _ in pairs]),
            compress([made for _, made in pairs]),
        )
        if self.moves:  # RFC 6851 4.3: before the EXPUNGEs
            yield from send(responses.untagged(b"OK", b"Moved", code))
            return Done(b"MOVE completed")
        return Done(b"%b completed" % verb, code)

    def _in_batches(self, session: Session, uids: list[Uid]) -> Steps[Copied]:
        """A copy is one commit; a move is atomic for each message only (RFC 6851 3.3)."""
        size = MOVE_BATCH if self.moves else MOST_COPIED
        pairs: list[tuple[Uid, Uid]] = []
        for start in range(0, max(len(uids), 1), size):
            batch = _Batch(self, session, uids[start : start + size])
            session.is_changed |= self.moves
            (target, after), done = yield from write(batch)
            session.has_counted(target, after)
            pairs += done
        return target, pairs

    def copy(self, writing: Writing, session: Session, uids: list[Uid]) -> Batched:
        """One batch, with the rights of this moment in both mailboxes (ATT-25)."""
        source = session.selected.mailbox
        needed = mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE if self.moves else ""
        mailboxes.demand_still(writing, session.principal, source, needed)
        target, rights = mailboxes.find_target(writing, session.principal, self.mailbox)
        done: list[tuple[Uid, Uid]] = []
        if uids:
            carry = writing.move if self.moves else writing.copy
            done = carry(source.id, uids, target.id, rights)
        return recounted(writing, session.watching, target), done


@dataclass(frozen=True, slots=True)
class _Batch:
    command: Copy
    session: Session
    uids: list[Uid]

    def __call__(self, writing: Writing) -> Batched:
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
