"""Where the rows of a home are: marks in `meta` that keep the wrong one of two from being opened.

While a store moves to another database there are two of it, and whoever opened both would give the
same UIDs twice. So the old one is marked before the new one loses its own mark: at any moment, a
power cut included, at most one of them can be opened.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from mssmtp.errors import ConfigError
from mssmtp.storage.engine import Connection
from mssmtp.storage.schema import meta, sql

MOVED = "moved-to"
"""In the store that was left; the value says where its rows went, and when."""

UNFINISHED = "moving-in"
"""In the database that is being filled."""

_META = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))


def value(db: Connection, key: str) -> bytes | None:
    """The mark, None when it is not there."""
    row = db.execute(_META, {"key": key}).fetchone()
    return None if row is None else bytes(row[0])


def require_here(db: Connection) -> None:
    """Raises ConfigError for a store that was left, or is not whole yet."""
    if (where := value(db, MOVED)) is not None:
        raise ConfigError(
            "store.home",
            f"the rows of this store were moved to {where.decode('utf-8', 'replace')}",
            "Name that as store.database again. To return to the store as it was at that moment:"
            " `mssmtp store migrate --undo`.",
        )
    if value(db, UNFINISHED) is not None:
        raise ConfigError(
            "store.database",
            "a move into this database was begun and not finished",
            "Run `mssmtp store migrate` again: it goes on where it was.",
        )
