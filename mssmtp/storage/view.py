"""What every query and job has in hand: one connection, the keys, the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select

from mssmtp.errors import Damaged
from mssmtp.mail import BalId, BlobId, Change, Domain, MailboxId
from mssmtp.outside import Clock, Entropy
from mssmtp.storage.engine import Connection, stream
from mssmtp.storage.files import BlobFiles
from mssmtp.storage.keys import Keyring, OwnerKey
from mssmtp.storage.letters import Reader, SealedBlob
from mssmtp.storage.model import NoSuchBal, Owner
from mssmtp.storage.schema import owners, sql

Row = tuple[Any, ...]

_OWNER = sql(select(owners.c.handle, owners.c.wrapped).where(owners.c.id == bindparam("id")))
_OWNER_OF_BAL = sql(select(owners.c.id).where(owners.c.bal == bindparam("bal")))
_OWNER_OF_DOMAIN = sql(select(owners.c.id).where(owners.c.domain == bindparam("domain")))
_NAMED_OWNER = sql(select(owners.c.bal, owners.c.domain).where(owners.c.id == bindparam("id")))
_NEW_OWNER = sql(
    insert(owners)
    .values({name: bindparam(name) for name in ("bal", "domain", "handle", "wrapped")})
    .returning(owners.c.id)
)


@dataclass(frozen=True, slots=True)
class Vault:
    """What the views of one process share."""

    keys: Keyring
    files: BlobFiles
    clock: Clock
    entropy: Entropy
    reader: Reader
    facts_kept: timedelta
    fold: Callable[[MailboxId, int, int, bytes], None]
    """Takes a rebuilt pack (mailbox, window, count, sealed) to be written when there is time."""


class View:
    """One connection inside one transaction."""

    def __init__(self, db: Connection, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._owner_ids: dict[Owner, int] = {}

    def _one(self, statement: str, **values: object) -> Row | None:
        found: Row | None = self._db.execute(statement, values).fetchone()
        return found

    def _all(self, statement: str, **values: object) -> list[Row]:
        return self._db.execute(statement, values).fetchall()

    def _each(self, statement: str, **values: object) -> Iterator[Row]:
        """Rows one by one: what does not fit into memory together."""
        return stream(self._db, statement, values)

    def _owner_key(self, id: int) -> OwnerKey:
        """The opened key of an owner. Raises Damaged."""
        if (key := self._vault.keys.cached(id)) is not None:
            return key
        row = self._one(_OWNER, id=id)
        if row is None:
            raise Damaged("an owner has no key")
        return self._vault.keys.owner(id, row[0], row[1])

    def _owner_id(self, owner: Owner) -> int | None:
        """Id of the owner row of a BAL or a domain, None when there is none yet."""
        if (known := self._owner_ids.get(owner)) is not None:
            return known
        if isinstance(owner, str):
            row = self._one(_OWNER_OF_DOMAIN, domain=owner)
        else:
            row = self._one(_OWNER_OF_BAL, bal=owner)
        if row is None:
            return None
        self._owner_ids[owner] = id = int(row[0])
        return id

    def _named_owner(self, id: int) -> Owner:
        row = self._one(_NAMED_OWNER, id=id)
        if row is None:
            raise Damaged("an owner is missing")
        return Domain(row[1]) if row[0] is None else BalId(row[0])

    def _bal_key(self, bal: BalId) -> OwnerKey:
        """The key of a BAL. Raises NoSuchBal."""
        if (id := self._owner_id(bal)) is None:
            raise NoSuchBal
        return self._owner_key(id)


@dataclass(slots=True)
class Effects:
    """What one job wants done after its commit. `queued`: something in the queue became due."""

    changes: list[Change] = field(default_factory=list)
    queued: bool = False
    adopted: list[SealedBlob] = field(default_factory=list)
    doomed: list[BlobId] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)


class WritingView(View):
    """A view that may write; its effects happen only if its commit does."""

    def __init__(self, db: Connection, vault: Vault) -> None:
        super().__init__(db, vault)
        self.effects = Effects()

    def _run(self, statement: str, **values: object) -> int:
        """Execute; returns how many rows changed."""
        return self._db.execute(statement, values).rowcount

    def _new(self, statement: str, **values: object) -> Row:
        """Execute a statement that returns one row."""
        row: Row = self._db.execute(statement, values).fetchone()
        return row

    def _ensure_owner(self, owner: Owner) -> OwnerKey:
        """The key of a BAL of ours or of any domain, made for a domain not met before.

        Raises NoSuchBal for a BAL that does not exist.
        """
        id = self._owner_id(owner)
        if id is None:
            if not isinstance(owner, str):
                raise NoSuchBal
            id = self._add_owner(bal=None, domain=owner)
        return self._owner_key(id)

    def _add_owner(self, *, bal: BalId | None, domain: Domain | None) -> int:
        handle, wrapped = self._vault.keys.new_owner()
        row = self._new(_NEW_OWNER, bal=bal, domain=domain, handle=handle, wrapped=wrapped)
        return int(row[0])


def ranges(uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """`uids` as ascending closed ranges without repetition."""
    ordered = sorted(set(uids))
    start = previous = None
    for uid in ordered:
        if previous is not None and uid == previous + 1:
            previous = uid
            continue
        if start is not None and previous is not None:
            yield start, previous
        start = previous = uid
    if start is not None and previous is not None:
        yield start, previous
