"""ESEARCH: one search in many mailboxes (RFC 7377)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import contexts, keys, mailboxes, responses, results, search, sources
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.search import RefusedSearch, aware, emptying
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.keys import And
from mssmtp.imap.looking import Look, beside, looked_for
from mssmtp.imap.mailboxes import READ, Shown
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Answer, Found, Returning
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.sources import SELECTED, Source
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

_HERE = (Source(SELECTED),)


@dataclass(frozen=True, slots=True)
class Esearch(Command):
    """Every mailbox is searched with the rights of this moment; one that holds nothing, or may not
    be read, is not spoken of (RFC 7377 2.1, ATT-24)."""

    sources: tuple[Source, ...]
    returning: Returning
    key: And

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        own = session.selected_or_none
        if own is None and Source(SELECTED) in self.sources:
            raise BadSyntax("no mailbox is selected")
        here = None if own is None else own.mailbox.id
        yield from aware(session, self.key)
        if self.returning.updates:
            yield from contexts.refuse(tag)
        who, wanted = session.principal, self.sources
        found = yield from read(
            lambda reading: sources.readable(reading, who, wanted, here), is_long=True
        )
        progress = Progress(session, tag)
        for done, each in enumerate(found):
            yield from self._search(session, progress, each, tag)
            yield from progress.told(done + 1, len(found))
        return Done(b"ESEARCH completed")

    def _search(self, session: Session, progress: Progress, each: Shown, tag: bytes) -> Steps[None]:
        if each.mailbox is None:
            return
        own, returning = session.selected_or_none, self.returning
        try:
            if own is not None and own.mailbox.id == each.mailbox.id:
                selected = own
            else:
                selected = yield from read(_Opening(session.principal, each))
            with emptying(selected.view, returning):
                look = Look(session, progress, selected)
                found = yield from looked_for(look, self.key, returning)
        except NoSuchMailbox:  # deleted, or closed to us, meanwhile
            return
        if returning.saves:
            selected.view.saved = yield from beside(
                len(found), lambda: found.spans(returning.chosen(len(found)))
            )
        if found.positions and not returning.is_silent:
            name = responses.mailbox(each.name, utf8=session.dialect.utf8)
            place = b" MAILBOX %b UIDVALIDITY %d" % (name, each.mailbox.uid_validity)
            answer = Answer(selected.view, True, tag, place)
            yield from send((yield from _rendered(answer, found, returning)))


def _rendered(answer: Answer, found: Found, returning: Returning) -> Steps[bytes]:
    return (yield from beside(len(found), lambda: answer.extended(found, returning)))


@dataclass(frozen=True, slots=True)
class _Opening:
    """The messages of a mailbox as they are now; nothing of it is changed."""

    principal: Principal
    shown: Shown

    def __call__(self, reading: Reading) -> Selected:
        mailbox = self.shown.mailbox
        if mailbox is None or READ not in mailboxes.rights(reading, self.principal, mailbox):
            raise NoSuchMailbox
        view = mailboxes.viewed(reading, mailbox)
        return Selected(mailbox, True, view, mailbox.highest_modseq, mailbox.highest_modseq)


def parse(cursor: Cursor) -> Command:
    """`["IN" SP "(" source-mbox ")" SP] [return] [charset] keys`."""
    named: tuple[Source, ...] = _HERE
    if cursor.takes(b"IN "):
        named = sources.parse(cursor)
        cursor.space()
    returning = results.parse(cursor) or results.ALL
    if returning.saves and named != _HERE:
        raise BadSyntax("SAVE is for the selected mailbox alone")  # RFC 7377 2.2
    try:
        key = keys.parse(cursor)
    except Refused as refusal:
        return RefusedSearch(refusal, returning)
    if named != _HERE and search.has_numbers(key):
        raise BadSyntax("sequence numbers are for the selected mailbox alone")
    return Esearch(named, returning, key)
