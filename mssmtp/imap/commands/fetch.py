"""FETCH (RFC 3501 6.4.5): batches are rendered in a reading thread, then sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import MailError
from mssmtp.imap import fetch, items
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send, write
from mssmtp.imap.fetch import Batch, Late, Plan, Stretch, Wanted
from mssmtp.imap.incoming import Ended
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import NumberSet, Span, after, cut
from mssmtp.imap.responses import Refused
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """`UID FETCH` always shows the UID (6.4.8)."""

    numbers: NumberSet
    items: tuple[Item, ...]
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        plan = Plan.of(self.items)
        missing = 0
        for group in cut(selected.view.spans(self.numbers, by_uid=self.by_uid), plan.group_rows):
            seen: frozenset[Uid] = frozenset()
            if plan.sets_seen and not selected.read_only:
                seen = yield from _see(selected, group)
            missing += yield from _send_group(selected, plan, group, seen)
        if missing and not self.by_uid:
            raise Refused("EXPUNGEISSUED")
        return Done(b"FETCH completed")


def _see(selected: Selected, group: Sequence[Span]) -> Steps[frozenset[Uid]]:
    """Set `\\Seen` on the unread messages of `group`; which they were."""
    mailbox, ranges = selected.mailbox.id, selected.view.uid_ranges(group)
    rows = yield from read(lambda reading: reading.messages(mailbox, ranges))
    unseen = [row.uid for row in rows if "\\Seen" not in row.flags]
    if not unseen:
        return frozenset()
    changed = yield from write(
        lambda writing: writing.store_flags(mailbox, unseen, "+", frozenset({"\\Seen"}))
    )
    selected.tell(changed)
    return frozenset(unseen)


def _send_group(
    selected: Selected, plan: Plan, group: Sequence[Span], seen: frozenset[Uid]
) -> Steps[int]:
    """Send the responses of `group` batch by batch; how many messages were gone."""
    left = list(group)
    missing = 0
    room = plan.batch_rows
    while left:
        wanted = Wanted(tuple(left), room)
        batch = yield from read(_Rendering(selected, plan, wanted, seen))
        missing += batch.missing
        yield from _send_pieces(batch)
        # Where a few messages fill a batch, the rows of hundreds are not read for each (ATT-27).
        room = min(_more_than(_count(left, batch.position)), plan.batch_rows)
        left = after(left, batch.position)
    return missing


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


def _send_pieces(batch: Batch) -> Steps[None]:
    waiting: list[bytes] = []
    for piece in batch.pieces:
        if isinstance(piece, bytes):
            waiting.append(piece)
            continue
        yield from send(b"".join(waiting))
        waiting.clear()
        value = piece if isinstance(piece, Stretch) else (yield from read(_getting(piece)))
        if isinstance(value, bytes):
            yield from send(value)
        else:
            yield from _send_stretch(value)
    yield from send(b"".join(waiting))


def _getting(piece: Late) -> Callable[[Reading], bytes | Stretch]:
    return lambda reading: fetch.late(reading, piece)


def _send_stretch(stretch: Stretch) -> Steps[None]:
    """A literal read and sent 256 KiB at a time, so that 60 MB never rest in memory (OLC-04)."""
    try:
        first = yield from read(_reader(stretch, stretch.start))
    except MailError:
        yield from send(b"NIL")
        return
    yield from send(b"{%d}\r\n" % (stretch.stop - stretch.start) + first)
    position = stretch.start + len(first)
    while position < stretch.stop:
        try:
            octets = yield from read(_reader(stretch, position))
        except MailError as error:
            # The literal's length is promised: nothing but the end of the connection is honest.
            raise Ended from error
        if not octets:
            raise Ended
        yield from send(octets)
        position += len(octets)


@dataclass(frozen=True, slots=True)
class _Reader:
    stretch: Stretch
    start: int

    def __call__(self, reading: Reading) -> bytes:
        stop = min(self.start + fetch.BATCH_OCTETS, self.stretch.stop)
        return reading.body(self.stretch.mailbox, self.stretch.uid, self.start, stop)


def _reader(stretch: Stretch, start: int) -> _Reader:
    return _Reader(stretch, start)


def _parse(cursor: Cursor, *, by_uid: bool) -> Fetch:
    numbers = cursor.number_set()
    cursor.space()
    wanted = items.parse(cursor)
    cursor.end()
    if by_uid and Simple.UID not in wanted:
        wanted = (Simple.UID, *wanted)
    return Fetch(numbers, wanted, by_uid)


def parse(cursor: Cursor) -> Fetch:
    """`sequence-set SP fetch-items`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Fetch:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True)
