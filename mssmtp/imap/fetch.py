"""Rendering messages for FETCH: runs in a reading thread, in bounded batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mssmtp.errors import Damaged
from mssmtp.imap import dates, flag_lines, list_lines, responses
from mssmtp.imap.flag_lines import Lines
from mssmtp.imap.header_lines import HeaderLines, header_octets, is_in_summary
from mssmtp.imap.items import Binary, BinarySize, Body, Item, Section, Simple, label_of
from mssmtp.imap.list_lines import ListLines
from mssmtp.imap.numbers import Span, cut
from mssmtp.imap.selected import Selected
from mssmtp.imap.streams import Decoded, Stream, Stretch
from mssmtp.mail import MailboxId, Uid
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.message.transfer import KNOWN, decoded
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

BATCH_OCTETS = 262_144
"""A batch ends when it holds as much, so that memory stays bounded whatever is fetched."""
INLINE_OCTETS = 65_536
"""A part of the message up to this size is read with its batch; a larger one is streamed."""
READ_COST = 1_024
"""Opening a part of a message counts as so many octets: hundreds of empty parts fill a batch too,
and a reading thread is never kept for seconds (ATT-27)."""
BINARY_SIZE = b"BINARY.SIZE["
"""A number: never put off."""
ROWS = 1_024
FLAG_ROWS = 6_144
BODIES = 64
WHOLE = Section()
"""`BODY[]`."""


@dataclass(frozen=True, slots=True)
class Late:
    """A value of a message that has filled its batch alone: got when its turn has come (D11)."""

    mailbox: MailboxId
    row: MessageRow
    recent: bool
    value_of: Value


Piece = bytes | Stream | Late

_STUB = Summary(
    size_octets=0,
    envelope=b'(NIL "Message illisible" NIL NIL NIL NIL NIL NIL NIL NIL)',
    bodystructure=b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)',
    body=b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0)',
    header=b"\r\n",
    tree=b"",
)
"""D10: one damaged message shows as a stub and never keeps the others from being read."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message while it is rendered."""

    reading: Reading
    mailbox: MailboxId
    number: int
    row: MessageRow
    recent: bool
    summary: Summary

    @property
    def is_damaged(self) -> bool:
        """Its summary could not be opened."""
        return self.summary is _STUB


Value = Callable[[Message], bytes | Stream | None]
"""None: nobody knows the transfer encoding; the item is left out and the command answers NO."""
Labelled = tuple[tuple[bytes, Value, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The items of one command, with their names in the response and how to get their values."""

    items: tuple[Item, ...]
    labelled: Labelled
    """Name, way to the value, and what that way costs (`_cost`)."""
    beside_seen: Labelled
    """Shown of a message that became `\\Seen` by this command (6.4.5)."""
    lines: ListLines | None
    """For hundreds of messages at once, when the items allow it."""

    @classmethod
    def of(cls, items: tuple[Item, ...], *, modseqs: bool = False) -> Plan:
        """Names and ways are looked up once, not once a message.

        `modseqs`: the client is told of each change with UID and MODSEQ (RFC 7162 3.2.4).
        """
        beside = (Simple.UID, Simple.FLAGS, Simple.MODSEQ) if modseqs else (Simple.FLAGS,)
        missing = _labelled([item for item in beside if item not in items])
        plan = cls(items, _labelled(items), missing, None)
        if not plan.needs_summary or plan.sets_seen or not ListLines.serves(items):
            return plan
        return cls(items, plan.labelled, missing, ListLines(items))

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The sections among them."""
        return tuple(item for item in self.items if isinstance(item, Body))

    @property
    def sets_seen(self) -> bool:
        """6.4.5: BODY[section] sets `\\Seen`, BODY.PEEK does not; RFC 3516 4.2: so BINARY."""
        return any(isinstance(item, Body | Binary) and not item.peek for item in self.items)

    @property
    def needs_summary(self) -> bool:
        """False when rows are enough."""
        return any(
            item.section != WHOLE if isinstance(item, Body) else item not in _FROM_ROW_ALONE
            for item in self.items
        )

    @property
    def group_rows(self) -> int:
        """Messages that are shown in one go; the unread ones become `\\Seen` together before."""
        return self.batch_rows if self.lines is None else FLAG_ROWS

    @property
    def batch_rows(self) -> int:
        """Messages looked at together: many when summaries are enough, as for a list of mail."""
        if flag_lines.are_enough(self.items):
            return FLAG_ROWS
        return ROWS if not any(map(_cost, self.items)) else BODIES


_FROM_SUMMARY: dict[Item, Callable[[Summary], bytes]] = {
    Simple.ENVELOPE: lambda summary: summary.envelope,
    Simple.BODY: lambda summary: summary.body,
    Simple.BODYSTRUCTURE: lambda summary: summary.bodystructure,
}
_FROM_ROW: dict[Item, Callable[[MessageRow], bytes]] = {
    Simple.UID: lambda row: b"%d" % row.uid,
    Simple.INTERNALDATE: lambda row: dates.render_date_time(row.internal_date_us),
    Simple.SIZE: lambda row: b"%d" % row.size_octets,
    Simple.MODSEQ: lambda row: b"(%d)" % row.modseq,
}
_FROM_ROW_ALONE = frozenset({Simple.FLAGS, *_FROM_ROW})


@dataclass(frozen=True, slots=True)
class Batch:
    """Rendered messages: octets and stretches in turn; `position` is where to go on."""

    pieces: list[Piece]
    position: int
    missing: int
    is_undecodable: bool = False
    """RFC 3516 4.3: something was left out, the command fails with UNKNOWN-CTE."""


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
    if flag_lines.are_enough(plan.items) and _wanted(spans) >= flag_lines.LEAST:
        octets = _from_image(reading, selected, plan, spans)
        if octets is not None:
            return Batch([octets], spans[-1][1], 0)
    rows = reading.messages(mailbox, selected.view.uid_ranges(spans))
    numbered = number(selected, spans, rows)
    if not plan.needs_summary and not plan.bodies and not seen:
        octets = _render_rows(plan, numbered, selected)
        return Batch([octets], spans[-1][1], _wanted(spans) - len(rows))
    summaries = _Summaries(reading, mailbox, rows if plan.needs_summary else ())
    pieces: list[Piece] = []
    size = 0
    is_undecodable = False
    quick = HeaderLines(plan.items) if not seen and HeaderLines.serves(plan.items) else None
    for count, (at, row) in enumerate(numbered, 1):
        recent = row.uid in selected.recents
        octets = summaries.octets(row.uid)
        if quick and (line := quick.line(at, row, octets, recent=recent)):
            pieces.append(line)
            size += len(line)
        else:
            message = Message(reading, mailbox, at, row, recent, summaries.opened(row.uid, octets))
            octets_out, is_whole = _render_message(
                plan, message, pieces, became_seen=row.uid in seen
            )
            size += octets_out
            is_undecodable |= not is_whole
        if size >= BATCH_OCTETS and count < len(numbered):
            return Batch(pieces, numbered[count][0] - 1, 0, is_undecodable)
    return Batch(pieces, spans[-1][1], _wanted(spans) - len(rows), is_undecodable)


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


def _wanted(spans: Sequence[Span]) -> int:
    return sum(stop - start for start, stop in spans)


def number(
    selected: Selected, spans: Sequence[Span], rows: Sequence[MessageRow]
) -> list[tuple[int, MessageRow]]:
    """Rows with their sequence numbers; what the session was not told of is left out."""
    if len(rows) == _wanted(spans):
        positions = (at for start, stop in spans for at in range(start + 1, stop + 1))
        return list(zip(positions, rows, strict=True))
    found = ((selected.view.position(row.uid), row) for row in rows)
    return [(at + 1, row) for at, row in found if at is not None]


def _render_rows(
    plan: Plan, numbered: Sequence[tuple[int, MessageRow]], selected: Selected
) -> bytes:
    """The fast path: flags, UIDs, sizes and dates of many messages."""
    values = b" ".join(label + b"%b" for label, _, _ in plan.labelled)
    template = b"* %d FETCH (" + values + b")\r\n"
    recents = selected.recents
    flags = responses.flags
    getters = [_FROM_ROW.get(item) for item in plan.items]
    out = []
    for at, row in numbered:
        shown = b"(%b)" % flags(row.flags, recent=bool(recents) and row.uid in recents)
        out.append(template % (at, *[shown if get is None else get(row) for get in getters]))
    return b"".join(out)


def _labelled(items: Sequence[Item]) -> Labelled:
    return tuple((label_of(item) + b" ", _value(item), _cost(item)) for item in items)


def _cost(item: Item) -> int:
    """What looking an item up counts beside the octets it yields."""
    if isinstance(item, Body):
        return 0 if is_in_summary(item.section) else READ_COST
    return READ_COST if isinstance(item, Binary) else 0


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
        """The summary, or the stub."""
        try:
            return Summary.from_bytes(octets)
        except UnknownSummary:
            if octets or self._next is not None and self._next[0] == uid:
                logger.error("message damaged", extra={"mailbox": self._mailbox, "uid": uid})
            return _STUB


def late(reading: Reading, piece: Late) -> bytes | Stream | None:
    """The value that was put off."""
    summaries = _Summaries(reading, piece.mailbox, (piece.row,))
    summary = summaries.opened(piece.row.uid, summaries.octets(piece.row.uid))
    return piece.value_of(Message(reading, piece.mailbox, 0, piece.row, piece.recent, summary))


def _render_message(
    plan: Plan, message: Message, pieces: list[Piece], *, became_seen: bool
) -> tuple[int, bool]:
    """Append the response to `pieces`; the octets it takes on the wire, and whether nothing had to
    be left out.

    A thousand sections of one message may be asked for at once: what does not fit is put off.
    """
    labelled = (*plan.labelled, *plan.beside_seen) if became_seen else plan.labelled
    size = 0
    glue = opening = b"* %d FETCH (" % message.number
    out: list[bytes] = []
    is_whole = True
    put_off = message.mailbox, message.row, message.recent
    for label, value_of, cost in labelled:
        is_late = size >= BATCH_OCTETS and not label.startswith(BINARY_SIZE)
        value = Late(*put_off, value_of) if is_late else value_of(message)
        if value is None:
            is_whole = False
            continue
        size += cost
        out += (glue, label)
        if isinstance(value, bytes):
            size += len(value)
            out.append(value)
        else:
            size += 0 if isinstance(value, Late) else value.left
            pieces += (b"".join(out), value)
            out = []
        glue = b" "
    if glue is not opening:
        out.append(b")\r\n")
        pieces.append(b"".join(out))
    return size, is_whole


def _value(item: Item) -> Value:
    if isinstance(item, Body):
        return partial(_body, item)
    if isinstance(item, Binary):
        return partial(_binary, item)
    if isinstance(item, BinarySize):
        return partial(_binary_size, item)
    if item is Simple.FLAGS:
        return _flags
    if item in _FROM_SUMMARY:
        from_summary = _FROM_SUMMARY[item]
        return lambda message: from_summary(message.summary)
    from_row = _FROM_ROW[item]
    return lambda message: from_row(message.row)


def _flags(message: Message) -> bytes:
    return b"(%b)" % responses.flags(message.row.flags, recent=message.recent)


def _binary(item: Binary, message: Message) -> bytes | Stream | None:
    """RFC 3516 4.2; what has parts of its own, or is the whole message, is in no encoding."""
    if not item.path:
        return _stretch(item, message, 0, message.row.size_octets)
    node = None if message.is_damaged else message.summary.part(item.path)
    if node is None:
        return b"NIL"
    if not node.is_leaf:
        return _stretch(item, message, node.body_start, node.body_end)
    if node.encoding not in KNOWN:
        return None
    start, stop = _range(item, 0, node.decoded_octets)
    if node.body_end - node.body_start > INLINE_OCTETS:
        return Decoded(message.mailbox, message.row.uid, node, (start, stop))
    octets = _read(message, node.body_start, node.body_end)
    if octets is None:
        return b"NIL"
    return responses.literal(decoded(node.encoding, octets)[start:stop], may_hold_nul=True)


def _binary_size(item: BinarySize, message: Message) -> bytes | None:
    if not item.path:
        return b"%d" % message.row.size_octets
    node = None if message.is_damaged else message.summary.part(item.path)
    if node is None:
        return b"0"
    if not node.is_leaf:
        return b"%d" % (node.body_end - node.body_start)
    return b"%d" % node.decoded_octets if node.encoding in KNOWN else None


def _body(body: Body, message: Message) -> bytes | Stream:
    section = body.section
    if section == WHOLE:
        return _stretch(body, message, 0, message.row.size_octets)
    if message.is_damaged:
        return b"NIL"
    if is_in_summary(section):
        return header_octets(body, message.summary.header)
    place = message.summary.section(section.path, section.text)
    if place is None:
        return b"NIL"
    if section.names is None:
        return _stretch(body, message, *place)
    octets = _read(message, *place)
    return b"NIL" if octets is None else header_octets(body, octets)


def _stretch(item: Body | Binary, message: Message, start: int, stop: int) -> bytes | Stream:
    """Octets of the message: at once when they are few."""
    start, stop = _range(item, start, stop)
    if stop - start > INLINE_OCTETS:
        return Stretch(message.mailbox, message.row.uid, start, stop)
    octets = _read(message, start, stop)
    return b"NIL" if octets is None else responses.literal(octets)


def _range(item: Body | Binary, start: int, stop: int) -> Span:
    """What is wanted of octets `start` to `stop`."""
    if item.partial is None:
        return start, stop
    return min(start + item.partial[0], stop), min(start + sum(item.partial), stop)


def _read(message: Message, start: int, stop: int) -> bytes | None:
    if start >= stop:
        return b""
    try:
        return message.reading.body(message.mailbox, message.row.uid, start, stop)
    except (Damaged, NoSuchMessage):
        place = {"mailbox": message.mailbox, "uid": message.row.uid}
        logger.exception("message damaged", extra=place)
        return None
