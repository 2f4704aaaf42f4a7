"""SEARCH (RFC 3501 6.4.4) and UID SEARCH (6.4.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import keys, responses, search
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.keys import And
from mssmtp.imap.numbers import Span, after, cut
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Reading


PROGRESS_S = 5.0
"""R06: a client that hears nothing for so long may give up."""


@dataclass(frozen=True, slots=True)
class Search(Command):
    """Looks through the mailbox a stretch at a time, so that others are served between."""

    key: And
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        compiled = search.compiled(self.key, selected.view)
        found: list[tuple[int, int]] = []
        told_at = session.clock.monotonic()
        left: Sequence[Span] = compiled.spans
        while left:
            finding = _Finding(selected, compiled, tuple(next(cut(left, compiled.batch))))
            matches, position = yield from read(finding, is_long=compiled.is_long)
            found += matches
            left = after(left, position)
            if session.clock.monotonic() - told_at >= PROGRESS_S:
                told_at = session.clock.monotonic()
                yield from send(responses.untagged(b"OK", b"Still searching"))
        numbers = b"".join(b" %d" % pair[self.by_uid] for pair in found)
        yield from send(b"* SEARCH%b\r\n" % numbers)
        return Done(b"SEARCH completed")


@dataclass(frozen=True, slots=True)
class _Finding:
    """`search.find` with its arguments, for a reading thread."""

    selected: Selected
    search: search.Search
    spans: tuple[Span, ...]

    def __call__(self, reading: Reading) -> tuple[list[tuple[int, int]], int]:
        return search.find(reading, self.selected, self.search, self.spans)


def parse(cursor: Cursor) -> Search:
    """`[charset] keys`."""
    return Search(keys.parse(cursor), by_uid=False)


def parse_uid(cursor: Cursor) -> Search:
    """The same; UIDs are answered."""
    return Search(keys.parse(cursor), by_uid=True)
