"""Searching a mailbox from end to end: the steps that SEARCH, SORT, THREAD and contexts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mssmtp.imap import results, search
from mssmtp.imap.effects import Steps, read
from mssmtp.imap.keys import And
from mssmtp.imap.numbers import Span, after, count_of, cut
from mssmtp.imap.progress import Progress
from mssmtp.imap.results import Found, Returning
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session

if TYPE_CHECKING:
    from mssmtp.storage import Reading

T = TypeVar("T")

LONG_ANSWER = 8_192
"""Results whose answer is put together in a reading thread, not on the loop."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where is searched; `progress` is told how far."""

    session: Session
    progress: Progress | None
    selected: Selected


def looked_for(look: Look, key: And, returning: Returning | None) -> Steps[Found]:
    """What matches, in the order of the mailbox; of what `returning` does not ask for, not all."""
    selected, progress = look.selected, look.progress
    compiled = search.compiled(key, selected.view, look.session.clock.now())
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
            if progress is not None:
                yield from progress.told(done + count_of(group) - count_of(left), goal)
        at = 0 if backwards else len(pieces)
        pieces[at:at] = within
        count += sum(map(len, within))
        done += count_of(group)
        if enough is not None and count >= enough:
            break
    return results.joined(pieces)


def beside(results: int, work: Callable[[], T]) -> Steps[T]:
    """What `work` makes of so many results; of many beside the loop, so that nobody waits."""
    if results < LONG_ANSWER:
        return work()
    return (yield from read(lambda _: work()))


@dataclass(frozen=True, slots=True)
class _Finding:
    """`search.find` with its arguments, for a reading thread."""

    selected: Selected
    search: search.Search
    spans: Sequence[Span]

    def __call__(self, reading: Reading) -> tuple[Found, int]:
        return search.find(reading, self.selected, self.search, self.spans)
