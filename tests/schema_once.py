"""The schema of a new store, worked out once per process and then repeated, statement by statement.

Every test that makes a store would otherwise have the migration tool read all versions and compile
all tables again: fifty milliseconds of processor time, a thousand times. Only an empty database
gets what is remembered; a store of an older release goes through the migrations themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from mssmtp.storage import database, postgres

MIGRATIONS = database.run_migrations
"""The real ones."""

_TABLES = {
    "sqlite": "SELECT count(*) FROM sqlite_schema",
    "postgresql": "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
}
_ONLY_LOOKS = re.compile(r"\s*(SELECT|PRAGMA)\b", re.IGNORECASE)
_Statement = tuple[str, Any]


class Remembered:
    """What the migrations said to an empty database, by engine."""

    def __init__(self) -> None:
        self._said: dict[str, list[_Statement]] = {}

    def run(self, connection: Connection) -> None:
        """In place of `database.run_migrations`."""
        engine = connection.dialect.name
        if connection.exec_driver_sql(_TABLES[engine]).scalar_one():
            MIGRATIONS(connection)
        elif engine in self._said:
            for statement, values in self._said[engine]:
                connection.exec_driver_sql(statement, values or None)
        else:
            with _heard(connection) as said:
                MIGRATIONS(connection)
            self._said[engine] = said


@contextmanager
def _heard(connection: Connection) -> Iterator[list[_Statement]]:
    said: list[_Statement] = []

    def listen(_c: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if not _ONLY_LOOKS.match(statement):
            said.append((statement, values))

    event.listen(connection, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        event.remove(connection, "before_cursor_execute", listen)


@pytest.fixture(scope="session", autouse=True)
def schema_once() -> Iterator[None]:
    """For every store that this process makes."""
    remembered = Remembered()
    with pytest.MonkeyPatch.context() as patch:
        for module in (database, postgres):
            patch.setattr(module, "run_migrations", remembered.run)
        yield
