"""SQLite: connections, schema versions, and what an error of engine or disk means to a peer."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssmtp.errors import ConfigError, Damaged, StorageFull, StorageUnavailable
from mssmtp.storage import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection as Core

    from mssmtp.storage.changes import Bell, Ear

_LEAST_FREE_OCTETS = 1_048_576
logger = logging.getLogger(__name__)

_FULL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOST_ERRNO = frozenset(
    {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOENT}
)
_LOST_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def refusal(error: BaseException) -> BaseException:
    """What to raise for `error`: a refusal of the store, or `error` itself (D9)."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None
        if primary == sqlite3.SQLITE_FULL:
            return StorageFull()
        if primary in _DAMAGED_CODES:
            return Damaged("the database is damaged")
        if primary in _LOST_CODES:
            return StorageUnavailable()
        return error
    if isinstance(error, OSError):
        if error.errno in _FULL_ERRNO:
            return StorageFull()
        if error.errno in _LOST_ERRNO:
            return StorageUnavailable()
    return error


_INSERT = re.compile(r"(INSERT INTO \w+ \([^()]*\) VALUES )(\((?:[^():?]|:\w+)*\))\Z")
_NAME = re.compile(r":(\w+)")
_MOST_ROWS = 32


@lru_cache(maxsize=64)
def _insert(statement: str) -> tuple[str, str, itemgetter[Any]] | None:
    """What comes before the row, the row with `?`, and its values in that order; None: no INSERT
    of one row with two named values or more, and nothing else."""
    match = _INSERT.match(statement)
    names = _NAME.findall(match[2]) if match else []
    if match is None or len(names) < 2:
        return None
    return match[1], _NAME.sub("?", match[2]), itemgetter(*names)


@lru_cache(maxsize=512)
def _of_rows(statement: str, row: str, count: int) -> str:
    return statement + ", ".join([row] * count)


class GroupingConnection(sqlite3.Connection):
    """Inserts many rows by few statements.

    The driver gives the interpreter away twice for every row, and has to win it back each time
    from the event loop that prepares the next letters.
    """

    def executemany(  # type: ignore[override] # the rows the store has are mappings
        self, sql: str, parameters: Iterable[Mapping[str, object]], /
    ) -> None:
        """Run a statement for each of `parameters`, in their order."""
        shape = _insert(sql)
        rows = list(parameters)
        if shape is None:
            super().executemany(sql, rows)
            return
        head, row, values = shape
        start, count = 0, _MOST_ROWS
        while start < len(rows):
            while count > len(rows) - start:  # powers of two: few different statements
                count //= 2
            flat = chain.from_iterable(map(values, rows[start : start + count]))
            self.execute(_of_rows(head, row, count), tuple(flat))
            start += count


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are opened by name, never by the driver.

    FULL: a commit is on disk when it returns (attacks.md §1). `secure_delete` overwrites dropped
    keys, otherwise shredding would leave them in free pages.
    """
    db = sqlite3.connect(
        path,
        timeout=10.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
        factory=GroupingConnection,
    )
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA temp_store=MEMORY")  # ATT-39: nothing in shared temporary directories
    if writing:
        db.execute("PRAGMA secure_delete=ON")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        db.execute("PRAGMA journal_size_limit=67108864")
        db.execute("PRAGMA cache_size=-16000")
    else:
        db.execute("PRAGMA query_only=ON")
        db.execute("PRAGMA cache_size=-4000")
    return db


def create(path: Path) -> None:
    """Make the database file, mode 0600, in WAL mode, with the newest schema."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.close(number)
    db = connect(path, writing=True)
    try:
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    finally:
        db.close()
    if mode != "wal":
        raise ConfigError("store.home", "the file system has no shared memory", "Use a local disk.")
    upgrade(path)


def version(path: Path) -> str | None:
    """The schema version of the file, None when it has none yet."""
    db = connect(path, writing=False)
    try:
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise refusal(error) from error
    finally:
        db.close()
    return str(row[0]) if row else None


def ensure_version(path: Path) -> None:
    """Upgrade an older schema; refuse a newer one (D8). Raises ConfigError."""
    if is_older(version(path), "store.home"):
        upgrade(path)


def is_older(found: str | None, where: str) -> bool:
    """Whether a schema is to be upgraded. Raises ConfigError for one newer than this code."""
    if found is not None and found not in schema.KNOWN_VERSIONS:
        raise ConfigError(
            where,
            f"the store was written by a newer release (schema {found})",
            "Install that release again; a store is never taken back to an older schema.",
        )
    return found != schema.VERSION


def upgrade(path: Path) -> None:
    """Run the migrations up to `schema.VERSION`, in one transaction."""
    from sqlalchemy import create_engine

    # The driver opens no transaction before DDL by itself: autocommit, and BEGIN by name.
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.commit()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            run_migrations(connection)
            connection.commit()
    finally:
        engine.dispose()


def run_migrations(connection: Core) -> None:
    """Bring a database to `schema.VERSION`, inside the transaction that `connection` is in."""
    # Imported here: opening a store that is up to date does not pay for the migration tool.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, schema.VERSION)


class FileTurn:
    """The commit lock of a home: one process writes, the others wait in the kernel."""

    def __init__(self, home: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._number = os.open(home / "commit.lock", flags, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._number, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._number, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go."""
        os.close(self._number)


class DataVersion:
    """What SQLite itself compares before it trusts its pages (`engine.Watch`): three microseconds,
    in memory that the processes share."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, writing=False)
        # A process that was stopped with a lock must not hold up the loop that asks (CL-79).
        self._db.execute("PRAGMA busy_timeout=0")

    def mark(self) -> int | None:
        """See `engine.Watch`."""
        try:
            row = self._db.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return int(row[0])

    def close(self) -> None:
        """Let go."""
        self._db.close()


class SqliteEngine:
    """The file `store.db` of a home (`engine.Engine`)."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "store.db"

    def holds_store(self) -> bool:
        """Whether the file is there."""
        try:
            os.stat(self._path)
        except OSError:
            return False
        return True

    def create(self, rows: Mapping[str, bytes]) -> None:
        """Make the file, with `rows` in `meta`."""
        from sqlalchemy import insert

        create(self._path)
        db = connect(self._path, writing=True)
        try:
            for key, value in rows.items():
                db.execute(schema.sql(insert(schema.meta)), {"key": key, "value": value})
        finally:
            db.close()

    def require_whole(self) -> None:
        """Refuse files that do not belong together: half a copy, a damaged log. ConfigError."""
        from mssmtp.storage.files import is_left_behind
        from mssmtp.storage.log_frames import require_whole

        if not self._path.stat().st_size:
            raise ConfigError(
                "store.home",
                "store.db is empty: damaged, or half a copy",
                "Keep a copy of the home as it is, then restore the last good one.",
            )
        if not Path(f"{self._path}-wal").exists() and is_left_behind(self._home):
            raise ConfigError(
                "store.home",
                "store.db-wal is missing, though a server was running on this home: half a copy",
                "Copy the whole home again, with the server stopped. If nothing was copied, and a"
                " tool of SQLite has opened store.db since (it takes the log into the file), or if"
                " store.db was made by a backup command of SQLite, empty incoming/ and start.",
            )
        require_whole(self._path)

    def ensure_version(self) -> None:
        """Upgrade an older schema; refuse a newer one (D8). Raises ConfigError."""
        ensure_version(self._path)

    def connect(self, *, writing: bool) -> sqlite3.Connection:
        """The driver's own connection: nothing of ours between a statement and the engine."""
        return connect(self._path, writing=writing)

    def watch(self) -> DataVersion | None:
        """See `engine.Watch`."""
        try:
            return DataVersion(self._path)
        except sqlite3.Error:
            return None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """The log is removed with the last connection; inside, one more is open."""
        with ExitStack() as stack:
            with suppress(sqlite3.Error):  # on a lost disk nothing is removed either
                db = self.connect(writing=False)
                stack.callback(db.close)
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield

    def turn(self) -> FileTurn:
        """The commit lock."""
        return FileTurn(self._home)

    def bell(self) -> Bell:
        """Datagrams to every process of the home."""
        from mssmtp.storage.changes import Bell

        return Bell(self._home / "run")

    def ear(self, token: str) -> Ear:
        """A datagram socket in the home."""
        from mssmtp.storage.changes import Ear

        return Ear(self._home / "run", token)

    def scrub(self) -> None:
        """Empty the WAL: deleted cells are zeroed in the file already, older pages lie in it."""
        db = connect(self._path, writing=True)
        try:
            # It waits for readers with the writers behind it: not for long.
            db.execute("PRAGMA busy_timeout=1000")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            logger.warning("the WAL was not emptied", extra={"why": str(error)})
        finally:
            db.close()

    def unusable(self, error: Exception) -> ConfigError:
        """`error` at opening, for the administrator."""
        code = getattr(error, "sqlite_errorcode", None)
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return ConfigError(
                "store.home",
                "store.db is damaged or no store at all",
                "Keep a copy of the home as it is, then restore the last good one.",
            )
        return unusable_home(error, self._home)


def unusable_home(error: Exception, home: Path) -> ConfigError:
    """What the disk said at opening, for the administrator."""
    if isinstance(error, StorageUnavailable):
        return ConfigError(
            "store.home",
            f"cannot be opened ({error})",
            "Look for a process of mssmtp that is stopped or hangs: `fuser -v commit.lock`.",
        )
    if shutil.disk_usage(home).free < _LEAST_FREE_OCTETS:
        # The engine says only "disk I/O error" when its shared memory has no room.
        return ConfigError("store.home", "the disk is full", "Make room, then start again.")
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(
        "store.home", f"cannot be opened ({why})", "Check the disk: rights, free space, read-only."
    )
