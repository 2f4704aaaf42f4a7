"""STORE (RFC 3501 6.4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import flag_lines, responses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.flag_lines import Lines
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import NumberSet, Span, cut
from mssmtp.imap.responses import Refused
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import ModSeq, Uid
from mssmtp.storage.model import FlagsOperation, MessageRow

if TYPE_CHECKING:
    from mssmtp.storage import Writing
    from mssmtp.storage.flags import FlagSets
    from mssmtp.storage.images import Image

BATCH = 8_192


@dataclass(frozen=True, slots=True)
class _Flagged:
    """What became of a batch of which nobody else has changed anything."""

    before: ModSeq
    image: Image
    places: list[Span]
    sets: FlagSets


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of any other; `untold`: what somebody else changed meanwhile."""

    rows: list[MessageRow]
    untold: set[Uid]


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
        if not spans:
            return Done(b"Nothing to do")
        found = 0
        # Not all at once: every delivery of the home would wait for a mailbox of 100,000.
        for group in cut(spans, BATCH):
            found += yield from self._batch(selected, group)
        if found < _count(spans) and not self.by_uid:
            raise Refused("EXPUNGEISSUED")
        return Done(b"STORE completed")

    def _batch(self, selected: Selected, group: list[Span]) -> Steps[int]:
        """One commit and its responses; how many of the messages there were."""
        done = yield from write(lambda writing: self._store(writing, selected, group))
        yield from send(b"".join(sync.new_keywords(selected, self.flags)))
        if isinstance(done, _Flagged):
            selected.advance(done.before, done.image.modseq)
            if not self.silent:
                lines = Lines(selected, done.image, done.sets)
                yield from send(lines.of(_SHOWN[self.by_uid], group, done.places))
            return _count(group)
        if not self.silent:
            yield from send(self._responses(selected, done.rows))
        # 6.4.6: .SILENT does not hide what somebody else changed meanwhile.
        told = [row for row in done.rows if not self.silent or row.uid not in done.untold]
        selected.tell(told)
        return len(done.rows)

    def _store(self, writing: Writing, selected: Selected, group: list[Span]) -> _Flagged | _Stored:
        if _count(group) >= flag_lines.LEAST and (done := self._flag(writing, selected, group)):
            return done
        mailbox = selected.mailbox.id
        uids = [Uid(uid) for uid in selected.view.uids_of(group)]
        ranges = selected.view.uid_ranges(group)
        foreign = writing.messages(mailbox, ranges, changed_since=selected.modseq)
        untold = {row.uid for row in foreign if selected.told.get(row.uid) != row.modseq}
        return _Stored(writing.store_flags(mailbox, uids, self.operation, self.flags), untold)

    def _flag(self, writing: Writing, selected: Selected, group: list[Span]) -> _Flagged | None:
        """By the image, when the session knows all there is to know."""
        mailbox = selected.mailbox.id
        image = writing.image(mailbox)
        if image is None or image.modseq != selected.modseq:
            return None
        places = flag_lines.aligned(selected.view, group, image)
        if places is None:
            return None
        after = writing.flag(mailbox, image, places, self.operation, self.flags)
        if after is None:
            return None
        return _Flagged(image.modseq, after, places, writing.flag_sets(mailbox))

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


def _count(spans: list[Span]) -> int:
    return sum(stop - start for start, stop in spans)


_SHOWN: dict[bool, tuple[Item, ...]] = {
    False: (Simple.FLAGS,),
    True: (Simple.UID, Simple.FLAGS),
}
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
