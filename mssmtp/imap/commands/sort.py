"""SORT and UID SORT (RFC 5256 3), with RETURN (RFC 5267 3)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mssmtp.errors import BadSyntax
from mssmtp.imap import keys, results, sorting
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.search import RefusedSearch, aware, emptying, told
from mssmtp.imap.effects import Steps, read
from mssmtp.imap.keys import And
from mssmtp.imap.looking import Look, looked_for
from mssmtp.imap.progress import Progress
from mssmtp.imap.responses import Refused
from mssmtp.imap.results import Answer, Found, Returning
from mssmtp.imap.search import has_numbers
from mssmtp.imap.session import Session
from mssmtp.imap.sorting import Column, Criterion
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Reading

T = TypeVar("T")

MOST_KEPT_OCTETS = 268_435_456
"""Of what is compared, for one command (D11): two million usual subjects."""
_OVERHEAD = 48
"""Of a few octets in Python."""
TURNS = 8
"""Pieces of work done in one go in a reading thread."""


@dataclass(frozen=True, slots=True)
class Sort(Command):
    """Searches, then puts what it found in order."""

    criteria: tuple[Criterion, ...]
    key: And
    returning: Returning | None
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        # RFC 7162 3.2.10.2: numbers among the keys of a UID command must not move, either.
        return not self.by_uid or has_numbers(self.key)

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        view = session.selected.view
        returning = self.returning
        progress = Progress(session, tag)
        look = Look(session, progress, session.selected)
        yield from aware(session, self.key)
        with emptying(view, returning):
            found = yield from looked_for(look, self.key, None)
            found = yield from self._in_order(session, progress, found)
        yield from told(Answer(view, self.by_uid, tag), b"SORT", found, returning)
        return Done(b"SORT completed")

    def _in_order(self, session: Session, progress: Progress, found: Found) -> Steps[Found]:
        names = tuple({criterion.name for criterion in self.criteria})
        columns: dict[str, Column] = {name: [] for name in names}
        kept = 0
        for start in range(0, len(found), sorting.BATCH):
            some = found.positions[start : start + sorting.BATCH]
            gathering = _Gathering(session, names, some)
            more = yield from read(gathering, is_long=sorting.needs_envelopes(names))
            for name, column in columns.items():
                column += more[name]
                kept += sum(map(len, more[name])) + _OVERHEAD * len(some)
            if kept > MOST_KEPT_OCTETS:
                raise Refused("LIMIT", b"Sort fewer messages at once")
            yield from progress.told(start + len(some), len(found))
        return (yield from worked(self._arranged(found, columns), progress))

    def _arranged(self, found: Found, columns: dict[str, Column]) -> Generator[None, None, Found]:
        order = yield from sorting.ordered(len(found), self.criteria, columns)
        modseqs = found.modseqs and array("Q", map(found.modseqs.__getitem__, order))
        return Found(array("I", map(found.positions.__getitem__, order)), modseqs)


@dataclass(frozen=True, slots=True)
class _Gathering:
    """`sorting.columns` with its arguments, for a reading thread."""

    session: Session
    names: tuple[str, ...]
    positions: Sequence[int]

    def __call__(self, reading: Reading) -> dict[str, Column]:
        return sorting.columns(reading, self.session.selected, self.names, self.positions)


def worked(work: Generator[None, None, T], progress: Progress) -> Steps[T]:
    """Do `work` in a reading thread, some pieces of it at a time, so that nobody waits long."""
    while True:
        done = yield from read(_some(work))
        if done:
            return done[0]
        yield from progress.told()


def _some(work: Generator[None, None, T]) -> Callable[[object], list[T]]:
    """What `work` has come to; nothing when there is more to do."""

    def turns(_: object) -> list[T]:
        try:
            for _turn in range(TURNS):
                next(work)
        except StopIteration as end:
            return [end.value]
        return []

    return turns


def _parse(cursor: Cursor, *, by_uid: bool) -> Command:
    returning = results.parse(cursor)
    if returning is not None and returning.updates:
        raise BadSyntax("no updates of sorted results")  # CONTEXT=SORT is not announced
    criteria = sorting.parse(cursor)
    cursor.space()
    try:
        return Sort(criteria, keys.parse_criteria(cursor), returning, by_uid)
    except Refused as refusal:
        return RefusedSearch(refusal, returning)


def parse(cursor: Cursor) -> Command:
    """`[return] sort-criteria SP charset SP keys`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Command:
    """The same; UIDs are answered."""
    return _parse(cursor, by_uid=True)
