"""The seam between the store and its database: what SQLite and PostgreSQL both have to offer.

The store speaks to the driver's own connection, and only in statements that `schema.sql` made. The
text for SQLite is also the *name* of a statement: SQLite runs it as it stands, through nothing of
ours; PostgreSQL's connection looks up its own text by it (`schema.postgres_text`). So are the few
statements around a transaction: BEGIN IMMEDIATE (one writer of all processes and nodes at a time),
BEGIN (one snapshot), SAVEPOINT job, RELEASE job, ROLLBACK TO job, ROLLBACK, COMMIT.

Rows are tuples of int, str, bytes, bool or None; a truth value may come as 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Flag
from typing import Any, Protocol

from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError

HOME_ID = "home-id"
"""Key in `meta` of what names the home: a database belongs to one."""


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Every row that is left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """One connection, used by one thread. It opens no transaction by itself."""

    @property
    def in_transaction(self) -> bool:
        """False also when the engine ended a transaction itself: lost connection, full disk."""
        ...

    def execute(self, sql: str, parameters: Mapping[str, object] = ..., /) -> Cursor:
        """Run a statement. Raises what `database.refusal` understands."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, object]], /) -> object:
        """Run a statement for each of `parameters`."""
        ...

    def close(self) -> None:
        """Let go; harmless twice."""
        ...


class Rung(Flag):
    """What bells tell of commits."""

    NOTHING = 0
    CHANGES = 1
    """There are new rows in `changes`."""
    QUEUE = 2
    """Something in the queue became due."""
    BOTH = 3


class Bell(Protocol):
    """Tells the followers of every process that something was committed."""

    def announce(self, db: Connection, rung: Rung) -> None:
        """Inside the transaction: what the engine itself delivers with the commit."""
        ...

    def ring(self, rung: Rung) -> None:
        """After the commit: what the engine does not deliver. Never raises."""
        ...

    def close(self) -> None:
        """Stop ringing."""
        ...


class Ear(Protocol):
    """Hears bells, for the one thread that waits."""

    def wait(self, seconds: float) -> Rung:
        """What rang within `seconds`. Never raises, and never returns early for long: what cannot
        listen waits all the same."""
        ...

    def wake(self) -> None:
        """End a `wait` from another thread."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Watch(Protocol):
    """Tells whether anybody has committed, of whatever process; for one thread, which never waits
    for it."""

    def mark(self) -> int | None:
        """Another number when something was committed since it was asked last; None: it cannot be
        said now. Never raises."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class Turn(AbstractContextManager[None], Protocol):
    """Queues the committers of several processes before they begin, where that is faster."""

    def close(self) -> None:
        """Let go."""
        ...


class Engine(Protocol):
    """Where a store's rows are. Made of settings alone; nothing is opened before it is needed."""

    def holds_store(self) -> bool:
        """Whether there is a store already. Raises ConfigError when that cannot be said."""
        ...

    def create(self, rows: Mapping[str, bytes]) -> None:
        """An empty store of the newest schema with these rows in `meta`. Raises ConfigError."""
        ...

    def require_whole(self) -> None:
        """Refuse files that do not belong together, before anything opens them: ConfigError."""
        ...

    def ensure_version(self) -> None:
        """Upgrade an older schema; refuse a newer one, or a database that keeps no promise (D8).

        Raises ConfigError.
        """
        ...

    def connect(self, *, writing: bool) -> Connection:
        """A new connection, for one thread."""
        ...

    def kept_open(self) -> AbstractContextManager[None]:
        """Inside, what the engine removes once nobody uses it stays."""
        ...

    def turn(self) -> Turn:
        """The committers' queue, for one committer."""
        ...

    def bell(self) -> Bell:
        """For one committer."""
        ...

    def ear(self, token: str) -> Ear:
        """For one follower; `token` is unique among the processes."""
        ...

    def watch(self) -> Watch | None:
        """For one thread; None where commits cannot be seen without waiting."""
        ...

    def scrub(self) -> None:
        """Overwrite what deleted and replaced rows held, as far as the engine can. Never raises for
        what others hold up: it is called again."""
        ...

    def unusable(self, error: Exception) -> ConfigError:
        """`error` at opening, for the administrator."""
        ...


def engine_of(settings: StoreSettings) -> Engine:
    """The engine that the settings name. Raises ConfigError: the driver is not installed."""
    if settings.database is None:
        from mssmtp.storage.database import SqliteEngine

        return SqliteEngine(settings.home)
    try:
        from mssmtp.storage.postgres import PostgresEngine
    except ImportError as error:
        raise ConfigError(
            "store.database",
            "PostgreSQL needs the driver psycopg, which is not installed",
            "Install what requirements.lock names.",
        ) from error
    return PostgresEngine(settings)


def stream(
    db: Connection, statement: str, values: Mapping[str, object] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Rows one by one, for results that do not fit into memory together."""
    streaming = getattr(db, "stream", None)  # a connection that would fetch everything has it
    rows: Iterable[tuple[Any, ...]] = (
        db.execute(statement, values or {}) if streaming is None else streaming(statement, values)
    )
    return iter(rows)


def when_replaced(db: Connection, call: Callable[[], None]) -> None:
    """Have `call` called when another server, perhaps, has taken over, before it is asked."""
    telling = getattr(db, "when_replaced", None)  # a file is never another
    if telling is not None:
        telling(call)


def take_time(db: Connection) -> None:
    """Let the statements of the present transaction last: for what a person waits for."""
    taking = getattr(db, "take_time", None)  # only who ends slow statements has it
    if taking is not None:
        taking()


__all__: Sequence[str] = (
    "HOME_ID",
    "Bell",
    "Connection",
    "Cursor",
    "Ear",
    "Engine",
    "Rung",
    "Turn",
    "Watch",
    "engine_of",
    "stream",
    "take_time",
    "when_replaced",
)
