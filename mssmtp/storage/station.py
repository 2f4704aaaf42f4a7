"""A place where sealed values stand: one table, and how its rows are sealed under a new key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from mssmtp.storage.schema import owners, sql

Values = Mapping[str, Any]
"""Columns of one row by name."""

Purpose = Callable[[Values], bytes]
Digests = Callable[["Opener", Values, Mapping[str, bytes]], dict[str, bytes | None]]


class Opener(Protocol):
    """A key as a station needs it: `OwnerKey`, and the two uses of a `Keyring`."""

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Raises Damaged."""
        ...

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Under the newest key."""
        ...

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Under the newest key."""
        ...


@dataclass(frozen=True, slots=True)
class Station:
    """One table. `under`: an owner's key, or one of the two uses of the master key."""

    table: Table
    under: Literal["owner", "names", "wrapping"]
    sealed: Mapping[str, Purpose]
    digests: Digests
    changed: tuple[str, ...]
    """Columns with digests of what is sealed."""
    names: tuple[str, ...]
    """Columns of `load`, the first of them the id of the owner."""
    stale: str
    """Primary keys and sizes of at most `most` stale rows behind `after_…`."""
    load: str
    """Stale rows from `first_…` to `last_…`."""
    update: str
    waiting: str
    """How many rows are stale."""
    behind: str
    """Ids of the owners that have stale rows."""
    page: str
    """As `load` with the digests behind, but every row, stale or not, at most `most` behind
    `after_…`."""
    rows: str
    """How many rows `owner` has, or everybody together when it is null."""

    @property
    def name(self) -> str:
        """For reports."""
        return self.table.name

    def keys(self) -> tuple[str, ...]:
        """Names of the primary key's columns."""
        return tuple(column.name for column in self.table.primary_key.columns)

    def start(self) -> tuple[object, ...]:
        """A primary key before every other."""
        return tuple(_least(column) for column in self.table.primary_key.columns)

    def renewed(self, key: Opener, row: Values) -> dict[str, bytes | None]:
        """New values of the columns that change. Raises Damaged."""
        opened = {
            name: key.open(purpose(row), row[name])
            for name, purpose in self.sealed.items()
            if row[name]
        }
        new = self.digests(key, row, opened)
        later = {**row, **new}
        new |= {name: row[name] for name in self.sealed}
        new |= {name: key.seal(self.sealed[name](later), opened[name]) for name in opened}
        return new


def station(
    source: FromClause,
    table: Table,
    sealed: Mapping[str, Purpose],
    also: tuple[Column[Any], ...] = (),
    *,
    under: Literal["owner", "names", "wrapping"] = "owner",
    digests: Digests = lambda key, row, opened: {},
    changed: tuple[str, ...] = (),
) -> Station:
    """Compile the statements of a station. `changed`: digests beside the sealed columns."""
    keys = list(table.primary_key.columns)
    owner = owners.c.id if under == "owner" else literal_column("0", Integer).label("owner")
    columns = [*keys, *(table.c[name] for name in sealed), *also]
    size: ColumnElement[int] = sum(
        (func.coalesce(func.length(table.c[name]), 0) for name in sealed), literal_column("0")
    )
    old = _old(table, sealed, under)
    everybody = bindparam("owner", type_=Integer).is_(None)
    mine = or_(everybody, owners.c.id == bindparam("owner")) if under == "owner" else everybody
    return Station(
        table,
        under,
        sealed,
        digests,
        changed,
        ("owner", *(column.name for column in columns)),
        sql(
            select(*keys, size)
            .select_from(source)
            .where(old, tuple_(*keys) > _bound("after", keys))
            .order_by(*keys)
            .limit(bindparam("most"))
        ),
        sql(
            select(owner, *columns)
            .select_from(source)
            .where(old, tuple_(*keys) >= _bound("first", keys))
            .where(tuple_(*keys) <= _bound("last", keys))
        ),
        sql(
            update(table)
            .where(and_(*(key == bindparam(f"at_{key.name}") for key in keys)))
            .values({name: bindparam(f"new_{name}") for name in (*sealed, *changed)})
        ),
        sql(select(func.count()).select_from(source).where(old)),
        sql(select(owner).select_from(source).where(old).distinct()),
        sql(
            select(owner, *columns, *(table.c[name].label(f"of_{name}") for name in changed))
            .select_from(source)
            .where(tuple_(*keys) > _bound("after", keys))
            .order_by(*keys)
            .limit(bindparam("most"))
        ),
        sql(select(func.count()).select_from(source).where(mine)),
    )


def _old(table: Table, sealed: Mapping[str, Purpose], under: str) -> ColumnElement[bool]:
    """Rows with a value that does not begin with the newest mark."""
    mark = owners.c.mark if under == "owner" else bindparam("mark", type_=LargeBinary)
    # What is empty was destroyed on purpose, and needs no key.
    found = or_(
        *(
            and_(
                func.length(table.c[name]) > 0,
                func.substr(table.c[name], 1, 1, type_=LargeBinary) != mark,
            )
            for name in sealed
        )
    )
    return and_(owners.c.older.is_not(None), found) if under == "owner" else found


def _bound(prefix: str, keys: list[Column[Any]]) -> ColumnElement[Any]:
    return tuple_(*(bindparam(f"{prefix}_{key.name}", type_=key.type) for key in keys))


def _least(column: Column[Any]) -> object:
    if isinstance(column.type, Text):
        return ""
    return b"" if isinstance(column.type, LargeBinary) else -1
