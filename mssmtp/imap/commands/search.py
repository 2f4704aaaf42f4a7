"""SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8), with RETURN (RFC 4731, RFC 5182, RFC 9394)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import contexts, keys, results, search, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.keys import And
from mssmtp.imap.looking import Look, beside, looked_for
from mssmtp.imap.numbers import View
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Answer, Found, Returning
from mssmtp.imap.search import has_numbers
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Search(Command):
    """Looks through the mailbox a stretch at a time, so that others are served between."""

    key: And
    returning: Returning | None
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        # RFC 7162 3.2.10.2: numbers among the keys of a UID command must not move, either.
        return not self.by_uid or has_numbers(self.key)

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        returning = self.returning or (results.ALL if session.dialect.rev2 else None)
        if returning is not None and returning.updates:
            contexts.check(selected, tag)
        yield from aware(session, self.key)
        with emptying(selected.view, returning):
            look = Look(session, Progress(session, tag), selected)
            found = yield from looked_for(look, self.key, returning)
        answer = Answer(selected.view, self.by_uid, tag)
        yield from told(answer, b"SEARCH", found, returning)
        if returning is not None and returning.updates:
            yield from contexts.keep(selected, answer, self.key, found, returning.items)
        return Done(b"SEARCH completed")


def aware(session: Session, key: And) -> Steps[None]:
    """A search for MODSEQ is a "CONDSTORE enabling command" (RFC 7162 3.1)."""
    if search.has_modseq(key):
        yield from sync.become_aware(session)


@contextmanager
def emptying(view: View, returning: Returning | None) -> Iterator[None]:
    """RFC 5182 2.1: a NO to SAVE empties `$`, a BAD does not."""
    try:
        yield
    except BadSyntax:
        raise
    except MailError:
        if returning is not None and returning.saves:
            view.saved = []
        raise


def told(answer: Answer, word: bytes, found: Found, returning: Returning | None) -> Steps[None]:
    """Answer with `word`, or ESEARCH when there were options, and keep `$`."""
    if returning is None:
        yield from send((yield from beside(len(found), lambda: answer.plain(word, found))))
        return
    if returning.saves:
        saved = yield from beside(len(found), lambda: found.spans(returning.chosen(len(found))))
        answer.view.saved = saved
    if not returning.is_silent:
        line = yield from beside(len(found), lambda: answer.extended(found, returning))
        yield from send(line)


@dataclass(frozen=True, slots=True)
class RefusedSearch(Command):
    """Refused for its charset."""

    refusal: Refused
    returning: Returning | None

    @property
    def withholds_expunge(self) -> bool:
        return True

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected_or_none
        with emptying(selected.view if selected else View(), self.returning):
            raise self.refusal
        yield  # a generator, as every command


def _parse(cursor: Cursor, *, by_uid: bool) -> Command:
    returning = results.parse(cursor)
    try:
        return Search(keys.parse(cursor), returning, by_uid)
    except Refused as refusal:
        return RefusedSearch(refusal, returning)


def parse(cursor: Cursor) -> Command:
    """`[return] [charset] keys`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Command:
    """The same; UIDs are answered."""
    return _parse(cursor, by_uid=True)
