"""Rendering messages for FETCH: runs in a reading thread, in bounded batches."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import flag_lines, list_lines, responses
from mssmtp.imap.bodies import PORTION_OCTETS, READ_COST, Bodies
from mssmtp.imap.body_lines import BodyLines
from mssmtp.imap.flag_lines import Lines
from mssmtp.imap.header_lines import HeaderLines
from mssmtp.imap.items import Binary, Body, Item, Simple, label_of
from mssmtp.imap.list_lines import ListLines
from mssmtp.imap.numbers import Span, before, count_of, cut
from mssmtp.imap.selected import Selected
from mssmtp.imap.streams import Stream
from mssmtp.imap.values import (
    FROM_ROW,
    MISSING,
    NEEDS_NO_SUMMARY,
    WHOLE,
    Message,
    Value,
    cost_of,
    damaged,
    value_of,
)
from mssmtp.mail import MailboxId, Uid
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

BATCH_OCTETS = 262_144
"""A batch ends when it holds as much, so that memory stays bounded whatever is fetched."""
ROWS = 1_024
FLAG_ROWS = 6_144
BODIES = 128
GROUP = 1_024
"""Messages of several batches: each looks through what of the group is left."""


@dataclass(frozen=True, slots=True)
class Late:
    """A value of a message that has filled its batch alone: got when its turn has come (D11)."""

    mailbox: MailboxId
    row: MessageRow
    recent: bool
    value_of: Value

    @property
    def uid(self) -> Uid:
        """Of the message."""
        return self.row.uid


Piece = bytes | Stream | Late

Labelled = tuple[tuple[bytes, Value, int, bool], ...]
"""Name in the response, way to the value, what that way costs (`values.cost_of`), and whether it is
a section: there may be a thousand of one message, each large, and NIL stands for one that is gone.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The items of one command, with their names in the response and how to get their values."""

    items: tuple[Item, ...]
    labelled: Labelled
    beside_seen: Labelled
    """Shown of a message that became `\\Seen` by this command (6.4.5)."""
    lines: ListLines | None
    """For hundreds of messages at once, when the items allow it."""
    uids_only: bool = False
    """UIDFETCH takes the place of FETCH (RFC 9586 3.3): message by message."""

    @classmethod
    def of(cls, items: tuple[Item, ...], *, modseqs: bool = False, uids_only: bool = False) -> Plan:
        """Names and ways are looked up once, not once a message.

        `modseqs`: the client is told of each change with UID and MODSEQ (RFC 7162 3.2.4).
        """
        beside = (Simple.UID, Simple.FLAGS, Simple.MODSEQ) if modseqs else (Simple.FLAGS,)
        missing = _labelled([item for item in beside if item not in items])
        plan = cls(items, _labelled(items), missing, None, uids_only)
        if not plan.needs_summary or plan.sets_seen or not ListLines.serves(items) or uids_only:
            return plan
        return cls(items, plan.labelled, missing, ListLines(items))

    @property
    def sets_seen(self) -> bool:
        """6.4.5: BODY[section] sets `\\Seen`, BODY.PEEK does not; RFC 3516 4.2: so BINARY."""
        return any(isinstance(item, Body | Binary) and not item.peek for item in self.items)

    @property
    def reads_body(self) -> bool:
        """DEF-06: a body section, PEEK included; headers and MIME headers are none."""
        return any(
            isinstance(item, Binary) or (isinstance(item, Body) and item.section.is_of_body)
            for item in self.items
        )

    @property
    def shows_body(self) -> bool:
        """Octets of bodies are sent, the first words of a PREVIEW too: many letters are no longer
        than these."""
        return self.reads_body or Simple.PREVIEW in self.items

    @property
    def needs_summary(self) -> bool:
        """False when rows, and the content, are enough."""
        return any(
            item.section != WHOLE if isinstance(item, Body) else item not in NEEDS_NO_SUMMARY
            for item in self.items
        )

    @property
    def needs_rows_only(self) -> bool:
        """Flags, UIDs, sizes, dates."""
        return all(item is Simple.FLAGS or item in FROM_ROW for item in self.items)

    @property
    def group_rows(self) -> int:
        """Messages that are shown in one go; the unread ones become `\\Seen` together before."""
        if self.lines is not None:
            return FLAG_ROWS
        return self.batch_rows if self.sets_seen else max(self.batch_rows, GROUP)

    @property
    def batch_rows(self) -> int:
        """Messages looked at together: many when summaries are enough, as for a list of mail."""
        if flag_lines.are_enough(self.items):
            return FLAG_ROWS
        return ROWS if not any(map(cost_of, self.items)) else BODIES


@dataclass(frozen=True, slots=True)
class Batch:
    """Rendered messages: octets and stretches in turn; `position` is where to go on."""

    pieces: list[Piece]
    position: int
    missing: int
    is_undecodable: bool = False
    """RFC 3516 4.3: something was left out, the command fails with UNKNOWN-CTE."""
    letters: Collection[int] = ()
    """Of which octets of the body are in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Messages that were not shown yet, and of how many of them rows may be read together."""

    spans: Sequence[Span]
    most: int


def render(
    reading: Reading, selected: Selected, plan: Plan, wanted: Wanted, seen: frozenset[Uid]
) -> Batch:
    """FETCH responses of what is wanted until the batch is full.

    `seen`: messages whose `\\Seen` this command has just set; they show their FLAGS (6.4.5).
    """
    spans = wanted.spans
    if plan.lines is not None and spans[0][1] - spans[0][0] >= list_lines.LEAST:
        lines, position = plan.lines.batch(reading, selected, spans[0])
        if lines:
            return Batch([*lines], position, 0)
        # No further than the window: the next may have a listing.
        end = list_lines.end_of_window(selected.view, spans[0], reading.pack_uids)
        spans = ((spans[0][0], end),)
    spans = next(cut(spans, wanted.most))
    mailbox = selected.mailbox.id
    quick = not seen and not plan.uids_only
    if quick and flag_lines.are_enough(plan.items) and count_of(spans) >= flag_lines.LEAST:
        octets = _from_image(reading, selected, plan, spans)
        if octets is not None:
            return Batch([octets], spans[-1][1], 0)
    rows = reading.messages(mailbox, selected.view.uid_ranges(spans))
    numbered = number(selected, spans, rows)
    if plan.needs_rows_only and not seen:
        octets = _render_rows(plan, numbered, selected)
        return Batch([octets], spans[-1][1], count_of(spans) - len(rows))
    bodies = Bodies(reading, mailbox, [row for _, row in numbered])
    pieces, shown, is_undecodable = _render_messages(bodies, selected, plan, numbered, seen)
    position = numbered[shown][0] - 1 if shown < len(numbered) else spans[-1][1]
    missing = count_of(before(spans, position)) - shown
    letters = bodies.letters() if plan.shows_body else ()
    return Batch(pieces, position, missing, is_undecodable, letters)


def _render_messages(
    bodies: Bodies,
    selected: Selected,
    plan: Plan,
    numbered: Sequence[tuple[int, MessageRow]],
    seen: frozenset[Uid],
) -> tuple[list[Piece], int, bool]:
    """Responses that need more than the rows; of how many messages, until the batch was full;
    whether a part could not be decoded."""
    reading, mailbox = bodies.reading, selected.mailbox.id
    rows = [row for _, row in numbered] if plan.needs_summary else ()
    summaries = _Summaries(reading, mailbox, rows)
    pieces: list[Piece] = []
    size = count = 0
    is_undecodable = False
    quick = not seen and not plan.uids_only
    listed = HeaderLines(plan.items) if quick and HeaderLines.serves(plan.items) else None
    copied = BodyLines(plan.items) if quick and BodyLines.serves(plan.items) else None
    room = PORTION_OCTETS if copied else BATCH_OCTETS
    for at, row in numbered:
        recent = row.uid in selected.recents
        octets = summaries.octets(row.uid)
        if copied and (parts := copied.line(at, row, bodies, recent=recent)):
            pieces += parts
            size += sum(map(len, parts)) + READ_COST
        elif listed and (line := listed.line(at, row, octets, recent=recent)):
            pieces.append(line)
            size += len(line)
        else:
            summary = summaries.opened(row.uid, octets)
            message = Message(reading, bodies, mailbox, at, row, recent, summary)
            octets_out, is_whole = _render_message(
                plan, message, pieces, became_seen=row.uid in seen
            )
            size += octets_out
            is_undecodable |= not is_whole
        count += 1
        if size >= room:
            break
    return _joined(pieces), count, is_undecodable


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Octets that follow each other are one piece: joined here, they keep no loop waiting."""
    out: list[Piece] = []
    waiting: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            waiting.append(piece)
            continue
        out += (b"".join(waiting), piece)
        waiting = []
    return [*out, b"".join(waiting)]


def _from_image(
    reading: Reading, selected: Selected, plan: Plan, spans: Sequence[Span]
) -> bytes | None:
    """The lines of `spans`; None when one of these messages is gone."""
    image = reading.image(selected.mailbox.id)
    places = None if image is None else flag_lines.aligned(selected.view, spans, image)
    if image is None or places is None:
        return None
    sets = reading.flag_sets(selected.mailbox.id)
    return Lines(selected, image, sets).of(plan.items, spans, places)


def number(
    selected: Selected, spans: Sequence[Span], rows: Sequence[MessageRow]
) -> list[tuple[int, MessageRow]]:
    """Rows with their sequence numbers; what the session was not told of is left out."""
    if len(rows) == count_of(spans):
        positions = (at for start, stop in spans for at in range(start + 1, stop + 1))
        return list(zip(positions, rows, strict=True))
    found = ((selected.view.position(row.uid), row) for row in rows)
    return [(at + 1, row) for at, row in found if at is not None]


def _render_rows(
    plan: Plan, numbered: Sequence[tuple[int, MessageRow]], selected: Selected
) -> bytes:
    """The fast path: flags, UIDs, sizes and dates of many messages."""
    values = b" ".join(label + b"%b" for label, *_ in plan.labelled)
    template = _opening(plan) + values + b")\r\n"
    recents = selected.recents
    flags = responses.flags
    getters = [FROM_ROW.get(item) for item in plan.items]
    out = []
    for at, row in numbered:
        shown = b"(%b)" % flags(row.flags, recent=bool(recents) and row.uid in recents)
        named = row.uid if plan.uids_only else at
        out.append(template % (named, *[shown if get is None else get(row) for get in getters]))
    return b"".join(out)


def _opening(plan: Plan) -> bytes:
    return b"* %d UIDFETCH (" if plan.uids_only else b"* %d FETCH ("


def _labelled(items: Sequence[Item]) -> Labelled:
    return tuple(
        (label_of(item) + b" ", value_of(item), cost_of(item), isinstance(item, Body | Binary))
        for item in items
    )


class _Summaries:
    """Summaries of `rows`, asked for in the order of UIDs and opened one by one: those behind a
    batch that is full are never held (D11)."""

    def __init__(self, reading: Reading, mailbox: MailboxId, rows: Sequence[MessageRow]) -> None:
        self._mailbox = mailbox
        self._left = iter(reading.summaries(mailbox, [row.uid for row in rows]) if rows else ())
        self._next = next(self._left, None)

    def octets(self, uid: Uid) -> bytes:
        """The summary of `uid` as it is kept; empty when there is none."""
        while self._next is not None and self._next[0] < uid:
            self._next = next(self._left, None)
        return b"" if self._next is None or self._next[0] != uid else self._next[1]

    def opened(self, uid: Uid, octets: bytes) -> Summary:
        """The summary; what stands in its place when it is not needed, or damaged."""
        if not octets and (self._next is None or self._next[0] != uid):
            return MISSING
        try:
            return Summary.from_bytes(octets)
        except UnknownSummary:
            logger.error("message damaged", extra={"mailbox": self._mailbox, "uid": uid})
            return damaged(self._mailbox, uid)


def late(reading: Reading, piece: Late) -> bytes | Stream | None:
    """The value that was put off. Raises NoSuchMessage."""
    if not reading.messages(piece.mailbox, [(piece.row.uid, piece.row.uid)]):
        raise NoSuchMessage
    summaries = _Summaries(reading, piece.mailbox, (piece.row,))
    summary = summaries.opened(piece.row.uid, summaries.octets(piece.row.uid))
    bodies = Bodies(reading, piece.mailbox, (piece.row,))
    message = Message(reading, bodies, piece.mailbox, 0, piece.row, piece.recent, summary)
    return piece.value_of(message)


def _render_message(
    plan: Plan, message: Message, pieces: list[Piece], *, became_seen: bool
) -> tuple[int, bool]:
    """Append the response to `pieces`; the octets it takes on the wire, and whether nothing had to
    be left out.

    A thousand sections of one message may be asked for at once: what does not fit is put off.
    """
    labelled = (*plan.labelled, *plan.beside_seen) if became_seen else plan.labelled
    size = 0
    number = message.row.uid if plan.uids_only else message.number
    glue = opening = _opening(plan) % number
    out: list[bytes] = []
    is_whole = True
    put_off = message.mailbox, message.row, message.recent
    for label, get, cost, is_section in labelled:
        is_late = is_section and size >= BATCH_OCTETS
        value = Late(*put_off, get) if is_late else get(message)
        if value is None:
            is_whole = False
            continue
        size += cost
        out += (glue, label)
        if isinstance(value, bytes):
            size += len(value)
            out.append(value)
        else:
            message.bodies.put_off(message.row.uid)
            size += 0 if isinstance(value, Late) else value.left
            pieces += (b"".join(out), value)
            out = []
        glue = b" "
    if glue is not opening:
        out.append(b")\r\n")
        pieces.append(b"".join(out))
    return size, is_whole
