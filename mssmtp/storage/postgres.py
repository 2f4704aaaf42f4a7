"""PostgreSQL, the second engine: one database per store, its home beside it (`engine.Engine`).

The rows live there; master key, files of large letters and run directory stay in the home. Which
home a database belongs to is in both: two homes on one database would remove each other's files.
"""

from __future__ import annotations

import logging
import os
import secrets
import select as polling
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo
from sqlalchemy import insert

from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError, StorageFull, StorageUnavailable
from mssmtp.secret_files import secret_in
from mssmtp.storage import schema
from mssmtp.storage.database import is_older, run_migrations, unusable_home
from mssmtp.storage.engine import HOME_ID, Connection, Rung
from mssmtp.storage.moved import UNFINISHED
from mssmtp.storage.postgres_connection import (
    COMMIT_LOCK,
    PATIENCE_S,
    Link,
    PostgresConnection,
    meaning,
    prepare,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection as Core

logger = logging.getLogger(__name__)

WHERE = "store.database"
LEAST_VERSION = 130_000
CHANNEL = "mssmtp"
_NOTIFY = {
    Rung.CHANGES: f"NOTIFY {CHANNEL}, 'changes'",
    Rung.QUEUE: f"NOTIFY {CHANNEL}, 'queue'",
}
_HEARD = {"changes": Rung.CHANGES, "queue": Rung.QUEUE}
HOME_ID_FILE = "home-id"
_LISTEN_AGAIN_S = 2.0

DEFAULTS: Mapping[str, str] = {
    "application_name": "mssmtp",
    "client_encoding": "UTF8",
    # Together below the eight seconds of an answer, also with a second host to try (CL-79).
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "6000",
    # Of several hosts the one that writes, and never one that was demoted.
    "target_session_attrs": "read-write",
}

# A node that dies in a transaction holds the commit lock until the server notices.
_SESSION = (
    "SET synchronous_commit TO {commit}; SET statement_timeout TO {patience_ms};"
    " SET lock_timeout TO {patience_ms}; SET jit TO off;"
    " SET tcp_keepalives_idle TO 5; SET tcp_keepalives_interval TO 2;"
    " SET tcp_keepalives_count TO 2; SET idle_in_transaction_session_timeout TO {idle_ms}"
)
_WRITER_IDLE_MS = 10_000
_READER_IDLE_MS = 3_600_000


class PostgresEngine:
    """The database that `store.database` names."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._home = settings.home
        url = settings.database or ""
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.Error as error:
            raise ConfigError(WHERE, str(error).strip(), "Correct the address.") from error
        missing = {name: value for name, value in DEFAULTS.items() if name not in given}
        self._target = conninfo.make_conninfo(url, **missing)

    # ------------------------------------------------------------ links

    def link(self, *, writing: bool) -> Link:
        """A link of the driver's own, set up and looked at. Raises psycopg.Error, ConfigError."""
        link = Link.connect(self._with_password(), autocommit=True)
        try:
            prepare(link)
            link.execute(
                _SESSION.format(
                    commit=self._settings.database_commit,
                    patience_ms=int(PATIENCE_S * 1_000),
                    idle_ms=_WRITER_IDLE_MS if writing else _READER_IDLE_MS,
                ).encode(),
                prepare=False,
            )
            _require(link)
        except BaseException:
            link.close()
            raise
        return link

    def connect(self, *, writing: bool) -> PostgresConnection:
        """A connection that heals itself. Raises ConfigError, StorageUnavailable."""

        def open() -> Link:
            link = self.link(writing=writing)
            try:
                self._require_home(link)
            except BaseException:
                link.close()
                raise
            return link

        return PostgresConnection(open)

    def _with_password(self) -> str:
        """Read at each connection: a password can be changed without a restart."""
        path = self._settings.database_password_file
        if path is None:
            return self._target
        password = secret_in(path, "store.database_password_file")
        return conninfo.make_conninfo(self._target, password=password)

    # ------------------------------------------------------------ life of a store

    def holds_store(self) -> bool:
        """Whether the database has a schema of ours."""
        with self._maintenance() as link:
            return _version(link) is not None

    def create(self, rows: Mapping[str, bytes]) -> None:
        """The tables, and `rows`, in one transaction: there is a whole store or none."""
        if (self._home / "store.db").exists():
            raise ConfigError(
                "store.home",
                "holds a store of SQLite already",
                "Choose another directory, or move that store: `mssmtp store migrate`.",
            )
        home_id = self._claimed_home(rows.get(HOME_ID))
        self._require_empty()
        self._migrate({**rows, HOME_ID: home_id})

    def _require_empty(self) -> None:
        with self._maintenance() as link:
            found = link.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'").fetchone()
        if found is not None:
            raise ConfigError(
                WHERE, "the database is not empty", "Make a new one: `createdb -E UTF8 …`."
            )

    def awaits_rows(self) -> bool:
        """Whether a move of this home's rows into the database was begun and not finished."""
        with self._maintenance() as link:
            if _version(link) is None:
                return False
            self._require_home(link)
            row = link.execute("SELECT 1 FROM meta WHERE key = %s", (UNFINISHED,)).fetchone()
        return row is not None

    def prepare_for_rows(self, rows: Mapping[str, bytes]) -> None:
        """The tables, for the rows of the home's SQLite store; a move that was begun goes on."""
        if self.awaits_rows():
            self.ensure_version()
            return
        self._require_empty()
        self._migrate({**rows, HOME_ID: self._known_home() or self._new_home_id(None)})

    def require_whole(self) -> None:
        """Nothing: the server's files are its own."""

    def ensure_version(self) -> None:
        """Upgrade an older schema; refuse a newer one, or the database of another home (D8)."""
        with self._maintenance() as link:
            found = _version(link)
            self._require_home(link)
        if found is None:
            raise ConfigError(WHERE, "there is no store in it", "Run `mssmtp init` to make one.")
        if is_older(found, WHERE):
            self._migrate({})

    def _migrate(self, rows: Mapping[str, bytes]) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError

        def open() -> Link:
            link = self.link(writing=True)
            # An upgrade takes as long as it takes; nobody is served meanwhile.
            link.execute("SET statement_timeout TO 0; SET lock_timeout TO 0", prepare=False)
            link.execute("SET idle_in_transaction_session_timeout TO 0", prepare=False)
            link.autocommit = False
            link.patience_s = None
            return link

        engine = create_engine("postgresql+psycopg://", creator=open)
        try:
            with engine.begin() as connection:
                self._migrated(connection, rows)
        except (psycopg.Error, StorageUnavailable) as error:
            raise self.unusable(error) from error
        except DBAPIError as error:
            cause = error.orig
            if not isinstance(cause, psycopg.Error):
                raise
            raise self.unusable(cause) from error
        finally:
            engine.dispose()

    @staticmethod
    def _migrated(connection: Core, rows: Mapping[str, bytes]) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({COMMIT_LOCK})")
        run_migrations(connection)
        for key, value in rows.items():
            connection.execute(insert(schema.meta), {"key": key, "value": value})

    def _maintenance(self) -> Link:
        """A link for a moment, closed by `with`. Raises ConfigError."""
        try:
            return self.link(writing=True)
        except psycopg.Error as error:
            raise self.unusable(error) from error

    # ------------------------------------------------------------ whose database it is

    def _claimed_home(self, wanted: bytes | None) -> bytes:
        """The id of the home, written down before the database is made."""
        if (known := self._known_home()) is not None:
            if any((self._home / "blobs").glob("*/*")):
                raise ConfigError(
                    "store.home",
                    "belongs to a store already, whose letters it holds",
                    f"Correct {WHERE}, or choose another directory.",
                )
            return known  # an attempt before this one ended here
        return self._new_home_id(wanted)

    def _new_home_id(self, wanted: bytes | None) -> bytes:
        made = wanted or secrets.token_bytes(16)
        path = self._home / HOME_ID_FILE
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return made

    def _known_home(self) -> bytes | None:
        with suppress(OSError, ValueError):
            return bytes.fromhex((self._home / HOME_ID_FILE).read_text(encoding="ascii"))
        return None

    def _require_home(self, link: Link) -> None:
        if _version(link) is None:
            return
        row = link.execute("SELECT value FROM meta WHERE key = %s", (HOME_ID,)).fetchone()
        if row is None or bytes(row[0]) != self._known_home():
            raise ConfigError(
                WHERE,
                f"the database belongs to another home than {self._home}",
                f"Correct store.home or {WHERE}: every store has a database of its own.",
            )

    # ------------------------------------------------------------ between processes

    def kept_open(self) -> AbstractContextManager[None]:
        """Nothing: the server's files are its own."""
        return nullcontext()

    def turn(self) -> PostgresTurn:
        """PostgreSQL queues the committers itself, in the order they came."""
        return PostgresTurn()

    def bell(self) -> PostgresBell:
        """A notification that the server delivers with the commit."""
        return PostgresBell()

    def ear(self, token: str) -> PostgresEar:
        """A connection that listens."""
        return PostgresEar(self)

    def watch(self) -> None:
        """Other nodes commit too: only the server knows, and who asks it waits."""

    def scrub(self) -> None:
        """Have dead rows taken out of the tables; archives and replicas keep theirs."""
        tables = ", ".join(table.name for table in schema.metadata.sorted_tables)
        try:
            with suppress(psycopg.Error), self.link(writing=False) as link:
                link.execute(b"SET statement_timeout TO 0", prepare=False)
                link.execute(f"VACUUM (SKIP_LOCKED) {tables}".encode(), prepare=False)
        except (ConfigError, StorageUnavailable) as error:
            logger.warning("dead rows were not taken out", extra={"why": str(error)})

    def unusable(self, error: Exception) -> ConfigError:
        """`error` at opening, for the administrator."""
        cause = error.__cause__ if isinstance(error, StorageUnavailable) else error
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            return ConfigError(
                WHERE,
                f"refused ({cause.diag.message_primary})",
                "Make the user of mssmtp the owner of its database: `ALTER DATABASE … OWNER TO …`.",
            )
        if isinstance(cause, psycopg.Error | None) or isinstance(error, StorageFull):
            why = str(cause or error).strip().replace("\n", "; ")
            return ConfigError(
                WHERE,
                f"cannot be used ({why})",
                "Start PostgreSQL, or correct address, user and password.",
            )
        return unusable_home(error, self._home)


class PostgresTurn(nullcontext[None]):
    """Nothing to hold: the advisory lock is part of BEGIN."""

    def close(self) -> None:
        """Nothing to let go of."""


class PostgresBell:
    """NOTIFY in the transaction itself: no follower can look too early, or in vain."""

    def announce(self, db: Connection, rung: Rung) -> None:
        """Delivered by the server when the transaction commits."""
        for each, statement in _NOTIFY.items():
            if each in rung:
                db.execute(statement)

    def ring(self, rung: Rung) -> None:
        """Nothing: it rang with the commit."""

    def close(self) -> None:
        """Nothing to let go of."""


class PostgresEar:
    """A listening link of its own; while the server is away, a patient sleeper."""

    def __init__(self, engine: PostgresEngine) -> None:
        self._engine = engine
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._not_before_s = 0.0
        self._link: Link | None = None
        self._listen()

    def wait(self, seconds: float) -> Rung:
        """What was notified within `seconds`, or may have been missed."""
        if self._link is None and time.monotonic() >= self._not_before_s and self._listen():
            return Rung.BOTH
        poll = polling.poll()
        poll.register(self._woken, polling.POLLIN)
        if self._link is not None:
            poll.register(self._link.fileno(), polling.POLLIN)
        ready = poll.poll(seconds * 1_000)
        with suppress(BlockingIOError):
            os.read(self._woken, 64)
        return self._heard() if ready and self._link is not None else Rung.NOTHING

    def wake(self) -> None:
        """End a `wait` from another thread."""
        with suppress(OSError):
            os.write(self._waker, b"!")

    def close(self) -> None:
        """Listen no more."""
        self._forget()
        os.close(self._woken)
        os.close(self._waker)

    def _heard(self) -> Rung:
        rung = Rung.NOTHING
        try:
            if self._link is not None:
                for notice in self._link.notifies(timeout=0):
                    # A node of a release before says only that something was committed.
                    rung |= _HEARD.get(notice.payload, Rung.BOTH)
        except psycopg.Error:
            self._forget()
            return Rung.BOTH
        return rung

    def _listen(self) -> bool:
        try:
            self._link = self._engine.link(writing=False)
            self._link.execute(f"LISTEN {CHANNEL}".encode())
        except (psycopg.Error, ConfigError) as error:
            self._forget()
            self._not_before_s = time.monotonic() + _LISTEN_AGAIN_S
            logger.warning("not listening to the database: %s", type(error).__name__)
            return False
        return True

    def _forget(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _version(link: Link) -> str | None:
    row = link.execute("SELECT to_regclass('public.alembic_version') IS NULL").fetchone()
    if row is None or row[0]:
        return None
    row = link.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return str(row[0]) if row else None


def _require(link: Link) -> None:
    """The server keeps promises. Raises ConfigError: which one it does not, and what to do."""
    row = link.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
        " current_setting('fsync'), current_setting('full_page_writes')"
    ).fetchone()
    version, encoding, fsync, pages = row or (0, "", "", "")
    if version < LEAST_VERSION:
        raise ConfigError(
            WHERE, f"the server is PostgreSQL {version // 10_000}", "Use PostgreSQL 13 or newer."
        )
    if encoding != "UTF8":
        raise ConfigError(
            WHERE, f"the database is in {encoding}", "Make it anew: `createdb -E UTF8 …`."
        )
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value != "on":
            raise ConfigError(
                WHERE,
                f"the server runs with {name} = {value}: letters would be lost with its power",
                f"Set {name} = on in postgresql.conf and reload.",
            )


__all__ = ["PostgresEngine", "meaning"]
