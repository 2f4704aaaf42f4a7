"""Moving the rows of a home from SQLite to PostgreSQL; letters that are files stay where they are.

Every table is copied as it is, in bounded batches, and both sides are read again and compared: ids,
UIDs, modseqs, sealed values and the chain of events are the same octets afterwards. A move that was
cut short goes on where it was; rows that changed meanwhile are noticed and copied anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import conninfo
from psycopg import sql as pg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError, StorageFull, StorageUnavailable
from mssmtp.storage import moved, schema
from mssmtp.storage.committer import home_lock
from mssmtp.storage.database import SqliteEngine
from mssmtp.storage.engine import HOME_ID
from mssmtp.storage.files import sync_directory
from mssmtp.storage.postgres import HOME_ID_FILE, PostgresEngine
from mssmtp.storage.postgres_connection import Link
from mssmtp.storage.view import Row

BATCH_ROWS = 20_000
BATCH_OCTETS = 8_388_608
STREAMED_ROWS = 2_000
_TOLD_EVERY_ROWS = 1_000

_OWN_KEYS = frozenset({HOME_ID, moved.MOVED, moved.UNFINISHED})
"""Rows of `meta` that belong to one side alone."""

_DIGESTS = 1 << 256

_SERVES = "Start the server: it serves from there. `--undo` returns to the file as it was left."

Told = Callable[[str, int, int], None]
"""Table, rows read of it on either side, and how many there are on both together."""


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table that is the same on both sides. `copied` rows are of this run."""

    name: str
    rows: int
    copied: int
    digest: str


class NotTheSame(Exception):
    """A table still differs after it was copied anew: nothing is switched over."""


def move(settings: StoreSettings, now: datetime, told: Told) -> tuple[MovedTable, ...]:
    """Fill the database of `settings` with the rows of the home's SQLite file, and leave that.

    Raises ConfigError: nothing to move, somebody has the store open, or the database is another's;
    NotTheSame, StorageFull.
    """
    target = _target_of(settings)
    with _source(settings.home) as source:
        left_for = moved.value(source, moved.MOVED)
        if left_for is not None and not target.awaits_rows():
            if left_for.decode().startswith(f"{_named(settings)} on "):
                raise ConfigError("store.database", "holds the rows already", _SERVES)
            moved.require_here(source)
        target.prepare_for_rows({moved.UNFINISHED: b"1"})
        try:
            with closing(_bulk_link(target)) as link:
                tables = tuple(_Mover(source, link, table, told).run() for table in _tables())
                _set_sequences(source, link)
                link.execute("ANALYZE")
                _switch(source, link, f"{_named(settings)} on {now:%Y-%m-%d %H:%M} UTC")
        except (psycopg.Error, StorageUnavailable) as error:
            raise target.unusable(error) from error
    return tables


def undo(home: Path) -> None:
    """Take the mark off the SQLite file. What PostgreSQL has received since is not in it.

    The home forgets its id first, so that the database is no longer its own: whoever named it
    again would serve from rows of then, and give UIDs twice (D5).
    """
    with _source(home) as source:
        if moved.value(source, moved.MOVED) is None:
            raise ConfigError("store.home", "its store was not moved", "There is nothing to undo.")
        with suppress(FileNotFoundError):  # an attempt before this one was cut short
            (home / HOME_ID_FILE).rename(home / f"{HOME_ID_FILE}-undone")
        sync_directory(home)
        source.execute(_UNMARK, {"key": moved.MOVED})


def _target_of(settings: StoreSettings) -> PostgresEngine:
    if settings.database is None:
        raise ConfigError(
            "store.database",
            "is not set: there is nowhere to move to",
            'Make an empty database and write store.database = "postgresql://user@host/name".',
        )
    return PostgresEngine(settings)


def _named(settings: StoreSettings) -> str:
    """Which database, for a person."""
    given = conninfo.conninfo_to_dict(settings.database or "")
    return f"PostgreSQL, database {given.get('dbname')} at {given.get('host', 'this machine')}"


def _tables() -> list[Table]:
    return list(schema.metadata.tables.values())


# ---------------------------------------------------------------- the side that is left


@contextmanager
def _source(home: Path) -> Iterator[sqlite3.Connection]:
    """The SQLite file of the home, which nobody else has open or can open meanwhile."""
    engine = SqliteEngine(home)
    if not engine.holds_store():
        raise ConfigError("store.home", f"there is no SQLite store in {home}", "Nothing to move.")
    try:
        with home_lock(home):
            _require_unused(home)
            engine.ensure_version()
            with closing(engine.connect(writing=True)) as db:
                yield db
    except (sqlite3.Error, OSError, StorageUnavailable, StorageFull) as error:
        raise engine.unusable(error) from error


def _require_unused(home: Path) -> None:
    """Whoever has a store open holds a lock in `incoming`. Raises ConfigError."""
    for lock in (home / "incoming").glob("*/lock"):
        number = os.open(lock, os.O_WRONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                "store.home",
                f"a server or a command has the store open ({lock.parent.name})",
                "Stop the server first: the rows must not change while they move.",
            ) from error
        finally:
            os.close(number)


_MARK = schema.sql(insert(schema.meta))
_UNMARK = schema.sql(delete(schema.meta).where(schema.meta.c.key == bindparam("key")))


def _switch(source: sqlite3.Connection, link: Link, where: str) -> None:
    """The old side is closed before the new one opens; a cut in between leaves both closed."""
    if moved.value(source, moved.MOVED) is None:
        source.execute(_MARK, {"key": moved.MOVED, "value": where.encode()})
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    link.execute("DELETE FROM meta WHERE key = %s", (moved.UNFINISHED,))


# ---------------------------------------------------------------- the side that is filled


def _bulk_link(target: PostgresEngine) -> Link:
    link = target.link(writing=True)
    link.execute(
        "SET statement_timeout TO 0; SET lock_timeout TO 0;"
        " SET idle_in_transaction_session_timeout TO 0",
        prepare=False,
    )
    link.patience_s = None
    return link


def _set_sequences(source: sqlite3.Connection, link: Link) -> None:
    """Numbers are never used twice, also those of rows that are gone."""
    for table in _tables():
        if not table.dialect_options["sqlite"]["autoincrement"]:
            continue
        row = source.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)
        ).fetchone()
        column = next(iter(table.primary_key.columns)).name
        last = int(row[0]) if row else 0
        link.execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s, %s)",
            (f"public.{table.name}", column, max(last, 1), last > 0),
        )


class _Mover:
    """One table."""

    def __init__(self, source: sqlite3.Connection, link: Link, table: Table, told: Told) -> None:
        self._source, self._link, self._table, self._told = source, link, table, told
        self._columns = list(table.columns)
        self._key = [self._columns.index(column) for column in table.primary_key.columns]
        self._booleans = [i for i, c in enumerate(self._columns) if isinstance(c.type, Boolean)]
        self._name = pg.Identifier(table.name)
        counted = schema.sql(select(func.count()).select_from(table))
        self._expected = 2 * int(source.execute(counted).fetchone()[0])
        self._read = 0

    def run(self) -> MovedTable:
        """Copy what is missing, then compare; a difference is copied anew, once."""
        for is_second in (False, True):
            if is_second or self._table is schema.meta:
                self._clear()
            self._read = 0
            ours = _Digest()
            is_meta = self._table is schema.meta  # few rows, and two that are not of the source
            copied = self._copy(ours, None if is_meta else self._last_key())
            theirs = _Digest()
            for row in self._counted(self._arrived()):
                theirs.add(row)
            self._told(self._table.name, self._read, self._read)
            if ours == theirs:
                return MovedTable(self._table.name, ours.rows, copied, ours.hex)
        raise NotTheSame(self._table.name)

    def _clear(self) -> None:
        if self._table is schema.meta:
            own = list(_OWN_KEYS)
            self._link.execute("DELETE FROM meta WHERE key <> ALL (%s)", (own,))
        else:
            self._link.execute(pg.SQL("TRUNCATE {}").format(self._name))

    def _copy(self, digest: _Digest, last: Row | None) -> int:
        """Send the rows behind `last`, in the order of their keys; `digest` takes in all."""
        copied = 0
        for batch in self._batches(digest, last):
            with self._link.cursor() as cursor, cursor.copy(self._copy_statement()) as copy:
                copy.set_types([_pg_type(column.type) for column in self._columns])
                for row in batch:
                    copy.write_row(row)
            copied += len(batch)
        return copied

    def _batches(self, digest: _Digest, last: Row | None) -> Iterator[list[Row]]:
        batch: list[Row] = []
        octets = 0
        for row in self._counted(self._rows()):
            digest.add(row)
            if last is not None and self._key_of(row) <= last:
                continue
            batch.append(row)
            octets += sum(len(value) for value in row if isinstance(value, bytes))
            if octets >= BATCH_OCTETS or len(batch) >= BATCH_ROWS:
                yield batch
                batch, octets = [], 0
        if batch:
            yield batch

    def _rows(self) -> Iterator[Row]:
        """Of the source, by key, as PostgreSQL will give them back."""
        ordered = select(self._table).order_by(*self._table.primary_key.columns)
        for row in self._source.execute(schema.sql(ordered)):
            if self._booleans:
                values = list(row)
                for index in self._booleans:
                    if values[index] is not None:
                        values[index] = bool(values[index])
                row = tuple(values)
            if not self._is_own(row):
                yield row

    def _arrived(self) -> Iterator[Row]:
        columns = pg.SQL(", ").join(pg.Identifier(c.name) for c in self._columns)
        statement = pg.SQL("SELECT {} FROM {}").format(columns, self._name)
        with self._link.transaction(), self._link.cursor("arrived") as cursor:
            cursor.itersize = STREAMED_ROWS
            for row in cursor.execute(statement, binary=True):
                if not self._is_own(row):
                    yield row

    def _is_own(self, row: Row) -> bool:
        return self._table is schema.meta and row[0] in _OWN_KEYS

    def _counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._read += 1
            if self._read % _TOLD_EVERY_ROWS == 0:
                self._told(self._table.name, self._read, self._expected)
            yield row

    def _key_of(self, row: Row) -> Row:
        return tuple(row[index] for index in self._key)

    def _last_key(self) -> Row | None:
        """Where an unfinished move stopped: batches arrive in the order of the keys."""
        order = [
            pg.SQL('{} COLLATE "C" DESC' if isinstance(c.type, Text) else "{} DESC").format(
                pg.Identifier(c.name)
            )
            for c in self._table.primary_key.columns
        ]
        columns = pg.SQL(", ").join(pg.Identifier(c.name) for c in self._table.primary_key.columns)
        statement = pg.SQL("SELECT {} FROM {} ORDER BY {} LIMIT 1").format(
            columns, self._name, pg.SQL(", ").join(order)
        )
        return self._link.execute(statement, binary=True).fetchone()

    def _copy_statement(self) -> pg.Composed:
        columns = pg.SQL(", ").join(pg.Identifier(c.name) for c in self._columns)
        return pg.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(self._name, columns)


def _pg_type(type_: object) -> str:
    match type_:
        case Boolean():
            return "bool"
        case LargeBinary():
            return "bytea"
        case BigInteger():
            return "int8"
        case Integer():
            return "int4"
        case _:
            return "text"


class _Digest:
    """Of rows in any order: the sum of the digests of each. No two rows of a table are equal."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, row: Row) -> None:
        """Take in one row."""
        self.rows += 1
        self._sum += int.from_bytes(hashlib.sha256(b"".join(_octets(row))).digest(), "big")

    @property
    def hex(self) -> str:
        """For a report."""
        return f"{self._sum % _DIGESTS:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Digest) and (self.rows, self.hex) == (other.rows, other.hex)

    __hash__ = None  # type: ignore[assignment]


def _octets(row: Row) -> Iterator[bytes]:
    """Type, length and value of each column: no two rows have the same octets."""
    for value in row:
        if value is None:
            yield b"n"
        elif isinstance(value, bool | int):
            yield b"i%d," % value
        elif isinstance(value, str):
            text = value.encode()
            yield b"s%d,%b" % (len(text), text)
        else:
            yield b"b%d," % len(value)
            yield value
