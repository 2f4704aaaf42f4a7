"""What only the embedded engine has: a database file, its page limit, sockets in the home."""

from __future__ import annotations

import socket
import sqlite3
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


def rows_of(count: int) -> list[dict[str, object]]:
    return [{"b": f"b{number}", "a": number} for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 32, 33, 100, 300])
def test_many_rows_are_inserted_in_order_by_few_statements(tmp_path: Path, count: int) -> None:
    db = database.connect(tmp_path / "rows.db", writing=True)
    db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, a INTEGER, b TEXT)")
    run: list[str] = []
    db.set_trace_callback(run.append)
    db.executemany("INSERT INTO t (a, b) VALUES (:a, :b)", rows_of(count))
    db.set_trace_callback(None)
    found = db.execute("SELECT a, b FROM t ORDER BY n").fetchall()
    assert found == [(number, f"b{number}") for number in range(count)]
    assert len(run) <= count // 32 + 5
    db.close()


def test_other_statements_run_once_for_each_of_their_rows(tmp_path: Path) -> None:
    db = database.connect(tmp_path / "rows.db", writing=True)
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    insert = "INSERT INTO t (a, b) VALUES (:a, :b)"
    db.executemany(insert, rows_of(3))
    db.executemany("UPDATE t SET b = 'new ' || :b WHERE a = :a", rows_of(2))
    db.executemany(insert + " ON CONFLICT (a) DO UPDATE SET b = :b || '!'", rows_of(1))
    assert db.execute("SELECT b FROM t ORDER BY a").fetchall() == [("b0!",), ("new b1",), ("b2",)]
    with pytest.raises(sqlite3.IntegrityError):
        db.executemany(insert, rows_of(5))
    assert db.execute("SELECT count(*) FROM t").fetchone() == (3,)  # none of a refused group
    db.close()
