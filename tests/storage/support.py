"""Shared by the tests of the store: a home, people, letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from mssmtp.config import StoreSettings
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalType,
    Domain,
    Door,
    Envelope,
    EnvelopeId,
    MailboxId,
    Recipient,
)
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Accepted, Letter, LocalDelivery, Owner, Store, Transfer, Writing
from mssmtp.storage.readings import ReadingKind
from mssmtp.storage.view import ranges

SENDER = Address.parse("marius@cabinet-b.test")
CABINET = Domain("cabinet-b.test")
RPPS = "899900000110"
TRANSFER = Transfer(
    direction="in",
    door=Door.OPERATOR,
    peer_address="192.0.2.7",
    verdict="accept",
    reply="250 2.0.0 pris en charge pour zoe@hopital-a.test",
    tls_version="TLSv1.3",
    tls_cipher="TLS_AES_256_GCM_SHA384",
    peer_dn="CN=smtp.cabinet-b.test",
    peer_serial="1f",
    peer_issuer="CN=TEST AC",
    list_date=datetime(2026, 1, 5, tzinfo=UTC),
    crl_number=7,
)


class SteppingClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def advance(self, step: timedelta) -> None:
        """Let time pass."""
        self.time += step


def database_file(home: Path) -> Path:
    """Holds the url of the database beside a home on PostgreSQL; child processes read it too."""
    return home.with_name(f"{home.name}.database")


def settings(home: Path, **changed: object) -> StoreSettings:
    """Settings of a store in `home`, on the engine that the test's fixture chose for it."""
    file = database_file(home)
    database = file.read_text(encoding="utf-8") if file.exists() else None
    return StoreSettings.model_validate(
        {"home": home, "master_key_file": home / "master.key", "database": database, **changed}
    )


def open_new(home: Path, clock: SteppingClock | None = None, **changed: object) -> Store:
    """A new store in `home`."""
    clock = clock or SteppingClock()
    Store.create(settings(home, **changed), clock, SystemEntropy())
    return Store(settings(home, **changed), clock, SystemEntropy(), worker="test")


def reopen(home: Path, **changed: object) -> Store:
    """The store of `home` opened again, a minute later."""
    clock = SteppingClock()
    clock.advance(timedelta(minutes=1))
    return Store(settings(home, **changed), clock, SystemEntropy(), worker="again")


def message(subject: str = "Bonjour", body: bytes = b"ligne\r\n" * 20) -> bytes:
    """A small letter as the doors store it."""
    return (
        b"Return-Path: <marius@cabinet-b.test>\r\n"
        b"Received: from cabinet-b.test\r\n"
        b"Message-ID: <1@cabinet-b.test>\r\nX-MSS-NIL: ESSAI-0001\r\n"
        b"From: marius@cabinet-b.test\r\nTo: zoe@hopital-a.test\r\n"
        b"Subject: " + subject.encode() + b"\r\n\r\n" + body
    )


def behind(home: Path) -> sqlite3.Connection | Behind:
    """The database of a home, behind the store's back, in autocommit. To be closed.

    Statements are SQLite's (`?`, `zeroblob`); PostgreSQL's connection translates these two.
    """
    file = database_file(home)
    if file.exists():
        return Behind(file.read_text(encoding="utf-8"))
    return sqlite3.connect(home / "store.db", timeout=30.0, isolation_level=None)


def tables_of_0010(db: sqlite3.Connection | Behind) -> None:
    """Those of that schema in place of ours."""
    db.execute("ALTER TABLE sent_copies DROP COLUMN sealed")


def tables_of_0009(db: sqlite3.Connection | Behind) -> None:
    """Those of that schema in place of ours; that of readings empty: a row for each letter."""
    tables_of_0010(db)
    db.execute("DROP TABLE readings")
    db.execute(
        "CREATE TABLE readings (bal BIGINT NOT NULL, day INTEGER NOT NULL, blob BIGINT NOT NULL,"
        " account BIGINT NOT NULL, kind TEXT NOT NULL, at BIGINT NOT NULL,"
        " PRIMARY KEY (bal, day, blob, account, kind))"
    )
    db.execute("CREATE INDEX readings_by_blob ON readings (blob, bal)")


class Behind:
    """PostgreSQL behind the store's back, spoken to as to SQLite."""

    def __init__(self, url: str) -> None:
        self._db = psycopg.connect(url, autocommit=True)
        self._db.execute(
            "CREATE FUNCTION pg_temp.zeroblob(integer) RETURNS bytea LANGUAGE sql"
            " AS $$ SELECT decode(repeat('00', $1), 'hex') $$"
        )

    def execute(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Run a statement; its cursor."""
        text = statement.replace("zeroblob(", "pg_temp.zeroblob(").replace("?", "%s")
        return self._db.execute(text.encode(), values)

    def close(self) -> None:
        """Let go."""
        self._db.close()


SKIP = message().index(b"\r\n") + 2


def add_bal(store: Store, address: str = "zoe@hopital-a.test") -> Bal:
    """A PER BAL whose login is its address."""
    return store.write(
        lambda w: w.create_bal(Address.parse(address), BalType.PER, national_id=RPPS, login=address)
    ).result()


def inbox(store: Store, bal: Bal) -> MailboxId:
    """Id of the INBOX of a BAL."""
    found = store.read(lambda r: r.mailbox(bal.id, "INBOX")).result()
    assert found is not None
    return found.id


def read_by(
    writing: Writing,
    account: AccountId,
    mailbox: MailboxId,
    uids: Sequence[int],
    kind: ReadingKind,
) -> None:
    """Somebody has fetched or seen these messages; noted with the commit of the job."""
    found = writing.mailbox_by_id(mailbox)
    assert found is not None
    letters = writing.letters_of(mailbox, ranges(uids))
    writing.note_read(account, found.bal, letters, kind)


def recipients(*addresses: str) -> tuple[Recipient, ...]:
    """Plain forward-paths."""
    return tuple(Recipient(Address.parse(address)) for address in addresses)


SUBMITTED = replace(TRANSFER, door=Door.SUBMISSION)
"""As somebody of ours hands it in."""


def accept(
    store: Store,
    letter: Letter,
    bals: Sequence[Bal] = (),
    queued: Sequence[Recipient] = (),
    owner: Owner = CABINET,
    transfer: Transfer = TRANSFER,
    invited: Sequence[Recipient] = (),
) -> tuple[EnvelopeId, Accepted]:
    """Accept `letter` for local BALs and for the queue."""
    local = [LocalDelivery(bal.id, Recipient(bal.address)) for bal in bals]
    envelope = Envelope(
        store.new_envelope_id(),
        SENDER,
        (*(delivery.recipient for delivery in local), *queued, *invited),
        datetime(2026, 3, 1, 8, 0, tzinfo=UTC),
    )
    done = store.write(
        lambda w: w.accept(
            envelope,
            letter,
            local=local,
            queued=queued,
            skip=SKIP,
            owner=owner,
            transfer=transfer,
            facts=b'{"rule":"listed"}',
            invited=invited,
        )
    )
    return envelope.id, done.result()
