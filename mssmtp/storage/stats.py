"""Sizes and counts of a store: what fills it, without opening anything. Ids only, no address."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import bindparam, func, select

from mssmtp.mail import BalId, MailboxId
from mssmtp.storage import schema
from mssmtp.storage.model import from_us
from mssmtp.storage.schema import (
    accounts,
    bals,
    blobs,
    doomed_files,
    envelopes,
    events,
    expunged,
    facts,
    mailboxes,
    packs,
    queue,
    sql,
    texts,
    transfers,
)
from mssmtp.storage.view import Vault
from mssmtp.storage.views import Reading

LARGEST = 10

_COUNTED = {
    table.name: sql(select(func.count()).select_from(table))
    for table in (bals, accounts, mailboxes, blobs, expunged, envelopes, queue, facts, doomed_files)
}
"""Each counts along an index or a small table; rows with contents are never walked."""
_NUMBERED = {
    table.name: sql(select(func.coalesce(func.max(table.c.number), 0)))
    for table in (events, transfers)
}
"""Numbered without gaps and never purged."""
_MESSAGES = sql(
    select(
        func.coalesce(func.sum(mailboxes.c.messages), 0),
        func.coalesce(func.sum(mailboxes.c.unseen), 0),
        func.coalesce(func.sum(mailboxes.c.size), 0),
    )
)
_PACKS = sql(select(func.count(), func.coalesce(func.sum(func.length(packs.c.sealed)), 0)))
_TEXTS = sql(select(func.count(), func.coalesce(func.sum(func.length(texts.c.sealed)), 0)))
_QUEUE = sql(select(func.min(queue.c.queued_at)))
_HELD = sql(select(func.count()).select_from(queue).where(queue.c.held.is_(True)))
_LARGEST = sql(
    select(
        mailboxes.c.id, mailboxes.c.bal, mailboxes.c.messages, mailboxes.c.unseen, mailboxes.c.size
    )
    .order_by(mailboxes.c.size.desc(), mailboxes.c.id)
    .limit(bindparam("most"))
)
_SERVER_OCTETS = sql(select(func.pg_database_size(func.current_database())))


@dataclass(frozen=True, slots=True)
class LargeMailbox:
    """One of the largest mailboxes."""

    mailbox: MailboxId
    bal: BalId
    messages: int
    unseen: int
    octets: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds. `octets` are on disk, by kind; `rows` are counts of rows and files."""

    engine: str
    schema: str
    master_key: str
    older_master_key: str | None
    octets: Mapping[str, int]
    rows: Mapping[str, int]
    message_octets: int
    oldest_queued: datetime | None
    largest: tuple[LargeMailbox, ...]


def stats(view: Reading, vault: Vault) -> StoreStats:
    """Read on one snapshot; the files as they are meanwhile."""
    rows = {name: int(view._all(text)[0][0]) for name, text in (_COUNTED | _NUMBERED).items()}
    (messages, unseen, size), (count, packed) = view._all(_MESSAGES)[0], view._all(_PACKS)[0]
    rows |= {"messages": int(messages), "unseen": int(unseen), "packs": int(count)}
    searched, texted = view._all(_TEXTS)[0]
    rows["packs of texts"] = int(searched)
    rows["held"] = int(view._all(_HELD)[0][0])
    kept, unfinished = vault.files.sizes()
    rows |= {"files": kept.count, "unfinished files": unfinished.count}
    engine, octets = _database(view)
    octets |= {
        "packs": int(packed),
        "packs of texts": int(texted),
        "files": kept.octets,
        "unfinished files": unfinished.octets,
    }
    oldest = view._all(_QUEUE)[0][0]
    state = vault.keys.state
    return StoreStats(
        engine,
        schema.VERSION,
        state.id,
        state.older,
        octets,
        dict(sorted(rows.items())),
        int(size),
        None if oldest is None else from_us(oldest),
        tuple(LargeMailbox(*row) for row in view._all(_LARGEST, most=LARGEST)),
    )


def _database(view: Reading) -> tuple[str, dict[str, int]]:
    """Name of the engine, and what the database takes, its log and free pages for the embedded."""
    db = view._db
    if not isinstance(db, sqlite3.Connection):
        return "PostgreSQL", {"database": int(view._all(_SERVER_OCTETS)[0][0])}
    pages, free, page, path = (
        db.execute(f"PRAGMA {name}").fetchone()[column]
        for name, column in (
            ("page_count", 0),
            ("freelist_count", 0),
            ("page_size", 0),
            ("database_list", 2),
        )
    )
    wal = 0
    with suppress(FileNotFoundError):
        wal = Path(f"{path}-wal").stat().st_size
    octets = {"database": pages * page, "database, free": free * page, "write-ahead log": wal}
    return f"SQLite {sqlite3.sqlite_version}", octets
