"""Octets of the messages of one batch: small ones are looked up many at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from mssmtp.imap.numbers import Span
from mssmtp.mail import MailboxId, Uid
from mssmtp.storage.model import MessageRow, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading
    from mssmtp.storage.bodies import Content

READ_COST = 1_024
"""Opening a part of a message counts as so many octets: hundreds of empty parts fill a batch too,
and a reading thread is never kept for seconds (ATT-27)."""
SMALL_OCTETS = 65_536
"""Up to this size a message is one sealed chunk: any part of it costs as much as the whole."""
PORTION_OCTETS = 524_288
"""Of messages that are looked up together, and sent together when they are sent whole (D11).

A change of thread, a snapshot and a write cost as much as fifteen letters of 4 KB.
"""


class Bodies:
    """Of the messages `rows`, asked for in their order, as far as they are asked for at all."""

    def __init__(self, reading: Reading, mailbox: MailboxId, rows: Sequence[MessageRow]) -> None:
        self.reading = reading
        self._mailbox = mailbox
        self._rows = rows
        self._at = 0
        self._looked_up_to = Uid(0)
        self._portion: dict[Uid, Content] = {}
        self._opened: tuple[Uid, bytes] = (Uid(0), b"")
        self._letters: list[int] = []
        self._others: set[Uid] = set()

    def read(self, row: MessageRow, start: int, stop: int) -> bytes:
        """Octets `start` to `stop` of the message. Raises NoSuchMessage, Damaged."""
        if row.size_octets > SMALL_OCTETS:
            self._others.add(row.uid)
            return self.reading.body(self._mailbox, row.uid, start, stop)
        if self._opened[0] != row.uid:
            self._opened = row.uid, self._open(row.uid)
        return self._opened[1][start:stop]

    def put_off(self, uid: Uid) -> None:
        """Octets of this message are read when their turn has come (`streams`)."""
        self._others.add(uid)

    def letters(self) -> Collection[int]:
        """Those of which octets were read here, or are to be (DEF-06)."""
        if not self._others:
            return self._letters
        others = ((uid, uid) for uid in self._others)
        return self.reading.letters_of(self._mailbox, others).union(self._letters)

    def _open(self, uid: Uid) -> bytes:
        if uid > self._looked_up_to:
            self._look_up(uid)
        found = self._portion.get(uid)
        if found is None:  # what is lost takes no other message with it (D10)
            raise NoSuchMessage
        octets = found.read()
        self._letters.append(found.letter)
        return octets

    def _look_up(self, uid: Uid) -> None:
        """The next portion, which begins with `uid`."""
        spans: list[Span] = []
        room = PORTION_OCTETS
        while self._at < len(self._rows) and room > 0:
            row = self._rows[self._at]
            self._at += 1
            self._looked_up_to = row.uid
            if row.uid >= uid and row.size_octets <= SMALL_OCTETS:
                room -= row.size_octets + READ_COST
                if spans and spans[-1][1] == row.uid - 1:
                    spans[-1] = spans[-1][0], row.uid
                else:
                    spans.append((row.uid, row.uid))
        self._portion = self.reading.contents(self._mailbox, spans)
