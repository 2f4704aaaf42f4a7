"""FETCH (RFC 3501 6.4.5): batches are rendered in a reading thread, then sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import fetch, items, mailboxes, sync, vanished
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Note, Steps, read, send, write
from mssmtp.imap.fetch import Batch, Late, Plan, Wanted
from mssmtp.imap.incoming import Ended
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import NumberSet, Span, after, count_of, cut, part_of
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Page
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.streams import Decoded, Stream
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.vanished import Known, Range
from mssmtp.mail import ModSeq, Uid

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class Modifiers:
    """Which of the messages that are named are shown (RFC 4466 2.4)."""

    changed_since: ModSeq | None = None
    vanished: bool = False
    """Those that were expunged since are told, too (RFC 7162 3.2.6)."""
    page: Page | None = None
    """Of the others only these (RFC 9394 3.3)."""


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """`UID FETCH` always shows the UID (6.4.8)."""

    numbers: NumberSet
    items: tuple[Item, ...]
    by_uid: bool
    modifiers: Modifiers = Modifiers()

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        spans = selected.view.spans(self.numbers, by_uid=self.by_uid)
        if self.modifiers.vanished:
            yield from self._tell_vanished(session)
        if Simple.MODSEQ in self.items:
            yield from sync.become_aware(session)
        if (since := self.modifiers.changed_since) is not None:
            spans = yield from _changed(selected, spans, since)
        if (page := self.modifiers.page) is not None:
            spans = part_of(spans, page.of(count_of(spans)))
        told = yield from _show(session, self.items, spans)
        if told.is_undecodable:
            raise Refused("UNKNOWN-CTE")
        if told.missing and not self.by_uid:
            raise Refused("EXPUNGEISSUED")
        return Done(b"FETCH completed")

    def _tell_vanished(self, session: Session) -> Steps[None]:
        """VANISHED (EARLIER), before any FETCH (RFC 7162 3.2.6)."""
        if not session.dialect.vanished:
            raise BadSyntax("ENABLE QRESYNC first")
        selected = session.selected
        known = Known(self.modifiers.changed_since or ModSeq(0), self.numbers)

        def query(reading: Reading) -> list[Range]:
            mailbox = reading.mailbox_by_id(selected.mailbox.id) or selected.mailbox
            return vanished.earlier(reading, mailbox, selected.view, known)

        gone = yield from read(query)
        yield from send(b"".join(vanished.responses(gone, earlier=True)))


@dataclass(frozen=True, slots=True)
class _Told:
    """How many messages were gone; whether a part was left out."""

    missing: int
    is_undecodable: bool


def _show(session: Session, items: tuple[Item, ...], spans: Sequence[Span]) -> Steps[_Told]:
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
            seen = yield from _see(selected, group)
        told = yield from _send_group(selected, plan, group, seen)
        if plan.reads_body:
            uids = list(selected.view.uids_of(group))
            yield Note(session.principal.account, selected.mailbox.id, uids, "releve")
            if seen:
                yield Note(session.principal.account, selected.mailbox.id, seen, "lu")
        missing += told.missing
        is_undecodable |= told.is_undecodable
    return _Told(missing, is_undecodable)


def show_changed(session: Session, known: Known) -> Steps[None]:
    """What a client that has selected the mailbox does not know of its messages (3.2.5.1)."""
    view = session.selected.view
    spans = [(0, len(view))] if known.uids is None else view.spans(known.uids, by_uid=True)
    changed = yield from _changed(session.selected, spans, known.modseq)
    yield from _show(session, (Simple.UID, Simple.FLAGS, Simple.MODSEQ), changed)


LARGE = 50_000
"""Messages of a mailbox that is looked through for long."""


def _changed(selected: Selected, spans: Sequence[Span], since: ModSeq) -> Steps[list[Span]]:
    """What of `spans` has a modseq above `since` (RFC 7162 3.1.4.1)."""
    mailbox, view = selected.mailbox.id, selected.view
    changed = yield from read(
        lambda reading: view.among(reading.changed_uids(mailbox, since), spans),
        is_long=len(view) > LARGE,
    )
    return changed


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
) -> Steps[_Told]:
    """Send the responses of `group` batch by batch."""
    left = list(group)
    missing = 0
    is_undecodable = False
    room = plan.batch_rows
    while left:
        wanted = Wanted(tuple(left), room)
        batch = yield from read(_Rendering(selected, plan, wanted, seen))
        missing += batch.missing
        is_undecodable |= batch.is_undecodable
        is_undecodable |= yield from _send_pieces(selected, batch)
        # Where a few messages fill a batch, the rows of hundreds are not read for each (ATT-27).
        room = min(_more_than(_count(left, batch.position)), plan.batch_rows)
        left = after(left, batch.position)
    return _Told(missing, is_undecodable)


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


def _send_pieces(selected: Selected, batch: Batch) -> Steps[bool]:
    """True when a part that was put off could not be decoded."""
    waiting: list[bytes] = []
    is_undecodable = False
    for piece in batch.pieces:
        if isinstance(piece, bytes):
            waiting.append(piece)
            continue
        yield from send(b"".join(waiting))
        waiting.clear()
        value = (yield from read(_getting(piece))) if isinstance(piece, Late) else piece
        is_undecodable |= value is None
        if value is None or isinstance(value, bytes):
            yield from send(value or b"NIL")
        else:
            yield from _send_stream(selected, value)
    yield from send(b"".join(waiting))
    return is_undecodable


def _getting(piece: Late) -> Callable[[Reading], bytes | Stream | None]:
    return lambda reading: fetch.late(reading, piece)


def _send_stream(selected: Selected, stream: Stream) -> Steps[None]:
    """A literal read and sent block by block, so that 60 MB never rest in memory (OLC-04)."""
    if isinstance(stream, Decoded):
        stream.remember(selected.places)
    opening = stream.opening
    is_promised = not stream.left
    if is_promised:
        yield from send(opening)
    while stream.left:
        try:
            octets = yield from read(stream.next)
        except MailError as error:
            if is_promised:
                # The literal's length is: nothing but the end of the connection is honest.
                raise Ended from error
            yield from send(stream.instead)
            return
        if octets is None:
            raise Ended
        if octets:
            yield from send(octets if is_promised else opening + octets)
            is_promised = True


def _parse(cursor: Cursor, *, by_uid: bool) -> Fetch:
    numbers = cursor.number_set()
    cursor.space()
    wanted = items.parse(cursor)
    modifiers = _modifiers(cursor, by_uid=by_uid)
    cursor.end()
    if modifiers.changed_since is not None and Simple.MODSEQ not in wanted:
        wanted = (*wanted, Simple.MODSEQ)
    if by_uid and Simple.UID not in wanted:
        wanted = (Simple.UID, *wanted)
    return Fetch(numbers, wanted, by_uid, modifiers)


def _modifiers(cursor: Cursor, *, by_uid: bool) -> Modifiers:
    """`[SP "(" fetch-modifier *(SP fetch-modifier) ")"]`, each at most once; VANISHED and PARTIAL
    for UIDs only, VANISHED only beside CHANGEDSINCE (RFC 7162 3.2.6, RFC 9394 3.3)."""
    if not cursor.sees(b" ("):
        return Modifiers()
    cursor.space()
    names: list[str] = []
    since: ModSeq | None = None
    page: Page | None = None

    def modifier() -> None:
        nonlocal since, page
        names.append(cursor.word())
        if names[-1] == "CHANGEDSINCE":
            cursor.space()
            since = cursor.modseq()
        elif names[-1] == "PARTIAL" and by_uid:
            cursor.space()
            page = Page.parse(cursor)
        elif names[-1] != "VANISHED" or not by_uid:
            raise BadSyntax("unknown fetch modifier")

    cursor.listed(modifier)
    if len(set(names)) < len(names):
        raise BadSyntax("a fetch modifier twice")
    if "VANISHED" in names and since is None:
        raise BadSyntax("VANISHED needs CHANGEDSINCE")
    return Modifiers(since, "VANISHED" in names, page)


def parse(cursor: Cursor) -> Fetch:
    """`sequence-set SP fetch-items`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Fetch:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True)
