"""UIDBATCHES (RFC 10022): UID ranges that cut the mailbox into batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mssmtp.errors import BadSyntax
from mssmtp.imap import responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.numbers import View
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

LEAST = 500
"""Messages of the smallest batch a client may ask for."""


@dataclass(frozen=True, slots=True)
class UidBatches(Command):
    """From the newest message down; `batches` counts from 1, None: all of them."""

    size: int
    batches: tuple[int, int] | None

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if self.size < LEAST:
            raise Refused("TOOFEW", b"Batches have 500 messages at least")
        first, last = self.batches or (1, len(session.selected.view))
        wanted = list(_ranges(session.selected.view, self.size))[first - 1 : last]
        shown = b",".join(b"%d:%d" % each for each in wanted)
        response = b" ".join(filter(None, (b"(TAG %b)" % responses.quoted(tag), shown)))
        yield from send(b"* UIDBATCHES %b\r\n" % response)
        return Done(b"UIDBATCHES completed")


def _ranges(view: View, size: int) -> Iterator[tuple[int, int]]:
    """Highest and lowest UID of each batch: no UID between 1 and the newest is left out."""
    highest = view.uids[-1] if view.uids else 0
    for stop in range(len(view), 0, -size):
        lowest = view.uids[stop - size] if stop > size else 1
        yield highest, lowest
        highest = lowest - 1


def parse(cursor: Cursor) -> UidBatches:
    """`nz-number [SP nz-number ":" nz-number]`."""
    size = cursor.number()
    batches = None
    if not cursor.is_trailing_space():
        cursor.space()
        first = cursor.number()
        cursor.expect(b":")
        batches = first, cursor.number()
        if not 1 <= first <= batches[1]:
            raise BadSyntax("batches are counted upwards from 1")
    cursor.end()
    if not size:
        raise BadSyntax("empty batches")
    return UidBatches(size, batches)
