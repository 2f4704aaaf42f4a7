"""STORE (RFC 3501 6.4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import responses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.numbers import NumberSet, Span, cut
from mssmtp.imap.responses import Refused
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid
from mssmtp.storage.model import FlagsOperation, MessageRow

if TYPE_CHECKING:
    from mssmtp.storage import Writing

BATCH = 2_048


@dataclass(frozen=True, slots=True)
class Store(Command):
    """Changes flags of messages; they are permanent, keywords too."""

    numbers: NumberSet
    operation: FlagsOperation
    flags: frozenset[str]
    silent: bool
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        if selected.read_only:
            raise Refused("NOPERM", b"Mailbox is read-only")
        spans = selected.view.spans(self.numbers, by_uid=self.by_uid)
        uids = [Uid(uid) for uid in selected.view.uids_of(spans)]
        if not uids:
            return Done(b"Nothing to do")
        found = 0
        # Not all at once: every delivery of the home would wait for a mailbox of 100,000.
        for group in cut(spans, BATCH):
            found += yield from self._batch(selected, group)
        if found < len(uids) and not self.by_uid:
            raise Refused("EXPUNGEISSUED")
        return Done(b"STORE completed")

    def _batch(self, selected: Selected, group: list[Span]) -> Steps[int]:
        """One commit and its responses; how many of the messages there were."""
        uids = [Uid(uid) for uid in selected.view.uids_of(group)]
        ranges = selected.view.uid_ranges(group)
        rows, foreign = yield from write(lambda w: self._store(w, selected, uids, ranges))
        yield from send(b"".join(sync.new_keywords(selected, self.flags)))
        if not self.silent:
            yield from send(self._responses(selected, rows))
        # 6.4.6: .SILENT does not hide what somebody else changed meanwhile.
        selected.tell([row for row in rows if not self.silent or row.uid not in foreign])
        return len(rows)

    def _store(
        self, writing: Writing, selected: Selected, uids: list[Uid], ranges: list[tuple[int, int]]
    ) -> tuple[list[MessageRow], set[Uid]]:
        mailbox = selected.mailbox.id
        foreign = writing.messages(mailbox, ranges, changed_since=selected.modseq)
        untold = {row.uid for row in foreign if selected.told.get(row.uid) != row.modseq}
        return writing.store_flags(mailbox, uids, self.operation, self.flags), untold

    def _responses(self, selected: Selected, rows: list[MessageRow]) -> bytes:
        out = []
        for row in rows:
            position = selected.view.position(row.uid)
            if position is None:
                continue
            flags = responses.flags(row.flags, recent=row.uid in selected.recents)
            if self.by_uid:
                out.append(b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (position + 1, row.uid, flags))
            else:
                out.append(b"* %d FETCH (FLAGS (%b))\r\n" % (position + 1, flags))
        return b"".join(out)


_OPERATIONS: dict[str, FlagsOperation] = {"": "=", "+": "+", "-": "-"}


def _parse(cursor: Cursor, *, by_uid: bool) -> Store:
    numbers = cursor.number_set()
    cursor.space()
    sign = "+" if cursor.takes(b"+") else "-" if cursor.takes(b"-") else ""
    item = cursor.word()
    if item not in ("FLAGS", "FLAGS.SILENT"):
        raise BadSyntax("FLAGS expected")
    cursor.space()
    flags = _flags(cursor)
    cursor.end()
    return Store(numbers, _OPERATIONS[sign], flags, item.endswith("SILENT"), by_uid)


def _flags(cursor: Cursor) -> frozenset[str]:
    if cursor.sees(b"("):
        return cursor.flags()
    out = [cursor.flag()]
    while not cursor.at_end() and cursor.takes(b" "):
        out.append(cursor.flag())
    return frozenset(filter(None, out))


def parse(cursor: Cursor) -> Store:
    """`sequence-set SP store-att-flags`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Store:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True)
