"""What only the embedded engine has: a database file, its page limit, sockets in the home."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mssmtp.errors import StorageUnavailable
from mssmtp.mail import Bal
from mssmtp.storage import Store, database, schema
from tests.storage.support import accept, add_bal, inbox, message, open_new
from tests.storage.test_faults import fits


@pytest.fixture
def engine() -> str:
    """PostgreSQL has its own module of this kind."""
    return "sqlite"


def test_a_full_database_fails_the_jobs_and_serves_the_next(home: Path) -> None:
    store = open_new(home)
    bal = add_bal(store)
    db = store._committer._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 20}")
    assert not all(fits(store, bal, 30_000) for _ in range(40))
    db.execute("PRAGMA max_page_count=1000000")
    accept(store, store.seal(message()), [bal])
    assert store.check(deep=True).problems == ()
    store.close()


def test_a_read_only_store_is_read_but_not_written(home: Path) -> None:
    store = open_new(home)
    bal = add_bal(store)
    accept(store, store.seal(message()), [bal])
    store._committer._db.execute("PRAGMA query_only=ON")
    with pytest.raises(StorageUnavailable):
        accept(store, store.seal(message()), [bal])
    box = inbox(store, bal)
    assert len(store.read(lambda r: r.messages(box)).result()) == 1
    store._committer._db.execute("PRAGMA query_only=OFF")
    accept(store, store.seal(message()), [bal])
    assert store.check(deep=True).problems == ()
    store.close()


def test_the_sockets_of_dead_processes_are_removed(store: Store, home: Path, zoe: Bal) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = home / "run" / "d.wake"
    dead.bind(str(path))
    dead.close()
    accept(store, store.seal(message()), [zoe])
    store.write(lambda w: None).result()
    assert not path.exists()


def test_an_empty_database_is_upgraded_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database.create(path)
    assert database.version(path) == schema.VERSION
    database.ensure_version(path)
