"""Connections, schema versions, and what an engine error means to a peer."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from mssmtp.errors import ConfigError, StorageFull, StorageUnavailable
from mssmtp.storage import schema

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


def refusal(error: BaseException) -> BaseException:
    """What to raise for `error`: StorageFull, StorageUnavailable, or `error` itself (D9)."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None
        if primary == sqlite3.SQLITE_FULL:
            return StorageFull()
        if primary in _LOST_CODES:
            return StorageUnavailable()
        return error
    if isinstance(error, OSError):
        if error.errno in _FULL_ERRNO:
            return StorageFull()
        if error.errno in _LOST_ERRNO:
            return StorageUnavailable()
    return error


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are opened by name, never by the driver.

    FULL: a commit is on disk when it returns (attacks.md §1). `secure_delete` overwrites dropped
    keys, otherwise shredding would leave them in free pages.
    """
    db = sqlite3.connect(
        path, timeout=10.0, isolation_level=None, check_same_thread=False, cached_statements=512
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
    found = version(path)
    if found == schema.VERSION:
        return
    if found is not None and found not in schema.KNOWN_VERSIONS:
        raise ConfigError(
            "store.home",
            f"the store was written by a newer release (schema {found})",
            "Install that release again; a store is never taken back to an older schema.",
        )
    upgrade(path)


def upgrade(path: Path) -> None:
    """Run the migrations up to `schema.VERSION`, in one transaction."""
    # Imported here: opening a store that is up to date does not pay for the migration tool.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    # The driver opens no transaction before DDL by itself: autocommit, and BEGIN by name.
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.commit()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, schema.VERSION)
            connection.commit()
    finally:
        engine.dispose()
