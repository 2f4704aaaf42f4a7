"""The mailbox a session has selected: what it was told, and what it counts as `\\Recent`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mssmtp.imap.numbers import Span, View
from mssmtp.imap.responses import Refused
from mssmtp.imap.streams import Places
from mssmtp.mail import ModSeq, Uid
from mssmtp.storage.flags import MAX_KEYWORDS
from mssmtp.storage.model import Mailbox, MessageRow, changeable

if TYPE_CHECKING:
    from mssmtp.imap.contexts import Context


class Recents:
    """UIDs that are `\\Recent` for this session alone (RFC 3501 2.3.2), as a few ranges."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, uid: int) -> bool:
        return bool(self._ranges) and any(start <= uid < stop for start, stop in self._ranges)

    def add(self, start: int, stop: int) -> None:
        """UIDs `start <= uid < stop` are recent from now on."""
        if start >= stop:
            return
        if self._ranges and self._ranges[-1][1] == start:
            start = self._ranges.pop()[0]
        self._ranges.append((start, stop))

    def within(self, view: View, span: Span) -> Iterator[Span]:
        """Positions of the recent messages at `span` of the view."""
        for first, end in self._ranges:
            start, stop = bisect_left(view.uids, first), bisect_left(view.uids, end)
            if max(start, span[0]) < min(stop, span[1]):
                yield max(start, span[0]), min(stop, span[1])

    def count(self, view: View) -> int:
        """How many of the messages the session knows are recent."""
        return sum(
            bisect_left(view.uids, stop) - bisect_left(view.uids, start)
            for start, stop in self._ranges
        )


@dataclass(slots=True)
class Selected:
    """One selected mailbox.

    `modseq`: news up to there were told. `gone_modseq` may lag behind: an EXPUNGE is withheld
    where RFC 3501 7.4.1 forbids it, and sequence numbers stay as the client knows them.
    `told_in_passing`: the last EXISTS stood in the answer to a command about something else.
    """

    mailbox: Mailbox
    read_only: bool
    view: View
    modseq: ModSeq
    gone_modseq: ModSeq
    recents: Recents = field(default_factory=Recents)
    keywords: frozenset[str] = frozenset()
    told: dict[Uid, ModSeq] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    rights: str = ""
    contexts: list[Context] = field(default_factory=list)
    told_in_passing: bool = False

    def may(self, right: str) -> bool:
        """Whether a letter of RFC 4314 is ours here, and EXAMINE has not laid it down."""
        return right in self.rights and not self.read_only

    def demand(self, needed: str) -> None:
        """Raises Refused when one of the letters is not ours."""
        if self.read_only:
            raise Refused("NOPERM", b"Dossier ouvert en lecture seule ; rouvrez-le")
        if not all(right in self.rights for right in needed):
            raise Refused("NOPERM")

    @property
    def is_full_of_keywords(self) -> bool:
        """True when the mailbox can hold no other keyword (RFC 9051 7.1, PERMANENTFLAGS)."""
        return len(self.keywords) >= MAX_KEYWORDS

    @property
    def permanent_flags(self) -> list[str]:
        """What the client may change for good (RFC 3501 7.1), by its rights (RFC 4314 5.2)."""
        names = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"]
        names += sorted(self.keywords)
        if not self.is_full_of_keywords:
            names.append("\\*")
        allowed = "" if self.read_only else self.rights
        may = changeable(names, allowed)
        return [name for name in names if name in may]

    def tell(self, rows: list[MessageRow]) -> None:
        """The client knows these flags already: it has set them itself, or has just read them."""
        for row in rows:
            if row.modseq > self.modseq:
                self.told[row.uid] = row.modseq

    def advance(self, before: ModSeq, after: ModSeq) -> None:
        """The session itself made the only change between `before` and `after`: no news in it."""
        if self.modseq == before:
            self.modseq = after
            if self.gone_modseq == before:
                self.gone_modseq = after
