"""FETCH (RFC 3501 6.4.5): which messages, and what of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import items, showing, sync, vanished
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.numbers import NumberSet, Span, count_of, part_of
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Page
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.vanished import Known, Range
from mssmtp.mail import ModSeq

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class Modifiers:
    """Which of the messages that are named are shown (RFC 4466 2.4)."""

    changed_since: ModSeq | None = None
    vanished: bool = False
    """Those that were expunged since are told, too (RFC 7162 3.2.6)."""
    page: Page | None = None
    """Of the others only these (RFC 9394 3.3)."""


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """`UID FETCH` always shows the UID (6.4.8)."""

    numbers: NumberSet
    items: tuple[Item, ...]
    by_uid: bool
    modifiers: Modifiers = Modifiers()

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        spans = selected.view.spans(self.numbers, by_uid=self.by_uid)
        if self.modifiers.vanished:
            yield from self._tell_vanished(session)
        if Simple.MODSEQ in self.items:
            yield from sync.become_aware(session)
        if (since := self.modifiers.changed_since) is not None:
            spans = yield from _changed(selected, spans, since)
        if (page := self.modifiers.page) is not None:
            spans = part_of(spans, page.of(count_of(spans)))
        told = yield from showing.show(session, self.items, spans)
        if told.is_undecodable:
            raise Refused("UNKNOWN-CTE")
        if told.missing and not self.by_uid:
            raise Refused("EXPUNGEISSUED")
        return Done(b"FETCH completed")

    def _tell_vanished(self, session: Session) -> Steps[None]:
        """VANISHED (EARLIER), before any FETCH (RFC 7162 3.2.6)."""
        if not session.dialect.vanished:
            raise BadSyntax("ENABLE QRESYNC first")
        selected = session.selected
        known = Known(self.modifiers.changed_since or ModSeq(0), self.numbers)

        def query(reading: Reading) -> list[Range]:
            there = reading.mailbox_by_id(selected.mailbox.id) or selected.mailbox
            mailbox = replace(there, part=selected.mailbox.part)
            return vanished.earlier(reading, mailbox, selected.view, known)

        gone = yield from read(query)
        yield from send(b"".join(vanished.responses(gone, earlier=True)))


def show_changed(session: Session, known: Known) -> Steps[None]:
    """What a client that has selected the mailbox does not know of its messages (3.2.5.1)."""
    view = session.selected.view
    spans = [(0, len(view))] if known.uids is None else view.spans(known.uids, by_uid=True)
    changed = yield from _changed(session.selected, spans, known.modseq)
    yield from showing.show(session, (Simple.UID, Simple.FLAGS, Simple.MODSEQ), changed)


LARGE = 50_000
"""Messages of a mailbox that is looked through for long."""


def _changed(selected: Selected, spans: Sequence[Span], since: ModSeq) -> Steps[list[Span]]:
    """What of `spans` has a modseq above `since` (RFC 7162 3.1.4.1)."""
    mailbox, view = selected.mailbox.id, selected.view
    changed = yield from read(
        lambda reading: view.among(reading.changed_uids(mailbox, since), spans),
        is_long=len(view) > LARGE,
    )
    return changed


def _parse(cursor: Cursor, *, by_uid: bool) -> Fetch:
    numbers = cursor.number_set()
    cursor.space()
    wanted = items.parse(cursor)
    modifiers = _modifiers(cursor, by_uid=by_uid)
    cursor.end()
    if modifiers.changed_since is not None and Simple.MODSEQ not in wanted:
        wanted = (*wanted, Simple.MODSEQ)
    if by_uid and Simple.UID not in wanted:
        wanted = (Simple.UID, *wanted)
    return Fetch(numbers, wanted, by_uid, modifiers)


def _modifiers(cursor: Cursor, *, by_uid: bool) -> Modifiers:
    """`[SP "(" fetch-modifier *(SP fetch-modifier) ")"]`, each at most once; VANISHED and PARTIAL
    for UIDs only, VANISHED only beside CHANGEDSINCE (RFC 7162 3.2.6, RFC 9394 3.3)."""
    if not cursor.sees(b" ("):
        return Modifiers()
    cursor.space()
    names: list[str] = []
    since: ModSeq | None = None
    page: Page | None = None

    def modifier() -> None:
        nonlocal since, page
        names.append(cursor.word())
        if names[-1] == "CHANGEDSINCE":
            cursor.space()
            since = cursor.modseq()
        elif names[-1] == "PARTIAL" and by_uid:
            cursor.space()
            page = Page.parse(cursor)
        elif names[-1] != "VANISHED" or not by_uid:
            raise BadSyntax("unknown fetch modifier")

    cursor.listed(modifier)
    if len(set(names)) < len(names):
        raise BadSyntax("a fetch modifier twice")
    if "VANISHED" in names and since is None:
        raise BadSyntax("VANISHED needs CHANGEDSINCE")
    return Modifiers(since, "VANISHED" in names, page)


def parse(cursor: Cursor) -> Fetch:
    """`sequence-set SP fetch-items`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Fetch:
    """The same with UIDs."""
    return _parse(cursor, by_uid=True)
