"""SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8), with RETURN (RFC 4731, RFC 5182, RFC 9394)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import keys, responses, results, search, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.keys import And
from mssmtp.imap.numbers import Span, View, after, count_of, cut
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Answer, Found, Returning
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Reading


T = TypeVar("T")

PROGRESS_S = 5.0
"""R06: a client that hears nothing for so long may give up."""
LONG_ANSWER = 8_192
"""Results whose answer is put together in a reading thread, not on the loop."""


@dataclass(frozen=True, slots=True)
class Search(Command):
    """Looks through the mailbox a stretch at a time, so that others are served between."""

    key: And
    returning: Returning | None
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        return not self.by_uid

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        view = session.selected.view
        returning = self.returning or (results.ALL if session.dialect.rev2 else None)
        with emptying(view, returning):
            look = Look(session, Progress(session, tag), session.selected)
            found = yield from looked_for(look, self.key, returning)
        yield from told(Answer(view, self.by_uid, tag), b"SEARCH", found, returning)
        return Done(b"SEARCH completed")


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


@dataclass(frozen=True, slots=True)
class Look:
    """Where is searched, and who is told how far."""

    session: Session
    progress: Progress
    selected: Selected


def looked_for(look: Look, key: And, returning: Returning | None) -> Steps[Found]:
    """What matches, in the order of the mailbox; of what `returning` does not ask for, not all."""
    selected, progress = look.selected, look.progress
    compiled = search.compiled(key, selected.view, look.session.clock.now())
    if compiled.tells_modseq:  # a "CONDSTORE enabling command" (RFC 7162 3.1)
        yield from sync.become_aware(look.session)
    enough, backwards = (returning and returning.enough) or (None, False)
    groups = [tuple(group) for group in cut(compiled.spans, compiled.batch)]
    goal = count_of(compiled.spans)
    pieces: list[Found] = []
    count = done = 0
    for group in reversed(groups) if backwards else groups:
        left: Sequence[Span] = group
        within: list[Found] = []
        while left:
            finding = _Finding(selected, compiled, left)
            some, position = yield from read(finding, is_long=compiled.is_long)
            within.append(some)
            left = after(left, position)
            yield from progress.told(done + count_of(group) - count_of(left), goal)
        at = 0 if backwards else len(pieces)
        pieces[at:at] = within
        count += sum(map(len, within))
        done += count_of(group)
        if enough is not None and count >= enough:
            break
    return results.joined(pieces)


class Progress:
    """Says that work goes on, when nothing was heard for a while (R06, RFC 9585)."""

    def __init__(self, session: Session, tag: bytes) -> None:
        self._clock = session.clock
        self._tag = tag
        self._told_at = session.clock.monotonic()

    def told(self, done: int = 0, goal: int = 0) -> Steps[None]:
        """To be called between whole responses; `done` messages of `goal`, 0 when nobody knows."""
        if self._clock.monotonic() - self._told_at < PROGRESS_S:
            return
        self._told_at = self._clock.monotonic()
        # RFC 9585 4: NIL for what is not known, and never more done than there is to do.
        parts = b"%d %d" % (done, goal) if done < goal else b"NIL NIL"
        code = b'INPROGRESS ("%b" %b)' % (self._tag, parts)
        yield from send(responses.untagged(b"OK", b"Still searching", code))


def beside(results: int, work: Callable[[], T]) -> Steps[T]:
    """What `work` makes of so many results; of many beside the loop, so that nobody waits."""
    if results < LONG_ANSWER:
        return work()
    return (yield from read(lambda _: work()))


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
class _Finding:
    """`search.find` with its arguments, for a reading thread."""

    selected: Selected
    search: search.Search
    spans: Sequence[Span]

    def __call__(self, reading: Reading) -> tuple[Found, int]:
        return search.find(reading, self.selected, self.search, self.spans)


@dataclass(frozen=True, slots=True)
class RefusedSearch(Command):
    """Refused for its charset."""

    refusal: Refused
    returning: Returning | None

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
