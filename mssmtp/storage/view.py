"""What every query and job has in hand: one connection, the keys, the files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select

from mssmtp import metrics
from mssmtp.errors import ConfigError, Damaged, StorageUnavailable
from mssmtp.mail import WHOLE_BOX, BalId, BlobId, Change, ChangeKind, Domain, MailboxId, ModSeq
from mssmtp.outside import Clock, Entropy
from mssmtp.storage.engine import Connection, stream
from mssmtp.storage.files import BlobFiles
from mssmtp.storage.images import Images
from mssmtp.storage.keys import FIRST_MARK, Keyring, MasterState, OwnerKey, OwnerMark, OwnerRow
from mssmtp.storage.known import Known
from mssmtp.storage.lately import Lately
from mssmtp.storage.letters import Reader, SealedBlob
from mssmtp.storage.model import NoSuchBal, Owner, Shredded
from mssmtp.storage.remembered import Remembered
from mssmtp.storage.rows import Rows
from mssmtp.storage.schema import meta, owners, sql, table_of

logger = logging.getLogger(__name__)

MASTERS = "masters"
"""Row of `meta` with the MasterState."""

if TYPE_CHECKING:
    from mssmtp.storage.readings import Noted
    from mssmtp.storage.views import Writing

Row = tuple[Any, ...]

_OWNER = sql(
    select(
        owners.c.bal,
        owners.c.domain,
        owners.c.handle,
        owners.c.mark,
        owners.c.wrapped,
        owners.c.older,
    ).where(owners.c.id == bindparam("id"))
)
_MARKED = (owners.c.mark, owners.c.older.is_not(None))
_MARK = sql(select(*_MARKED).where(owners.c.id == bindparam("id")))
_OWNER_OF_BAL = sql(select(owners.c.id, *_MARKED).where(owners.c.bal == bindparam("bal")))
_OWNER_OF_DOMAIN = sql(select(owners.c.id, *_MARKED).where(owners.c.domain == bindparam("domain")))
_MASTERS = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))
_NAMED_OWNER = sql(select(owners.c.bal, owners.c.domain).where(owners.c.id == bindparam("id")))
_NEW_OWNER = sql(
    insert(owners)
    .values({name: bindparam(name) for name in ("bal", "domain", "handle", "mark", "wrapped")})
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
    quota_octets: int
    noted: Noted
    known: Known
    images: Images
    remembered: Remembered
    lately: Lately
    openers: Executor
    """Opens packs beside the thread that looks through them."""
    later: Callable[[Callable[[Writing], object]], None]
    """Takes a job that keeps a pack, to be done when there is time; or not at all."""
    want_packs: Callable[[MailboxId, int], None]
    """A window of texts lacks its packs: they are made when there is time."""
    tells: bool = False
    """What happens to letters is noted for the service mail (`notices.py`)."""
    worker: str = "cli"
    """The name of this process, which whoever replaces it has too."""


class View:
    """One connection inside one transaction."""

    _is_writing = False

    def __init__(self, db: Connection, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._owner_ids: dict[Owner, int] = {}
        self._owner_names: dict[int, Owner] = {}
        self._marks: dict[int, OwnerMark] = {}
        self._absent: dict[str | None, set[tuple[str, str]]] = {}
        """By table, what was looked for in it and is not there, since it was changed last."""
        self._has_followed = False

    def now(self) -> datetime:
        """The store's clock: what a job writes down, it writes with the time of its run."""
        return self._vault.clock.now()

    @property
    def remembered(self) -> Remembered:
        """What was opened before by this process, and what was made of it."""
        return self._vault.remembered

    def _one(self, statement: str, **values: object) -> Row | None:
        found: Row | None = self._db.execute(statement, values).fetchone()
        return found

    def _all(self, statement: str, **values: object) -> list[Row]:
        return self._db.execute(statement, values).fetchall()

    def _each(self, statement: str, **values: object) -> Iterator[Row]:
        """Rows one by one: what does not fit into memory together."""
        return stream(self._db, statement, values)

    def _owner_key(self, id: int) -> OwnerKey:
        """The opened key of an owner, as this snapshot has it. Raises Damaged."""
        if (mark := self._marks.get(id)) is None:
            row = self._one(_MARK, id=id)
            if row is None:
                raise Damaged("an owner has no key")
            mark = self._marks[id] = OwnerMark(bytes(row[0]), bool(row[1]))
        return self._vault.keys.cached(id, mark) or self._vault.keys.owner(self._owner_row(id))

    def _owner_row(self, id: int) -> OwnerRow:
        """The row of an owner, with the master keys it is wrapped under. Raises Damaged."""
        row = self._one(_OWNER, id=id)
        if row is None:
            raise Damaged("an owner has no key")
        bal, domain, handle, mark, wrapped, older = row
        if not mark:
            raise Shredded("the key of its owner was destroyed")
        if not self._vault.keys.knows(wrapped) or not self._vault.keys.knows(older or wrapped):
            self._follow_masters()
        return OwnerRow(id, owner_name(bal, domain), handle, mark, wrapped, older)

    def _follow_masters(self) -> bool:
        """Have the master keys this snapshot wants; True when they are others than before.

        A rotation, perhaps by another process, changes them (once per view: a snapshot stands
        still). Raises Damaged, StorageUnavailable.
        """
        if self._has_followed:
            return False
        row = self._one(_MASTERS, key=MASTERS)
        state = MasterState.parse(row[0] if row else b"")
        try:
            changed = self._vault.keys.follow(state, is_truth=self._is_writing)
        except ConfigError as error:
            logger.error("a master key is missing", extra={"why": error.why})
            raise StorageUnavailable from error
        self._has_followed = True
        if changed:
            self._vault.known.forget()
        return changed

    def _master_open(self, purpose: bytes, sealed: bytes | None) -> bytes:
        """Open what is sealed under the master key. Raises Damaged, StorageUnavailable."""
        sealed = sealed or b""
        if not self._vault.keys.knows(sealed):
            self._follow_masters()
        return self._vault.keys.open(purpose, sealed)

    def _master_digests(self, purpose: bytes, text: str) -> tuple[bytes, ...]:
        """Digests under which a row of this snapshot may stand, the newest first.

        Raises Damaged, StorageUnavailable.
        """
        self._follow_masters()
        return self._vault.keys.digests(purpose, text)

    def _opened_owner(self, purpose: bytes, wrapped: bytes) -> bytes:
        """The key of an owner as it lies on the disk. Raises Damaged, StorageUnavailable."""
        if not self._vault.keys.knows(wrapped):
            self._follow_masters()
        return self._vault.keys.wrapping.open(purpose, wrapped)

    def _legible(
        self, opens: Callable[[bytes, bytes], bytes], purpose: bytes, sealed: bytes | None
    ) -> bytes | None:
        """What `opens` finds; None, and a line in the log, when it is damaged.

        For lists: one bad entry must not hide the others (D10).
        """
        try:
            return opens(purpose, sealed or b"")
        except Damaged:
            what = purpose.partition(b"\0")[0].decode()
            metrics.internal_errors.labels("storage").inc()
            logger.error("a sealed value does not authenticate", extra={"what": what})
            return None

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
        self._marks[id] = OwnerMark(bytes(row[1]), bool(row[2]))
        return id

    def _named_owner(self, id: int) -> Owner:
        if (known := self._owner_names.get(id)) is not None:
            return known
        row = self._one(_NAMED_OWNER, id=id)
        if row is None:
            raise Damaged("an owner is missing")
        name: Owner = Domain(row[1]) if row[0] is None else BalId(row[0])
        self._owner_names[id] = name
        return name

    def _bal_key(self, bal: BalId) -> OwnerKey:
        """The key of a BAL. Raises NoSuchBal."""
        if (id := self._owner_id(bal)) is None:
            raise NoSuchBal
        return self._owner_key(id)


@dataclass(slots=True)
class Effects:
    """What one job wants done after its commit. `queued`: something in the queue became due.

    `first` is called before anybody is answered, `after` when all are; `first` must not raise.
    """

    changes: list[Change] = field(default_factory=list)
    queued: bool = False
    adopted: list[SealedBlob] = field(default_factory=list)
    doomed: list[BlobId] = field(default_factory=list)
    first: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)


class WritingView(View):
    """A view that may write; its effects happen only if its commit does.

    A job may run twice: when the rows of a group cannot be written, each job runs alone.
    """

    _is_writing = True

    def __init__(self, db: Connection, vault: Vault, rows: Rows) -> None:
        super().__init__(db, vault)
        self.effects = Effects()
        self._rows = rows
        # What the jobs before it have looked up: between them nobody else writes.
        self._owner_ids, self._marks = rows.owner_ids, rows.marks

    def _one(self, statement: str, **values: object) -> Row | None:
        self._rows.before(statement)
        return super()._one(statement, **values)

    def _all(self, statement: str, **values: object) -> list[Row]:
        self._rows.before(statement)
        return super()._all(statement, **values)

    def _each(self, statement: str, **values: object) -> Iterator[Row]:
        self._rows.before(statement)
        return super()._each(statement, **values)

    def _run(self, statement: str, **values: object) -> int:
        """Execute; returns how many rows changed."""
        self._stir(statement)
        return self._db.execute(statement, values).rowcount

    def _run_many(self, statement: str, values: list[dict[str, object]]) -> None:
        """Execute for each of `values`."""
        self._stir(statement)
        self._db.executemany(statement, values)

    def _new(self, statement: str, **values: object) -> Row:
        """Execute a statement that returns one row."""
        self._stir(statement)
        row: Row = self._db.execute(statement, values).fetchone()
        return row

    def _new_all(self, statement: str, **values: object) -> list[Row]:
        """Execute a statement that returns several rows."""
        self._stir(statement)
        return self._db.execute(statement, values).fetchall()

    def _later(self, statement: str, **values: object) -> None:
        """Insert a row before anything names its table, at the end of the transaction perhaps."""
        self._absent.clear()
        self._rows.add(statement, values)

    def _box_changed(self, bal: BalId) -> None:
        """Sessions that wait anywhere in the box ask whether they still may, and for what."""
        self.effects.changes.append(Change(ChangeKind.MAILBOX, bal, WHOLE_BOX, ModSeq(0)))

    def _stir(self, statement: str) -> None:
        """Before anything is changed by `statement`."""
        self._rows.stir(statement)
        if self._absent:
            table = table_of(statement)
            if table is None:
                self._absent.clear()
            else:
                self._absent.pop(table, None)

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
        self._follow_masters()
        name = owner_name(bal, domain)
        handle, wrapped = self._vault.keys.new_owner(name)
        row = self._new(
            _NEW_OWNER, bal=bal, domain=domain, handle=handle, mark=FIRST_MARK, wrapped=wrapped
        )
        made = OwnerRow(int(row[0]), name, handle, FIRST_MARK, wrapped, None)
        # What comes next is sealed with it.
        self._vault.keys.owner(made)
        if bal is not None:
            self._owner_ids[bal] = made.id
        self._marks[made.id] = OwnerMark(FIRST_MARK, replaces=False)
        return made.id

    def _master_digest(self, purpose: bytes, text: str) -> bytes:
        """The digest of a new row: by the key that seals it, or a rotation would leave it under the
        one before, where nobody looks any more. Raises StorageUnavailable."""
        self._follow_masters()
        return self._vault.keys.digest(purpose, text)

    def _master_seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Seal under the master key in force. Raises StorageUnavailable."""
        self._follow_masters()
        return self._vault.keys.seal(purpose, octets)


def owner_name(bal: int | None, domain: str | None) -> bytes:
    """What the wrapped key of an owner is bound to."""
    return b"bal\0" + str(bal).encode() if domain is None else b"domain\0" + domain.encode()


def ranges(uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """`uids` as ascending closed ranges without repetition."""
    ordered = sorted(set(uids))
    if ordered and ordered[-1] - ordered[0] == len(ordered) - 1:
        yield ordered[0], ordered[-1]
        return
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
