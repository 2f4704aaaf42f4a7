"""What was promised, kept outside the store, and what the store shows.

A `Reply` is what one operation was answered, a `Ledger` the sum of all answers so far. A
`Photograph` is what a database holds, row for row: equal photographs are the same store.
"""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Place = tuple[int, int]
"""Mailbox and UID."""

CACHES = frozenset({"packs", "texts"})
"""Tables that may be emptied at any time; their rows are checked by Store.check alone."""

_PLACES = """
SELECT m.mailbox, m.uid, lower(hex(b.id)) FROM messages m JOIN blobs b ON b.number = m.blob
"""


@dataclass
class Reply:
    """One answer: what is there now, what is gone, who waits for a relay and who no longer."""

    stored: dict[Place, str] = field(default_factory=dict)
    """Place -> SHA-256 of the octets that were sent."""
    copied: dict[Place, Place] = field(default_factory=dict)
    gone: set[Place] = field(default_factory=set)
    queued: set[str] = field(default_factory=set)
    unqueued: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Ledger:
    """Everything acknowledged up to one moment."""

    messages: Mapping[Place, str] = field(default_factory=dict)
    queued: frozenset[str] = frozenset()
    sent: Mapping[Place, str] = field(default_factory=dict)
    """Every place ever named, with what was sent: a UID is never given twice (D5)."""

    def after(self, reply: Reply) -> Ledger:
        """With one more answer. Raises AssertionError when the answer itself breaks a promise."""
        new = {**reply.stored, **{to: self.messages[old] for to, old in reply.copied.items()}}
        assert not new.keys() & self.sent.keys(), "a UID was given twice"
        kept = {place: sha for place, sha in self.messages.items() if place not in reply.gone}
        return Ledger(
            {**kept, **new},
            (self.queued | reply.queued) - reply.unqueued,
            {**self.sent, **new},
        )

    @property
    def promises(self) -> int:
        """How many acknowledged messages must be there: copies in mailboxes and the queue."""
        return len(self.messages) + len(self.queued)


@dataclass(frozen=True)
class Photograph:
    """What a store holds."""

    tables: Mapping[str, str]
    """Table -> digest of all its rows."""
    places: Mapping[Place, str]
    """Message -> id of its content."""
    queued: frozenset[str]
    files: Mapping[str, str]
    """Id -> digest of the file of a large content."""
    doomed: frozenset[str] = field(default=frozenset(), compare=False)
    """Ids of files that are to be removed, or are already; rows of a table besides."""

    def differs(self, other: Photograph) -> list[str]:
        """Names of what is not the same."""
        names = sorted(self.tables.keys() | other.tables.keys())
        found = [name for name in names if self.tables.get(name) != other.tables.get(name)]
        return found + (["files"] if self.files != other.files else [])


def photograph(home: Path) -> Photograph:
    """Of a store that nobody writes to just now."""
    db = sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True)
    try:
        db.execute("BEGIN")
        named = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = sorted({name for (name,) in named} | {"sqlite_sequence"} - CACHES)
        tables = {name: _digest(db, name) for name in names if name not in CACHES}
        places = {(mailbox, uid): id for mailbox, uid, id in db.execute(_PLACES)}
        queued = frozenset(
            f"{envelope}/{position}"
            for envelope, position in db.execute("SELECT envelope, position FROM queue")
        )
        filed = db.execute("SELECT lower(hex(id)) FROM blobs WHERE data IS NULL").fetchall()
        doomed = frozenset(id for (id,) in db.execute("SELECT lower(hex(id)) FROM doomed_files"))
        files = {id: _file_digest(home / "blobs" / id[-2:] / id) for (id,) in filed}
    finally:
        db.close()
    return Photograph(tables, places, queued, files, doomed)


def _digest(db: sqlite3.Connection, table: str) -> str:
    rows = db.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - our own names
    return hashlib.blake2b(marshal.dumps(rows, 2), digest_size=16).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return "missing"
