"""A connection to PostgreSQL that heals itself, and waits for nothing longer than it may.

Only where a transaction begins may a lost connection be replaced: what ran before on it is undone
then, and nobody was answered. A COMMIT that was not answered stays a failure whatever became of it:
the caller tells a temporary trouble, and the letter may come again (D1).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from mssmtp.errors import ConfigError, StorageFull, StorageUnavailable
from mssmtp.storage.schema import postgres_text

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_LOCK = 0x6D73736D74700001
"""Advisory lock of who may write: one committer of all processes and nodes at a time."""

PATIENCE_S = 7.0
"""How long one statement may take, a second less than an answer of the store (CL-79)."""

STREAMED_ROWS = 64
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0
_PREPARED = 1_000

# READ COMMITTED for writers: the snapshot of each statement is taken once the lock is held. One
# snapshot for the transaction would be taken by the statement that waits for the lock, and be old.
_CONTROL: Mapping[str, bytes] = {
    "BEGIN": b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "BEGIN IMMEDIATE": b"BEGIN; SELECT pg_advisory_xact_lock(%d)" % COMMIT_LOCK,
    "SAVEPOINT job": b"SAVEPOINT job",
    "RELEASE job": b"RELEASE job",
    "ROLLBACK TO job": b"ROLLBACK TO job",
    "ROLLBACK": b"ROLLBACK",
    "COMMIT": b"COMMIT",
    "NOTIFY mssmtp, 'changes'": b"NOTIFY mssmtp, 'changes'",
    "NOTIFY mssmtp, 'queue'": b"NOTIFY mssmtp, 'queue'",
}
_LOST_STATES = frozenset(
    {
        "0A000",  # a newer release upgraded the tables under a prepared statement
        "25006",  # read only: this server is a standby now
        "25P03",  # idle in transaction too long
        "25P04",  # transaction too long
    }
)


class _Whole(NumericBinaryLoader):
    """Sums of BIGINT are NUMERIC there; every number of ours is whole."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


class Link(psycopg.Connection[tuple[Any, ...]]):
    """The driver's connection, with an end to every wait: a server that was stopped, or a network
    that lost the connection, says nothing that a time-out of the server could end."""

    patience_s: float | None = PATIENCE_S

    def wait(
        self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None
    ) -> T:
        """Raises OperationalError after `patience_s`; the connection is of no use any more."""
        return super().wait(gen, interval, self.patience_s if timeout is None else timeout)


def prepare(link: Link) -> None:
    """Types as the store uses them, statements parsed once."""
    link.prepare_threshold = 1
    link.prepared_max = _PREPARED
    link.adapters.register_dumper(int, Int8BinaryDumper)
    link.adapters.register_loader("numeric", _Whole)


def meaning(error: psycopg.Error, link: Link | None) -> Exception:
    """StorageFull, StorageUnavailable, or `error` itself, which is a bug of ours (D9, CL-79)."""
    if isinstance(error, errors.DiskFull):
        return StorageFull()
    is_lost = (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        or error.sqlstate in _LOST_STATES
        or link is None
        or link.closed
    )
    if not is_lost:
        return error
    # The server's own words: they name hosts and causes, never values.
    said = error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
    logger.error("the database cannot be used: %s", said, extra={"sqlstate": error.sqlstate})
    return StorageUnavailable(f"the database: {said}")


class PostgresConnection:
    """What the store sees of PostgreSQL (`engine.Connection`). `open` makes a new link."""

    def __init__(self, open: Callable[[], Link]) -> None:
        self._open = open
        self._pause_s = 0.0
        self._not_before_s = 0.0
        self._warnings = 0
        self._streams = 0
        self._tell_replaced: Callable[[], None] = lambda: None
        self._link: Link | None = self._opened()

    @property
    def in_transaction(self) -> bool:
        """False when the connection is lost: the server has undone everything, or will."""
        link = self._link
        return link is not None and link.pgconn.transaction_status in (
            pq.TransactionStatus.ACTIVE,
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
        )

    def execute(
        self, sql: str, parameters: Mapping[str, object] | None = None, /
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run the statement that `schema.sql` named so, or one around a transaction."""
        control = _CONTROL.get(sql)
        if control is not None:
            return self._controlled(sql, control)
        link = self._live()
        try:
            return link.execute(postgres_text(sql), parameters, binary=True)
        except psycopg.Error as error:
            raise self._failure(error) from error

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, object]], /) -> None:
        """Run a statement for each of `parameters`, without waiting in between."""
        link = self._live()
        try:
            with link.cursor() as cursor:
                cursor.executemany(postgres_text(sql), parameters)
        except psycopg.Error as error:
            raise self._failure(error) from error

    def stream(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows as they are fetched, a few at a time: `execute` takes them all at once."""
        link = self._live()
        try:
            self._streams += 1
            with link.cursor(f"rows_{self._streams}") as cursor:
                cursor.itersize = STREAMED_ROWS
                yield from cursor.execute(postgres_text(sql), parameters, binary=True)
        except psycopg.Error as error:
            raise self._failure(error) from error

    def when_replaced(self, call: Callable[[], None]) -> None:
        """Have `call` called with every new link: a server that took over may lack commits."""
        self._tell_replaced = call

    def take_time(self) -> None:
        """No statement of the present transaction is late any more: checks, long reports."""
        link = self._live()
        try:
            link.execute(b"SET LOCAL statement_timeout = 0")
        except psycopg.Error as error:
            raise self._failure(error) from error
        link.patience_s = None

    def close(self) -> None:
        """Let go; a transaction that is open is undone."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _controlled(self, name: str, text: bytes) -> psycopg.Cursor[tuple[Any, ...]]:
        if name.startswith("BEGIN"):
            return self._begin(text)
        link = self._live()
        self._warnings = 0
        try:
            cursor = link.execute(text, prepare=False)
        except psycopg.Error as error:
            raise self._failure(error) from error
        if name == "COMMIT" and (cursor.statusmessage != "COMMIT" or self._warnings):
            # A failed transaction is rolled back without an error. A warning says that the wait
            # for the standbys was given up: committed here, and nowhere else.
            raise StorageUnavailable("the database did not promise the commit")
        if name in ("COMMIT", "ROLLBACK"):
            link.patience_s = Link.patience_s  # `take_time` lasts for one transaction
        return cursor

    def _begin(self, text: bytes) -> psycopg.Cursor[tuple[Any, ...]]:
        """Nothing was done yet: a connection that was lost while nobody used it is replaced."""
        was_known = self._link is not None and not self._link.closed
        link = self._link if self._link is not None and was_known else self._replaced()
        try:
            return self._begun(link, text)
        except psycopg.Error as error:
            failure = self._failure(error)
            is_stale = was_known and link.closed and not isinstance(error, errors._WaitTimeout)
            if not is_stale:
                raise failure from error
        link = self._replaced()
        try:
            return self._begun(link, text)
        except psycopg.Error as error:
            raise self._failure(error) from error

    @staticmethod
    def _begun(link: Link, text: bytes) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return link.execute(text, prepare=False)
        except psycopg.Error:
            # The lock was not to be had: no half-open transaction stays.
            if link.pgconn.transaction_status == pq.TransactionStatus.INERROR:
                link.execute(b"ROLLBACK", prepare=False)
            raise

    def _live(self) -> Link:
        if self._link is None:
            raise StorageUnavailable("the database connection is lost")
        return self._link

    def _replaced(self) -> Link:
        """A new link. Refused at once while a pause lasts: who waits is told so now."""
        now_s = time.monotonic()
        if now_s < self._not_before_s:
            raise StorageUnavailable("the database cannot be reached")
        if self._link is not None:
            self._link.close()
        self._link = None
        try:
            self._link = self._opened()
        except (StorageUnavailable, StorageFull, ConfigError) as error:
            self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            self._not_before_s = time.monotonic() + self._pause_s
            if isinstance(error, ConfigError):  # promoted without what `postgres._require` asks
                logger.error("the database cannot be used: %s", error)
                raise StorageUnavailable("the database keeps no promise") from error
            raise
        self._pause_s = 0.0
        self._tell_replaced()
        logger.info("connected to the database again")
        return self._link

    def _opened(self) -> Link:
        try:
            link = self._open()
        except psycopg.Error as error:
            raise meaning(error, None) from error
        link.add_notice_handler(self._noticed)
        return link

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings += 1
            logger.warning("the database warns: %s", notice.message_primary)

    def _failure(self, error: psycopg.Error) -> Exception:
        """What `error` means; a connection that cannot be trusted any more is closed."""
        link = self._link
        if link is not None and (
            error.sqlstate in _LOST_STATES
            # The answer to a statement that was given up would be taken for that to the next.
            or link.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
        ):
            link.close()
        return meaning(error, link)
