"""The value of each FETCH item for one message (RFC 3501 7.4.2, RFC 3516 4.3, RFC 8474, RFC 8514).

Every section is cut out of the same octets, at the places the summary tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from mssmtp.errors import Damaged
from mssmtp.imap import dates, objectids, responses
from mssmtp.imap.bodies import READ_COST, Bodies
from mssmtp.imap.header_lines import header_octets, is_in_summary
from mssmtp.imap.items import Binary, BinarySize, Body, Item, Section, Simple
from mssmtp.imap.numbers import Span
from mssmtp.imap.streams import Decoded, Stream, Stretch
from mssmtp.mail import MailboxId, Uid
from mssmtp.message import stub
from mssmtp.message.preview import MAX_CHARACTERS, preview_of
from mssmtp.message.summary import Summary
from mssmtp.message.transfer import KNOWN, decoded
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

INLINE_OCTETS = 65_536
"""A part of the message up to this size is read with its batch; a larger one is streamed."""
PREVIEW_COST = 16_384
"""The same for text that is read and decoded (ATT-29)."""
WHOLE = Section()
"""`BODY[]`."""
NIL = b"NIL"


@dataclass(frozen=True, slots=True)
class Message:
    """One message while it is rendered."""

    reading: Reading
    bodies: Bodies
    mailbox: MailboxId
    number: int
    row: MessageRow
    recent: bool
    summary: Summary

    @property
    def stub(self) -> stub.Stub | None:
        """What is shown in the place of its parts, when these cannot be (D10)."""
        summary = self.summary
        if summary.is_stub:
            return stub.UNPARSABLE
        return None if summary.tree else stub.DAMAGED


def damaged(mailbox: MailboxId, uid: Uid) -> Summary:
    """In place of a summary that neither is nor can be made any more: it never keeps the other
    messages from being read (D10)."""
    return Summary(
        size_octets=0,
        sha256=sha256(b"%d %d" % (mailbox, uid)).digest(),
        envelope=stub.ENVELOPE,
        bodystructure=stub.DAMAGED.structure(0, extended=True),
        body=stub.DAMAGED.structure(0, extended=False),
        header=stub.DAMAGED.header,
        tree=b"",
    )


MISSING = damaged(MailboxId(0), Uid(0))
"""Where no summary was asked for, or the message was expunged meanwhile."""

Value = Callable[[Message], bytes | Stream | None]
"""None: nobody knows the transfer encoding; the item is left out and the command answers NO."""

_FROM_SUMMARY: dict[Item, Callable[[Summary], bytes]] = {
    Simple.ENVELOPE: lambda summary: summary.envelope,
    Simple.BODY: lambda summary: summary.body,
    Simple.BODYSTRUCTURE: lambda summary: summary.bodystructure,
    Simple.EMAILID: lambda summary: b"(%b)" % objectids.email_id(summary),
    Simple.THREADID: lambda summary: b"(%b)" % objectids.thread_id(summary),
}
FROM_ROW: dict[Item, Callable[[MessageRow], bytes]] = {
    Simple.UID: lambda row: b"%d" % row.uid,
    Simple.INTERNALDATE: lambda row: dates.render_date_time(row.internal_date_us),
    Simple.SIZE: lambda row: b"%d" % row.size_octets,
    Simple.MODSEQ: lambda row: b"(%d)" % row.modseq,
}
NEEDS_NO_SUMMARY = frozenset({Simple.FLAGS, Simple.SAVEDATE, *FROM_ROW})


def value_of(item: Item) -> Value:
    """The way to the value of `item`."""
    match item:
        case Body():
            return _way_to(item)
        case Binary():
            return partial(_binary, item)
        case BinarySize():
            return partial(_binary_size, item)
        case Simple.FLAGS:
            return _flags
        case Simple.SAVEDATE:
            return _saved
        case Simple.PREVIEW:
            return _preview
    if item in _FROM_SUMMARY:
        from_summary = _FROM_SUMMARY[item]
        return lambda message: from_summary(message.summary)
    from_row = FROM_ROW[item]
    return lambda message: from_row(message.row)


def cost_of(item: Item) -> int:
    """What looking an item up counts beside the octets it yields."""
    if isinstance(item, Body):
        return 0 if is_in_summary(item.section) else READ_COST
    if item is Simple.PREVIEW:
        return PREVIEW_COST
    # A thread's id is read out of the header section, up to 256 KiB of it.
    return READ_COST if isinstance(item, Binary) or item is Simple.THREADID else 0


def _flags(message: Message) -> bytes:
    return b"(%b)" % responses.flags(message.row.flags, recent=message.recent)


def _saved(message: Message) -> bytes:
    """RFC 8514 4.2; of what came before it was noted, INTERNALDATE is the best that is known."""
    saved_us = message.reading.saved_at(message.mailbox, message.row.uid)
    return dates.render_date_time(saved_us or message.row.internal_date_us)


def _preview(message: Message) -> bytes:
    """RFC 8970 3.1: empty when there will never be one."""
    if (shown := message.stub) is not None:
        text = " ".join(shown.text.decode().split())[:MAX_CHARACTERS]
    else:
        text = preview_of(message.summary, lambda start, stop: _read(message, start, stop) or b"")
    return responses.quoted(text.encode())


# ---------------------------------------------------------------- sections


def _way_to(body: Body) -> Value:
    """Chosen once, not once a message."""
    if body.section == WHOLE:
        return partial(_whole, body)
    if is_in_summary(body.section):
        return lambda message: header_octets(body, message.summary.header)
    return partial(_section, body)


def _section(body: Body, message: Message) -> bytes | Stream:
    section = body.section
    if (shown := message.stub) is not None:
        return _of_stub(body, message, shown)
    place = message.summary.section(section.path, section.text)
    if place is None:
        return NIL
    if section.names is None:
        return _stretch(body, message, *place)
    octets = _read(message, *place)
    return NIL if octets is None else header_octets(body, octets)


def _whole(item: Body | Binary, message: Message) -> bytes | Stream:
    """The message; one that cannot be opened is a letter of ours."""
    start, stop = _range(item, 0, message.row.size_octets)
    if stop - start > INLINE_OCTETS:
        return Stretch(message.mailbox, message.row.uid, start, stop, _letter(item))
    octets = _read(message, start, stop)
    return _letter(item) if octets is None else responses.literal(octets)


def _letter(item: Body | Binary) -> bytes:
    letter = stub.DAMAGED.letter
    return responses.literal(letter[slice(*_range(item, 0, len(letter)))])


def _of_stub(item: Body | Binary, message: Message, shown: stub.Stub) -> bytes | Stream:
    section = Section(item.path) if isinstance(item, Binary) else item.section
    path, text = section.path, section.text
    if path == (2,) and shown.has_raw and text == "":
        return _whole(item, message)
    if (path, text) in (((), "TEXT"), ((1,), "")):
        octets = shown.text
    elif text == "MIME" and (path == (1,) or (path == (2,) and shown.has_raw)):
        octets = shown.mime(path[0])
    else:
        return NIL
    return responses.literal(octets[slice(*_range(item, 0, len(octets)))])


def _stretch(item: Body | Binary, message: Message, start: int, stop: int) -> bytes | Stream:
    """Octets of the message: at once when they are few."""
    start, stop = _range(item, start, stop)
    if stop - start > INLINE_OCTETS:
        return Stretch(message.mailbox, message.row.uid, start, stop, NIL)
    octets = _read(message, start, stop)
    return NIL if octets is None else responses.literal(octets)


def _range(item: Body | Binary, start: int, stop: int) -> Span:
    """What is wanted of octets `start` to `stop`."""
    if item.partial is None:
        return start, stop
    return min(start + item.partial[0], stop), min(start + sum(item.partial), stop)


def _read(message: Message, start: int, stop: int) -> bytes | None:
    if start >= stop:
        return b""
    try:
        return message.bodies.read(message.row, start, stop)
    except (Damaged, NoSuchMessage):
        place = {"mailbox": message.mailbox, "uid": message.row.uid}
        logger.exception("message damaged", extra=place)
        return None


# ---------------------------------------------------------------- without transfer encoding


def _binary(item: Binary, message: Message) -> bytes | Stream | None:
    """RFC 3516 4.2; what has parts of its own, or is the whole message, is in no encoding."""
    if not item.path:
        return _whole(item, message)
    if (shown := message.stub) is not None:
        return _of_stub(item, message, shown)
    node = message.summary.part(item.path)
    if node is None:
        return NIL
    if not node.is_leaf:
        return _stretch(item, message, node.body_start, node.body_end)
    if node.encoding not in KNOWN:
        return None
    start, stop = _range(item, 0, node.decoded_octets)
    if node.body_end - node.body_start > INLINE_OCTETS:
        return Decoded(message.mailbox, message.row.uid, node, (start, stop))
    octets = _read(message, node.body_start, node.body_end)
    if octets is None:
        return NIL
    return responses.literal(decoded(node.encoding, octets)[start:stop], may_hold_nul=True)


def _binary_size(item: BinarySize, message: Message) -> bytes | None:
    if not item.path or (message.summary.is_stub and item.path == (2,)):
        return b"%d" % message.row.size_octets
    if (shown := message.stub) is not None:
        return b"%d" % (len(shown.text) if item.path == (1,) else 0)
    node = message.summary.part(item.path)
    if node is None:
        return b"0"
    if not node.is_leaf:
        return b"%d" % (node.body_end - node.body_start)
    return b"%d" % node.decoded_octets if node.encoding in KNOWN else None
