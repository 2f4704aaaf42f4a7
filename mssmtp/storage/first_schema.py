"""A store of the first release, whose sealed values had no mark, in the form of today (D8).

Runs once, at the first opening after the tables were upgraded, in one transaction: killed, it
begins again. Packs are thrown away, they come back; who wrote to a box is read from the ledger,
since the first release kept only digests of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from mssmtp.errors import ConfigError, Damaged
from mssmtp.mail import Address
from mssmtp.outside import Entropy
from mssmtp.storage.delivery import ENVELOPE
from mssmtp.storage.engine import Connection
from mssmtp.storage.keys import (
    FIRST_MARK,
    OWNER_KEY,
    Keyring,
    MasterKey,
    MasterState,
    OwnerKey,
    OwnerRow,
    Sealer,
    derived,
)
from mssmtp.storage.people import CORRESPONDENT
from mssmtp.storage.rights import member_purpose
from mssmtp.storage.schema import (
    correspondents,
    envelopes,
    event_lines,
    events,
    members,
    meta,
    owners,
    packs,
    sql,
)
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS, Opener, Station
from mssmtp.storage.view import MASTERS, owner_name

KEY_CHECK = "key-check"
_AT_ONCE = 1_000
_CACHED = 10_000

_GET = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))
_PUT = sql(insert(meta))
_DROP = sql(delete(meta).where(meta.c.key == bindparam("key")))
_OWNERS = sql(select(owners.c.id, owners.c.bal, owners.c.domain, owners.c.handle, owners.c.wrapped))
_OWNER = sql(
    select(owners.c.bal, owners.c.domain, owners.c.handle, owners.c.wrapped).where(
        owners.c.id == bindparam("owner")
    )
)
_MARK = sql(
    update(owners)
    .where(owners.c.id == bindparam("owner"))
    .values(mark=bindparam("new_mark"), wrapped=bindparam("new"))
)
_MEMBERS = sql(select(members.c.account, members.c.bal))
_PROVE = sql(
    update(members)
    .where(members.c.account == bindparam("account_"))
    .where(members.c.bal == bindparam("bal_"))
    .values(sealed=bindparam("new"))
)
_DROP_PACKS = sql(delete(packs))
_DROP_CORRESPONDENTS = sql(delete(correspondents))
_NEW_CORRESPONDENT = sql(insert(correspondents))
_DELIVERED = sql(
    select(owners.c.id, owners.c.bal, envelopes.c.id, envelopes.c.owner, envelopes.c.sealed)
    .join_from(events, event_lines, event_lines.c.event == events.c.number)
    .join(owners, owners.c.id == event_lines.c.owner)
    .join(envelopes, envelopes.c.id == events.c.envelope)
    .where(events.c.kind == bindparam("kind"))
    .where(owners.c.bal.is_not(None))
    .where(events.c.number > bindparam("after"))
    .where(events.c.number <= bindparam("through"))
)
_LAST_EVENT = sql(select(events.c.number).order_by(events.c.number.desc()).limit(1))

Row = dict[str, Any]


def convert(db: Connection, master: bytes, entropy: Entropy) -> None:
    """Seal everything anew in today's form, or nothing. Raises ConfigError: another master key."""
    db.execute("BEGIN IMMEDIATE")
    try:
        _Conversion(db, master, entropy).run()
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class _Conversion:
    def __init__(self, db: Connection, master: bytes, entropy: Entropy) -> None:
        key = MasterKey(master, entropy)
        self._db = db
        self._entropy = entropy
        self._state = MasterState(FIRST_MARK, key.id)
        self._keys = Keyring(self._state, entropy, lambda _: key)
        self._names = Sealer(derived(master, b"names"), entropy)
        self._wrapping = Sealer(derived(master, b"owners"), entropy)
        self._owners: dict[int, tuple[OwnerKey, Sealer]] = {}

    def run(self) -> None:
        row = self._db.execute(_GET, {"key": KEY_CHECK}).fetchone()
        try:
            self._names.open(KEY_CHECK.encode(), row[0])
        except Damaged as error:
            raise ConfigError(
                "store.master_key_file",
                "is not the key of this store",
                "Restore the right file from its safe copy.",
            ) from error
        self._db.execute(_DROP_PACKS)
        self._db.execute(_DROP_CORRESPONDENTS)
        self._open_owners()
        for station in MASTER_STATIONS:
            if station.under == "names":
                self._station(station)
        for station in OWNER_STATIONS:
            self._station(station)
        self._prove_members()
        self._correspondents()
        self._db.execute(_DROP, {"key": KEY_CHECK})
        self._db.execute(_PUT, {"key": MASTERS, "value": bytes(self._state)})

    def _open_owners(self) -> None:
        """The keys stay; they are bound to whose they are, and get a mark."""
        for id, bal, domain, handle, wrapped in self._db.execute(_OWNERS).fetchall():
            key = self._wrapping.open(OWNER_KEY + handle, wrapped)
            sealed = self._keys.wrapping.seal(OWNER_KEY + handle + owner_name(bal, domain), key)
            self._db.execute(_MARK, {"owner": id, "new_mark": FIRST_MARK, "new": sealed})

    def _owner(self, id: int) -> tuple[OwnerKey, Sealer]:
        """The key of an owner as it seals today and as it sealed then."""
        if id not in self._owners:
            if len(self._owners) >= _CACHED:
                self._owners.clear()
            bal, domain, handle, wrapped = self._db.execute(_OWNER, {"owner": id}).fetchone()
            name = owner_name(bal, domain)
            row = OwnerRow(id, name, handle, FIRST_MARK, wrapped, None)
            key = self._keys.wrapping.open(OWNER_KEY + handle + name, wrapped)
            then = Sealer(derived(key, b"seal"), self._entropy)
            self._owners[id] = self._keys.owner(row), then
        return self._owners[id]

    def _station(self, station: Station) -> None:
        after = station.start()
        keys = station.keys()
        while rows := self._page(station, after):
            for row in rows:
                after = tuple(row[name] for name in keys)
                try:
                    new = station.renewed(self._opener(station, row["owner"]), row)
                except Damaged:
                    continue  # it did not open before either, and the check says so
                changed = {f"new_{name}": value for name, value in new.items()}
                at = {f"at_{name}": value for name, value in zip(keys, after, strict=True)}
                self._db.execute(station.update, changed | at)

    def _page(self, station: Station, after: tuple[object, ...]) -> list[Row]:
        begin = {f"after_{n}": v for n, v in zip(station.keys(), after, strict=True)}
        rows = self._db.execute(station.page, {**begin, "most": _AT_ONCE}).fetchall()
        # The digests stand behind: they are of the first release, and made anew.
        return [dict(zip(station.names, row, strict=False)) for row in rows]

    def _opener(self, station: Station, owner: int) -> Opener:
        if station.under == "names":
            return _Then(self._names, b"", self._keys)
        key, then = self._owner(owner)
        return _Then(then, key.handle, key)

    def _prove_members(self) -> None:
        for account, bal in self._db.execute(_MEMBERS).fetchall():
            sealed = self._keys.seal(member_purpose(account, bal), b"")
            self._db.execute(_PROVE, {"account_": account, "bal_": bal, "new": sealed})

    def _correspondents(self) -> None:
        for owner, bal, address in self._senders():
            key, _ = self._owner(owner)
            digest = key.digest(CORRESPONDENT, address)
            sealed = key.seal(CORRESPONDENT + digest, address.encode())
            self._db.execute(_NEW_CORRESPONDENT, {"bal": bal, "digest": digest, "sealed": sealed})

    def _senders(self) -> Iterator[tuple[int, int, str]]:
        """Owner, BAL, address of whoever wrote to it, once each."""
        known: set[tuple[int, str]] = set()
        last = self._db.execute(_LAST_EVENT).fetchone()

        @lru_cache(_CACHED)
        def sender(id: str, owner: int, sealed: bytes) -> str | None:
            opened = json.loads(self._owner(owner)[0].open(ENVELOPE + id.encode(), sealed))
            return None if opened["sender"] is None else Address.parse(opened["sender"]).key

        for after in range(0, last[0] if last else 0, _AT_ONCE):
            span = {"kind": "remise", "after": after, "through": after + _AT_ONCE}
            for owner, bal, id, sealing, sealed in self._db.execute(_DELIVERED, span).fetchall():
                address = sender(id, sealing, sealed)
                if address is not None and (bal, address) not in known:
                    known.add((bal, address))
                    yield owner, bal, address


class _Then:
    """Opens what the first release sealed, seals as today."""

    def __init__(self, then: Sealer, handle: bytes, now: Opener) -> None:
        self._then = then
        self._handle = handle
        self._now = now

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        return self._then.open(_purpose_then(purpose) + self._handle, sealed)

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        return self._now.seal(purpose, octets)

    def digest(self, purpose: bytes, text: str) -> bytes:
        return self._now.digest(purpose, text)


def _purpose_then(purpose: bytes) -> bytes:
    """What the first release bound a value to: names to nothing, others to less than today."""
    kind, _, rest = purpose.partition(b"\0")
    if kind == b"subscription":
        return b"mailbox-name"
    if kind in (b"mailbox-name", b"keyword", b"bal", b"login"):
        return kind
    if kind in (b"recipient", b"queue-reply", b"transfer", b"app-password"):
        return kind + b"\0" + rest.partition(b"\0")[0]
    return purpose
