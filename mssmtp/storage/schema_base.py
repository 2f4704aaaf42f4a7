"""How a table is made, whichever engine holds it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table

metadata = MetaData()

Number = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite makes only INTEGER (not BIGINT) primary keys the rowid itself."""


def clustered(name: str, *columns: Column[object] | Index) -> Table:
    """Rows stored in primary-key order, without a second tree."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def counted(name: str, *columns: Column[object] | Index) -> Table:
    """Numbers are never used twice, also after deletion."""
    return Table(name, metadata, *columns, sqlite_autoincrement=True)
