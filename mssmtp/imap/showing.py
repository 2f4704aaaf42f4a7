"""Showing messages: FETCH responses, rendered batch by batch in a reading thread, then sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp import metrics
from mssmtp.errors import Damaged, Ended, MailError
from mssmtp.imap import fetch, mailboxes
from mssmtp.imap.effects import Note, Steps, read, send, write
from mssmtp.imap.fetch import Batch, Late, Plan, Wanted
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import Span, after, cut
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.streams import Decoded, Stream
from mssmtp.imap.welcome import welcome_again
from mssmtp.mail import Uid
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """How many messages were gone; whether a part was left out."""

    missing: int
    is_undecodable: bool


def show(session: Session, items: tuple[Item, ...], spans: Sequence[Span]) -> Steps[Told]:
    """A FETCH response for each message at `spans` that is still there."""
    selected = session.selected
    dialect = session.dialect
    plan = Plan.of(items, modseqs=dialect.modseqs, uids_only=dialect.uids_only)
    if session.dialect.modseqs and (plan.sets_seen or Simple.MODSEQ in items):
        # RFC 7162 3.2: what happened before the modseqs that are shown now is told, too.
        session.is_changed = True
    missing = 0
    is_undecodable = False
    for group in cut(spans, plan.group_rows):
        seen: frozenset[Uid] = frozenset()
        if plan.sets_seen and selected.may(mailboxes.SEEN):
            seen = yield from _see(session, plan, group)
        told = yield from _send_group(session, plan, group, seen)
        missing += told.missing
        is_undecodable |= told.is_undecodable
    return Told(missing, is_undecodable)


def _see(session: Session, plan: Plan, group: Sequence[Span]) -> Steps[frozenset[Uid]]:
    """Set `\\Seen` on the unread messages of `group`; which they were."""
    selected, account = session.selected, session.principal.account
    mailbox, ranges = selected.mailbox.id, selected.view.uid_ranges(group)
    rows = yield from read(lambda reading: reading.messages(mailbox, ranges))
    unseen = [row.uid for row in rows if "\\Seen" not in row.flags]
    if not unseen:
        return frozenset()

    def job(writing: Writing) -> list[MessageRow]:
        if plan.reads_body:
            spans = selected.view.uid_ranges(selected.view.among(unseen, group))
            letters = writing.letters_of(mailbox, spans)
            writing.note_read(account, selected.mailbox.bal, letters, "lu")
        return writing.store_flags(mailbox, unseen, "+", frozenset({"\\Seen"}))

    changed = yield from write(job)
    selected.tell(changed)
    return frozenset(unseen)


def _send_group(
    session: Session, plan: Plan, group: Sequence[Span], seen: frozenset[Uid]
) -> Steps[Told]:
    """Note what is sent of bodies, and send the responses of `group`, batch by batch."""
    selected = session.selected
    left = list(group)
    missing = 0
    is_undecodable = False
    room = plan.batch_rows
    while left:
        yield from welcome_again(session)
        wanted = Wanted(tuple(left), room)
        batch = yield from read(_Rendering(selected, plan, wanted, seen))
        missing += batch.missing
        is_undecodable |= batch.is_undecodable
        if batch.letters:
            # Before it leaves: who cuts the line behind what they wanted has read it (DEF-06).
            yield Note(session.principal.account, selected.mailbox.bal, batch.letters)
        told = yield from _send_pieces(session, batch)
        missing += told.missing
        is_undecodable |= told.is_undecodable
        # Where a few messages fill a batch, the rows of hundreds are not read for each (ATT-27).
        room = min(_more_than(_count(left, batch.position)), plan.batch_rows)
        left = after(left, batch.position)
    return Told(missing, is_undecodable)


def _more_than(count: int) -> int:
    """The next batch may be of smaller messages; rows that are read for nothing cost, too."""
    return count + max(count // 4, 1)


def _count(spans: Sequence[Span], position: int) -> int:
    return max(sum(min(stop, position) - start for start, stop in spans if start < position), 1)


@dataclass(frozen=True, slots=True)
class _Rendering:
    """`fetch.render` with its arguments, for a reading thread."""

    selected: Selected
    plan: Plan
    wanted: Wanted
    seen: frozenset[Uid]

    def __call__(self, reading: Reading) -> Batch:
        return fetch.render(reading, self.selected, self.plan, self.wanted, self.seen)


def _send_pieces(session: Session, batch: Batch) -> Steps[Told]:
    """Whole responses, with what is read only now at its place in them."""
    waiting: list[bytes] = []
    gone: set[Uid] = set()
    is_undecodable = False
    for piece in batch.pieces:
        if isinstance(piece, bytes):
            waiting.append(piece)
            continue
        yield from send(b"".join(waiting))
        waiting.clear()
        with _within_a_response():
            try:
                is_undecodable |= yield from _send_value(session, piece)
            except NoSuchMessage:
                gone.add(piece.uid)
                yield from send(b"NIL")
    yield from send(b"".join(waiting))
    return Told(len(gone), is_undecodable)


@contextmanager
def _within_a_response() -> Iterator[None]:
    """A refusal, or a BYE, would be read as part of it: whatever fails here ends the connection
    without a word, and the client asks once more."""
    try:
        yield
    except Ended as end:
        raise Ended from end
    except Exception as error:
        if not isinstance(error, MailError):
            logger.exception("a response was cut short")
            metrics.internal_errors.labels("imap").inc()
        raise Ended from error


def _send_value(session: Session, piece: Late | Stream) -> Steps[bool]:
    """True when a part that was put off could not be decoded. Raises NoSuchMessage, with nothing
    sent, for a message that has gone since the batch was read."""
    value = (yield from read(_getting(piece))) if isinstance(piece, Late) else piece
    if value is None or isinstance(value, bytes):
        yield from send(value or b"NIL")
    else:
        yield from _send_stream(session, value)
    return value is None


def _getting(piece: Late) -> Callable[[Reading], bytes | Stream | None]:
    return lambda reading: fetch.late(reading, piece)


def _send_stream(session: Session, stream: Stream) -> Steps[None]:
    """A literal read and sent block by block, so that 60 MB never rest in memory (OLC-04).

    Raises Ended once its length is promised, NoSuchMessage before.
    """
    if isinstance(stream, Decoded):
        stream.remember(session.selected.places)
    opening = stream.opening
    is_promised = not stream.left
    if is_promised:
        yield from send(opening)
    while stream.left:
        yield from welcome_again(session)
        try:
            octets = yield from read(stream.next)
        except (Damaged, NoSuchMessage) as error:
            if is_promised:
                raise Ended from error
            # The file of a letter goes a moment before the snapshots in which it is still there.
            if not (yield from read(_finding(stream))):
                raise NoSuchMessage from error
            yield from send(stream.instead)
            return
        if octets is None:
            raise Ended
        if octets:
            yield from send(octets if is_promised else opening + octets)
            is_promised = True


def _finding(stream: Stream) -> Callable[[Reading], bool]:
    mailbox, uid = stream.mailbox, stream.uid
    return lambda reading: bool(reading.messages(mailbox, [(uid, uid)]))
