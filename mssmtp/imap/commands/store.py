"""STORE (RFC 3501 6.4.6), and on the condition of RFC 7162 3.1.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import flag_lines, mailboxes, responses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.flag_lines import Lines
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import NumberSet, Span, compress, count_of, cut
from mssmtp.imap.responses import Refused
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import ModSeq, Uid
from mssmtp.storage.model import SYSTEM_FLAGS, FlagsOperation, MessageRow, changeable

if TYPE_CHECKING:
    from mssmtp.storage import Writing
    from mssmtp.storage.flags import FlagSets
    from mssmtp.storage.images import Image

BATCH = 16_384
_SEEN_BY_A_PERSON = ("\\seen", "$mdnsent")
"""DEF-06. A client sets `$MDNSent` when it has shown the message and asked about the notice."""


@dataclass(frozen=True, slots=True)
class _Flagged:
    """What became of a batch of which nobody else has changed anything."""

    before: ModSeq
    image: Image
    places: list[Span]
    sets: FlagSets


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of any other; `untold`: what somebody else changed meanwhile. `modified` were
    left alone: they have changed since the modseq of the command."""

    rows: list[MessageRow]
    untold: set[Uid]
    modified: list[MessageRow]


@dataclass(frozen=True, slots=True)
class Store(Command):
    """Changes flags of messages; they are permanent, keywords too."""

    numbers: NumberSet
    operation: FlagsOperation
    flags: frozenset[str]
    silent: bool
    by_uid: bool
    unchanged_since: ModSeq | None = None

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        self._permit(selected, selected.rights)
        spans = selected.view.spans(self.numbers, by_uid=self.by_uid)
        if not spans:
            return Done(b"Nothing to do")
        if self.unchanged_since is not None:
            yield from sync.become_aware(session)
        # RFC 7162 3.2: what happened before the modseqs that are shown now is told, too.
        session.is_changed |= session.dialect.modseqs
        found = 0
        modified: list[Uid] = []
        # Not all at once: every delivery of the home would wait for a mailbox of 100,000.
        for group in cut(spans, BATCH):
            found += yield from self._batch(session, group, modified)
        code = self._modified(selected, modified)
        if found < count_of(spans) and not self.by_uid:
            raise Refused(code or "EXPUNGEISSUED", b"Some of these messages no longer exist")
        return Done(b"STORE completed", code.encode("ascii"))

    def _permit(self, selected: Selected, rights: str) -> None:
        """Raises Refused. What the rights allow is done, also where they do not allow all of it:
        clients make little of a NO (RFC 4314 4)."""
        selected.demand("")
        # Replacing by nothing takes away what may be taken away.
        meant = (*self.flags, *(SYSTEM_FLAGS if self.operation == "=" else ()))
        if meant and not changeable(meant, rights):
            raise Refused("NOPERM")

    def _batch(self, session: Session, group: list[Span], modified: list[Uid]) -> Steps[int]:
        """One commit and its responses; how many of the messages there were."""
        selected = session.selected
        plain = not session.dialect.modseqs and not session.dialect.uids_only
        quick = plain and count_of(group) >= flag_lines.LEAST

        def job(writing: Writing) -> tuple[_Flagged | _Stored, frozenset[str]]:
            rights = mailboxes.demand_still(writing, session.principal, selected.mailbox, "")
            self._permit(selected, rights)
            given = changeable(self.flags, rights)
            done = self._flag(writing, selected, group, rights) if quick else None
            if done is not None:
                self._note(writing, session, group, given)
                return done, given
            stored = self._store(writing, selected, group, rights)
            spans = selected.view.among([row.uid for row in stored.rows], group)
            self._note(writing, session, spans, given)
            return stored, given

        done, given = yield from write(job)
        # Thunderbird takes `$Forwarded` away from what never had it: no keyword comes of that.
        if self.operation != "-":
            yield from send(b"".join(sync.new_keywords(selected, given)))
        if isinstance(done, _Flagged):
            selected.advance(done.before, done.image.modseq)
            if not self.silent:
                lines = Lines(selected, done.image, done.sets)
                yield from send(lines.of(_SHOWN[self.by_uid], group, done.places))
            return count_of(group)
        yield from send(self._responses(session, done))
        modified += [row.uid for row in done.modified]
        # 6.4.6: .SILENT does not hide what somebody else changed meanwhile.
        told = [row for row in done.rows if not self.silent or row.uid not in done.untold]
        selected.tell(told if not session.dialect.modseqs else [*done.rows, *done.modified])
        return len(done.rows) + len(done.modified)

    def _note(
        self, writing: Writing, session: Session, spans: list[Span], given: frozenset[str]
    ) -> None:
        """In the commit that says so: another worker may move them away with the next one."""
        if self.operation == "-" or not any(flag.lower() in _SEEN_BY_A_PERSON for flag in given):
            return
        selected = session.selected
        letters = writing.letters_of(selected.mailbox.id, selected.view.uid_ranges(spans))
        writing.note_read(session.principal.account, selected.mailbox.bal, letters, "lu")

    def _modified(self, selected: Selected, uids: list[Uid]) -> str:
        """MODIFIED, with numbers as the command has them (RFC 7162 3.1.3)."""
        if not uids:
            return ""
        positions = (selected.view.position(uid) for uid in uids)
        numbers = uids if self.by_uid else [at + 1 for at in positions if at is not None]
        return "MODIFIED " + compress(numbers).decode("ascii")

    def _store(
        self, writing: Writing, selected: Selected, group: list[Span], rights: str
    ) -> _Stored:
        mailbox = selected.mailbox.id
        uids = [Uid(uid) for uid in selected.view.uids_of(group)]
        ranges = selected.view.uid_ranges(group)
        foreign = writing.messages(mailbox, ranges, changed_since=selected.modseq)
        untold = {row.uid for row in foreign if selected.told.get(row.uid) != row.modseq}
        modified: list[MessageRow] = []
        if self.unchanged_since is not None:
            since = self.unchanged_since
            found = writing.messages(mailbox, ranges, changed_since=since)
            modified = [row for row in found if selected.view.position(row.uid) is not None]
            left = {row.uid for row in modified}
            uids = [uid for uid in uids if uid not in left]
        change = (self.operation, self.flags, rights)
        rows = writing.store_flags(mailbox, uids, *change) if uids else []
        return _Stored(rows, untold, modified)

    def _flag(
        self, writing: Writing, selected: Selected, group: list[Span], rights: str
    ) -> _Flagged | None:
        """By the image, when the session knows all there is to know."""
        mailbox = selected.mailbox.id
        image = writing.image(mailbox)
        if image is None or image.modseq != selected.modseq:
            return None
        places = flag_lines.aligned(selected.view, group, image)
        if places is None:
            return None
        after = writing.flag(mailbox, image, places, self.operation, self.flags, rights)
        if after is None:
            return None
        return _Flagged(image.modseq, after, places, writing.flag_sets(mailbox))

    def _responses(self, session: Session, done: _Stored) -> bytes:
        """A client that knows modseqs needs the new ones of silent changes, too (RFC 7162 3.1.3),
        and learns why the others were left alone."""
        selected, aware = session.selected, session.dialect.modseqs
        shown = {row.uid for row in done.modified} | done.untold if aware else set()
        out = []
        for row in sorted([*done.rows, *done.modified], key=lambda row: row.uid):
            position = selected.view.position(row.uid)
            if position is None or (self.silent and not aware):
                continue
            if aware or self.by_uid:
                flags = not self.silent or row.uid in shown
                out.append(sync.changed(session, position, row, flags=flags))
            else:
                recent = row.uid in selected.recents
                flag_list = responses.flags(row.flags, recent=recent)
                out.append(b"* %d FETCH (FLAGS (%b))\r\n" % (position + 1, flag_list))
        return b"".join(out)


_SHOWN: dict[bool, tuple[Item, ...]] = {
    False: (Simple.FLAGS,),
    True: (Simple.UID, Simple.FLAGS),
}
_OPERATIONS: dict[str, FlagsOperation] = {"": "=", "+": "+", "-": "-"}


def _parse(cursor: Cursor, *, by_uid: bool) -> Store:
    numbers = cursor.number_set()
    cursor.space()
    unchanged_since = _modifiers(cursor) if cursor.sees(b"(") else None
    sign = "+" if cursor.takes(b"+") else "-" if cursor.takes(b"-") else ""
    item = cursor.word()
    if item not in ("FLAGS", "FLAGS.SILENT"):
        raise BadSyntax("FLAGS expected")
    cursor.space()
    flags = _flags(cursor)
    cursor.end()
    silent = item.endswith("SILENT")
    return Store(numbers, _OPERATIONS[sign], flags, silent, by_uid, unchanged_since)


def _modifiers(cursor: Cursor) -> ModSeq:
    """`"(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")" SP`."""
    cursor.expect(b"(UNCHANGEDSINCE ")
    modseq = cursor.modseq()
    cursor.expect(b") ")
    return modseq


def _flags(cursor: Cursor) -> frozenset[str]:
    if cursor.sees(b"("):
        return cursor.flags()
    out = [cursor.flag()]
    while not cursor.at_end() and cursor.takes(b" "):
        out.append(cursor.flag())
    return frozenset(filter(None, out))


def parse(cursor: Cursor) -> Store:
    """`sequence-set [SP store-modifiers] SP store-att-flags`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Store:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True)
