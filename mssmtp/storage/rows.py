"""Rows that nobody reads before their commit, written table by table when all jobs have run.

An accepted letter is ten rows in seven tables. Written one by one they are ten statements for every
letter, each of which gives the interpreter away and has to win it back from the event loop; for a
group of letters they are seven statements. So what a job looks up in other tables must not have
them written job by job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.storage.database import refusal
from mssmtp.storage.engine import Connection
from mssmtp.storage.keys import OwnerMark
from mssmtp.storage.model import Owner
from mssmtp.storage.schema import tables_in


class RowsRefused(Exception):
    """The engine does not take a row; whose it is of several jobs' is not known."""


class Mark(NamedTuple):
    """Where a job began."""

    added: int
    written: int
    head: tuple[int, bytes, int] | None


class Rows:
    """The rows of one transaction, in the order in which they were added.

    `head` is the last ledger event as the jobs so far have left it; `owner_ids` and `marks` are the
    owners and the marks of their keys that they have looked up, `suspended` the domains.
    """

    __slots__ = ("_added", "_db", "_tables", "_written", "head", "marks", "owner_ids", "suspended")

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._added: list[tuple[str, Mapping[str, object]]] = []
        self._written = 0
        self._tables: set[str] = set()
        """Of what is not written yet."""
        self.head: tuple[int, bytes, int] | None = None
        self.owner_ids: dict[Owner, int] = {}
        self.marks: dict[int, OwnerMark] = {}
        self.suspended: frozenset[str] | None = None

    def add(self, statement: str, values: Mapping[str, object]) -> int:
        """Write this row before anybody reads its table. Its place, for `waits`."""
        self._added.append((statement, values))
        self._tables |= tables_in(statement)
        return len(self._added) - 1

    def waits(self, place: int) -> bool:
        """The row is not written yet: its values may be changed."""
        return place >= self._written

    def mark(self) -> Mark:
        """To be given to `back` when what follows is undone."""
        return Mark(len(self._added), self._written, self.head)

    def back(self, mark: Mark) -> None:
        """The engine has undone everything since `mark`: also what was written of earlier rows."""
        del self._added[mark.added :]
        self._written = mark.written
        waiting = (tables_in(statement) for statement, _ in self._added[self._written :])
        self._tables = set().union(*waiting)
        self.head = mark.head
        self._forget()

    def before(self, statement: str) -> None:
        """Hand the engine what it does not have yet, if any of it is in a table that `statement`
        names. Raises RowsRefused."""
        if self._tables and not self._tables.isdisjoint(tables_in(statement)):
            self.write()

    def stir(self, statement: str) -> None:
        """Before a job changes anything by `statement`, a key perhaps. Raises RowsRefused."""
        self.before(statement)
        self._forget()

    def _forget(self) -> None:
        self.owner_ids.clear()
        self.marks.clear()
        self.suspended = None

    def write(self) -> None:
        """Hand the engine what it does not have yet. Raises RowsRefused."""
        if self._written == len(self._added):
            return
        tables: dict[str, list[Mapping[str, object]]] = {}
        for statement, values in self._added[self._written :]:
            tables.setdefault(statement, []).append(values)
        try:
            for statement, rows in tables.items():
                self._db.executemany(statement, rows)
        except Exception as error:
            answer = refusal(error)
            if answer is error and not isinstance(error, (StorageFull, StorageUnavailable)):
                raise RowsRefused from error
            raise
        self._written = len(self._added)
        self._tables.clear()
