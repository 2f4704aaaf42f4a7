"""The invariants of a store, stated once and verified batch by batch (attacks.md §2).

Nothing is repaired here. Each batch is one short snapshot of a range of rows, so that a check runs
beside a server and needs the same memory for any store. What a batch finds is looked at again in a
second snapshot: a file that goes between the snapshot and the look at the disk is no problem.
Problems name ids only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import ColumnElement, bindparam

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.storage.model import CheckReport, Verified
from mssmtp.storage.view import Row, Vault
from mssmtp.storage.views import Reading

K = TypeVar("K")
T = TypeVar("T")

MAX_PROBLEMS = 1_000
PAGE = 4_000
"""Rows of one batch."""
END = (1 << 63) - 1
"""Above every number."""

Told = Callable[[str, int, int], None]
"""Takes the name of what is being verified, how many objects are done, and about how many."""


def within(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Rows of a batch: above `after`, at most `through`."""
    return (column > bindparam("after")) & (column <= bindparam("through"))


class Claim(NamedTuple):
    """One invariant: its name, which kind of object it is about, what it says of each."""

    name: str
    of: str
    says: str


@dataclass(slots=True)
class Look(Generic[K]):
    """What one batch saw. `next`: where the next one begins, None at the end."""

    next: K | None = None
    looked: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, in words -> the name of the invariant."""

    @classmethod
    def over(
        cls,
        of: str,
        rows: Sequence[Row],
        most: int,
        key: Callable[[Row], K] = itemgetter(0),
    ) -> Look[K]:
        """A batch of `rows`, which are at most `most`, about one kind of object.

        Behind a full batch there may be more, from the `key` of its last row on.
        """
        look = cls(key(rows[-1]) if len(rows) == most else None)
        look.looked[of] = len(rows)
        return look

    def wrong(self, invariant: str, text: str) -> None:
        """A promise is broken."""
        self.problems[text] = invariant


class Part(Generic[K]):
    """A run through one kind of object, in the order of its keys."""

    name: str
    first: K
    claims: tuple[Claim, ...]

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    def total(self, view: Reading) -> int:
        """About how many objects there are, for a progress bar; 0 when that is not known."""
        return 0

    def look(self, view: Reading, after: K) -> Look[K]:
        """One batch, on the snapshot of `view`. The same again for the same `after`."""
        raise NotImplementedError


class Ask(Protocol):
    """Runs a query on a snapshot of its own and waits for it."""

    def __call__(self, query: Callable[[Reading], T], /) -> T:
        """The answer."""
        ...


def check(ask: Ask, vault: Vault, *, deep: bool, told: Told | None = None) -> CheckReport:
    """Every invariant; `deep` opens every sealed object too. At most MAX_PROBLEMS are listed."""
    parts = list(_parts(vault, deep=deep))
    looked: Counter[str] = Counter()
    problems: dict[str, str] = {}
    for part in parts:
        total = ask(part.total) if told is not None else 0
        done = 0
        for look in _looks(part, ask):
            looked.update(look.looked)
            problems.update(look.problems)
            if told is not None:
                done += look.looked[part.claims[0].of]
                told(part.name, done, max(done, total))
            if len(problems) >= MAX_PROBLEMS:
                return _report(parts, looked, problems)
    return _report(parts, looked, problems)


def _parts(vault: Vault, *, deep: bool) -> Iterator[Part[Any]]:
    from mssmtp.storage import (
        check_contents,
        check_envelopes,
        check_mailboxes,
        check_references,
        check_sealed,
        check_stations,
    )

    rooms = [
        check_mailboxes,
        check_contents,
        check_envelopes,
        check_references,
        *([check_sealed, check_stations] if deep else ()),
    ]
    for room in rooms:
        for part in room.PARTS:
            yield part(vault)


def _looks(part: Part[K], ask: Ask) -> Iterator[Look[K]]:
    """Every batch; what one finds wrong is a problem only if it is still so in a new snapshot."""
    after: K | None = part.first
    while after is not None:
        look = _one_look(part, ask, after)
        if look.problems:
            again = _one_look(part, ask, after).problems
            look.problems = {text: of for text, of in look.problems.items() if text in again}
        yield look
        after = look.next


def _one_look(part: Part[K], ask: Ask, after: K) -> Look[K]:
    """One batch. What cannot be read at all is a problem too, and the end of its part."""
    try:
        return ask(lambda view: part.look(view, after))
    except (StorageUnavailable, StorageFull):
        raise
    except Exception as error:  # of damaged rows and pages anything may come
        look: Look[K] = Look()
        kind = type(error).__name__
        look.wrong(part.claims[0].name, f"{part.name}: cannot be read to the end ({kind})")
        return look


def _report(
    parts: Sequence[Part[Any]], looked: Counter[str], problems: dict[str, str]
) -> CheckReport:
    broken = Counter(problems.values())
    verified = tuple(
        Verified(claim.name, claim.of, claim.says, looked[claim.of], broken[claim.name])
        for part in parts
        for claim in part.claims
    )
    return CheckReport(dict(looked), tuple(problems)[:MAX_PROBLEMS], verified)
