"""What only PostgreSQL has: a server that is refused, goes away, hangs, or half commits.

Every test has a database of its own on a server of this module, which is stopped and changed at
will.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError, StorageFull, StorageUnavailable
from mssmtp.mail import Bal
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, Writing, deadlines, postgres, postgres_connection, schema
from mssmtp.storage.engine import HOME_ID
from mssmtp.storage.postgres import PostgresEngine
from mssmtp.storage.postgres_connection import COMMIT_LOCK, Link, PostgresConnection, meaning
from tests.postgres import Cluster, name_of, skip_without_postgres
from tests.storage.support import (
    SteppingClock,
    accept,
    add_bal,
    database_file,
    inbox,
    message,
    open_new,
    reopen,
    settings,
)
from tests.storage.test_processes import Ear

PATIENCE_S = 0.4
OF_DATABASE = "FROM pg_stat_activity WHERE datname = '{}'"
WAITING = OF_DATABASE + " AND wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server that tests may stop."""
    skip_without_postgres()
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def engine() -> str:
    """SQLite has its own module of this kind."""
    return "postgresql"


@pytest.fixture
def home(tmp_path: Path, server: Cluster) -> Iterator[Path]:
    home = tmp_path / "home"
    url = server.new_database()
    database_file(home).write_text(url, encoding="utf-8")
    yield home
    server.drop_database(name_of(url))


def database(home: Path) -> str:
    return name_of(database_file(home).read_text(encoding="utf-8"))


def end_connections(server: Cluster, home: Path) -> None:
    """End every connection to the database of `home`, as an administrator or a failover does."""
    server.execute(f"SELECT pg_terminate_backend(pid) {OF_DATABASE.format(database(home))}")


def letters(store: Store, bal: Bal) -> int:
    box = inbox(store, bal)
    return len(store.read(lambda r: r.messages(box)).result())


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync_is_refused(home: Path, server: Cluster, name: str) -> None:
    open_new(home).close()
    server.execute(f"ALTER SYSTEM SET {name} = off")
    server.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(ConfigError, match=f"{name} = off") as refused:
            until(lambda: reopen(home).close())
    finally:
        server.execute(f"ALTER SYSTEM RESET {name}")
        server.execute("SELECT pg_reload_conf()")
    assert refused.value.remedy.startswith(f"Set {name} = on")


def until(attempt: Callable[[], None]) -> None:
    """Repeat until it raises: a reload counts from the next moment on, not at once."""
    for _ in range(1_000):
        attempt()


def test_a_database_in_another_encoding_is_refused(home: Path, server: Cluster) -> None:
    server.drop_database(database(home))
    server.execute(f"CREATE DATABASE {database(home)} ENCODING LATIN1 TEMPLATE template0")
    with pytest.raises(ConfigError, match="in LATIN1"):
        open_new(home)


def test_a_database_that_is_not_there_is_named_without_password(home: Path, tmp_path: Path) -> None:
    open_new(home).close()
    secret = tmp_path / "password"
    secret.write_text("Tr3sSecret\n", encoding="utf-8")
    secret.chmod(0o600)
    gone = f"postgresql://mssmtp@/nowhere?host={tmp_path}"
    with pytest.raises(ConfigError) as refused:
        reopen(home, database=gone, database_password_file=secret)
    assert refused.value.what == "store.database"
    assert "Tr3sSecret" not in str(refused.value)


def test_the_password_comes_from_its_file_alone(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("Tr3sSecret\n", encoding="utf-8")
    secret.chmod(0o600)
    engine = PostgresEngine(settings(home, database_password_file=secret))
    assert "password=Tr3sSecret" in engine._with_password()
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read"):
        engine._with_password()
    secret.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        engine._with_password()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://mssmtp:secret@db.example/mssmtp",
        "postgresql://mssmtp@db.example/mssmtp?password=secret",
        "postgresql://mssmtp@db.example/mssmtp?sslpassword=secret",
        "mysql://db.example/mssmtp",
    ],
)
def test_a_password_in_the_settings_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="password_file|named as"):
        StoreSettings.model_validate({"home": tmp_path, "master_key_file": "k", "database": url})


def test_several_hosts_are_one_address(tmp_path: Path) -> None:
    url = "postgresql://mssmtp@db1.example:5432,db2.example:5433/mssmtp?sslmode=verify-full"
    target = PostgresEngine(settings(tmp_path / "h", database=url))._target
    assert "target_session_attrs=read-write" in target
    assert "host=db1.example,db2.example" in target


def test_two_homes_on_one_database_are_refused(home: Path, tmp_path: Path) -> None:
    open_new(home).close()
    other = tmp_path / "other"
    database_file(other).write_text(database_file(home).read_text(encoding="utf-8"), "utf-8")
    with pytest.raises(ConfigError, match="already"):
        open_new(other)
    own = tmp_path / "own"
    open_new(own).close()
    taken = database_file(home).read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="belongs to another home"):
        reopen(own, database=taken, master_key_file=home / "master.key")


def test_a_database_with_tables_of_others_is_refused(home: Path, server: Cluster) -> None:
    server.execute("CREATE TABLE theirs (a integer)", database(home))
    with pytest.raises(ConfigError, match="not empty"):
        open_new(home)


def test_a_home_of_sqlite_is_not_made_one_of_postgresql(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    open_new(own).close()
    url = database_file(home).read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="store of SQLite already"):
        open_new(own, database=url)


def test_a_creation_that_was_cut_short_can_be_repeated(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise StorageUnavailable("cut")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresEngine, "_migrated", staticmethod(cut))
        with pytest.raises(ConfigError):
            open_new(home)
    store = open_new(home)
    accept(store, store.seal(message()), [add_bal(store)])
    store.close()


def test_a_user_without_rights_is_told_what_to_do(home: Path, server: Cluster) -> None:
    server.execute("DROP ROLE IF EXISTS guest")
    server.execute("CREATE ROLE guest LOGIN")
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database(home))
    url = database_file(home).read_text(encoding="utf-8").replace("mssmtp@", "guest@")
    with pytest.raises(ConfigError, match="permission denied") as refused:
        open_new(home, database=url)
    assert "OWNER" in refused.value.remedy


def test_a_commit_waits_for_the_disk_whatever_the_server_says(home: Path, server: Cluster) -> None:
    server.execute(f"ALTER DATABASE {database(home)} SET synchronous_commit = off")
    link = PostgresEngine(settings(home)).link(writing=True)
    assert link.execute("SHOW synchronous_commit").fetchone() == ("on",)
    link.close()


# ---------------------------------------------------------------- connections that go


def test_a_connection_lost_between_commits_costs_nothing(
    store: Store, zoe: Bal, home: Path, server: Cluster
) -> None:
    accept(store, store.seal(message()), [zoe])
    assert letters(store, zoe) == 1
    end_connections(server, home)
    accept(store, store.seal(message()), [zoe])
    assert letters(store, zoe) == 2


@pytest.mark.attack
def test_att_19_a_server_that_fell_back_gives_no_box_the_key_of_another(
    home: Path, server: Cluster
) -> None:
    """A standby that lacks the last commits takes over: their ids come again, for others."""
    open_new(home).close()
    name = database(home)
    server.execute(f"CREATE DATABASE {name}_standby TEMPLATE {name}")
    with closing(reopen(home)) as store:
        lost = add_bal(store, "lost@hopital-a.test")
        accept(store, store.seal(message()), [lost])
        end_connections(server, home)
        server.execute(f"ALTER DATABASE {name} RENAME TO {name}_lost")
        server.execute(f"ALTER DATABASE {name}_standby RENAME TO {name}")
        other = add_bal(store, "other@hopital-a.test")
        assert other.id == lost.id
        accept(store, store.seal(message()), [other])
    server.drop_database(f"{name}_lost")
    with closing(reopen(home)) as store:
        assert store.check(deep=True).problems == ()
        assert letters(store, other) == 1


@pytest.mark.requirement("CL-79")
def test_a_connection_lost_in_a_commit_fails_that_group_alone(
    store: Store, zoe: Bal, home: Path, server: Cluster
) -> None:
    def lost(w: Writing) -> None:
        w.create_mailbox(zoe.id, "Perdu")
        end_connections(server, home)
        w.create_mailbox(zoe.id, "Perdu aussi")

    with pytest.raises(StorageUnavailable):
        store.write(lost).result(10)
    assert store.read(lambda r: r.mailbox(zoe.id, "Perdu")).result() is None
    accept(store, store.seal(message()), [zoe])


def test_a_commit_without_answer_is_a_temporary_failure(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed; nobody knows. The files stay, the sender is asked to come again."""
    execute = Link.execute

    def unanswered(self: Link, query: bytes, *rest: Any, **options: Any) -> Any:
        done = execute(self, query, *rest, **options)
        if query == b"COMMIT":
            self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return done

    letter = store.seal(message(body=os.urandom(200_000)))
    with monkeypatch.context() as patch:
        patch.setattr(Link, "execute", unanswered)
        with pytest.raises(StorageUnavailable):
            accept(store, letter, [zoe])
    assert letters(store, zoe) == 1
    assert len(list((home / "blobs").glob("*/*"))) == 1
    accept(store, store.seal(message()), [zoe])


def test_a_failed_transaction_is_never_taken_for_a_commit(store: Store, zoe: Bal) -> None:
    """PostgreSQL answers COMMIT of a failed transaction without an error."""
    duplicate = schema.sql(schema.meta.insert())

    def swallows(w: Writing) -> int:
        try:
            w._db.execute(duplicate, {"key": HOME_ID, "value": b"x"})
        except psycopg.Error:
            return 7
        return 0

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        store.write(swallows).result(10)
    accept(store, store.seal(message()), [zoe])


def test_a_commit_that_gave_up_waiting_for_a_standby_is_no_success(
    home: Path, server: Cluster
) -> None:
    store = open_new(home)
    bal = add_bal(store)
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.execute("SELECT pg_reload_conf()")
    try:
        refused = False
        while not refused:  # a reload counts from the next moment on
            done = store.write(lambda w: w.create_mailbox(bal.id, os.urandom(8).hex()))
            while not done.done() and not waits_for_standby(server, home):
                pass
            cancel_waiting(server, home)
            refused = isinstance(done.exception(10), StorageUnavailable)
    finally:
        server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        server.execute("SELECT pg_reload_conf()")
    store.close()


def waits_for_standby(server: Cluster, home: Path) -> bool:
    return server.execute(f"SELECT count(*) {WAITING.format(database(home))}") != [(0,)]


def cancel_waiting(server: Cluster, home: Path) -> None:
    server.execute(f"SELECT pg_cancel_backend(pid) {WAITING.format(database(home))}")


def test_a_sweep_waits_for_the_last_commit_of_a_dead_worker(home: Path, server: Cluster) -> None:
    """A killed worker's COMMIT goes on in the server, for as long as a standby takes."""
    store = open_new(home)
    letter = store.seal(message(body=os.urandom(200_000).hex().encode()))
    accept(store, letter, [add_bal(store)])
    blob, file = letter.blob.id, store._files.path(letter.blob.id)
    store.close()
    left = home / "incoming" / "dead"
    left.mkdir(mode=0o700)
    os.link(file, left / blob.hex())
    with psycopg.connect(server.url(database(home))) as dying:
        row = dying.execute("DELETE FROM blobs WHERE id = %s RETURNING *", (blob,)).fetchone()
        assert row is not None
        dying.commit()
        dying.execute("SELECT pg_advisory_xact_lock(%s)", (COMMIT_LOCK,))
        values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
        dying.execute(sql.SQL("INSERT INTO blobs VALUES ({})").format(values), row)
        opening = threading.Thread(target=lambda: reopen(home).close())
        opening.start()
        while opening.is_alive() and not waits_for_turn(server):
            pass
        dying.commit()
        opening.join()
    assert file.exists()
    assert not left.exists()
    store = reopen(home)
    assert store.check(deep=True).is_sound
    store.close()


def waits_for_turn(server: Cluster) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return server.execute(waiting) != [(0,)]


# ---------------------------------------------------------------- servers that go


def test_a_killed_server_loses_nothing_acknowledged(home: Path, server: Cluster) -> None:
    store = open_new(home)
    bal = add_bal(store)
    for _ in range(5):
        accept(store, store.seal(message()), [bal])
    server.kill()
    with pytest.raises(StorageUnavailable):
        accept(store, store.seal(message()), [bal])
    with pytest.raises(StorageUnavailable):
        letters(store, bal)
    server.start()
    again(lambda: accept(store, store.seal(message()), [bal]))
    assert again(lambda: letters(store, bal)) == 6
    assert store.check(deep=True).problems == ()
    store.close()


def again(attempt: Callable[[], Any]) -> Any:
    """Repeat while the store is unavailable: it looks for the server at growing distances."""
    for _ in range(10_000):
        try:
            return attempt()
        except StorageUnavailable:
            threading.Event().wait(0.01)
    raise AssertionError("the store never came back")


@pytest.mark.requirement("CL-79")
def test_a_server_that_hangs_is_told_in_time_and_forgotten(
    home: Path, server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "ANSWER_WITHIN_S", 60.0)  # the engine must see it by itself
    store = open_new(home)
    bal = add_bal(store)
    store.close()
    monkeypatch.setattr(Link, "patience_s", PATIENCE_S)
    store = again(lambda: reopen(home))
    assert again(lambda: letters(store, bal)) == 0
    server.freeze()
    try:
        waiting: list[Future[Any]] = [
            store.write(lambda w: w.create_mailbox(bal.id, "A")),
            store.read(lambda r: r.bals()),
        ]
        for future in waiting:
            assert isinstance(future.exception(10), StorageUnavailable)
    finally:
        server.thaw()
    again(lambda: accept(store, store.seal(message()), [bal]))
    assert again(lambda: letters(store, bal)) == 1
    assert store.check().problems == ()
    store.close()


@pytest.mark.requirement("CL-79")
def test_a_lock_that_another_node_keeps_ends_the_waiting(
    home: Path, server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_new(home).close()
    monkeypatch.setattr(postgres, "PATIENCE_S", PATIENCE_S)
    store = again(lambda: reopen(home))
    with psycopg.connect(server.url(database(home))) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (COMMIT_LOCK,))
        with pytest.raises(StorageUnavailable):
            store.write(lambda w: None).result(10)
    again(lambda: add_bal(store))
    store.close()


def test_a_follower_hears_again_after_its_connection_was_lost(
    store: Store, zoe: Bal, home: Path, server: Cluster
) -> None:
    ear = Ear()
    stop = store.subscribe(ear)
    accept(store, store.seal(message()), [zoe])
    assert ear.heard.wait(30)
    ear.heard.clear()
    end_connections(server, home)
    accept(store, store.seal(message()), [zoe])
    while len(ear.changes) < 2:  # it is told to look as soon as the connection is lost, too
        assert ear.heard.wait(30)
        ear.heard.clear()
    stop()
    assert [change.modseq for change in ear.changes] == [2, 3]


# ---------------------------------------------------------------- statements


def test_every_statement_is_one_of_postgresql(home: Path, server: Cluster) -> None:
    import mssmtp.storage.check  # noqa: F401

    open_new(home).close()
    with psycopg.connect(server.url(database(home))) as db:
        for name in list(schema._STATEMENTS):
            text = numbered(schema.postgres_text(name))
            result = db.pgconn.prepare(b"", text.encode())
            assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, (text, result.error_message)


def numbered(text: str) -> str:
    """`text` with the parameters of the protocol itself."""
    known: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return known.setdefault(found[1], f"${len(known) + 1}")

    return re.sub(r"%\((\w+)\)s", number, text).replace("%%", "%")


@pytest.mark.attack
def test_att_22_no_text_of_others_reaches_postgresql(home: Path) -> None:
    open_new(home).close()
    db = PostgresEngine(settings(home)).connect(writing=True)
    with pytest.raises(KeyError):
        db.execute("SELECT 1")
    db.close()


def test_rows_are_streamed_a_few_at_a_time(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "STREAMED_ROWS", 2)
    for _ in range(5):
        accept(store, store.seal(message()), [zoe])
    assert store.check(deep=True).problems == ()


def test_a_full_disk_of_the_server_is_a_full_store() -> None:
    assert isinstance(meaning(psycopg.errors.DiskFull("x"), None), StorageFull)


def test_a_bug_of_ours_stays_a_bug(home: Path) -> None:
    open_new(home).close()
    db = PostgresEngine(settings(home)).connect(writing=True)
    bug = psycopg.errors.UndefinedTable("x")
    assert meaning(bug, db._link) is bug
    db.close()


def test_an_unreachable_server_is_not_asked_again_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_new(home).close()
    engine = PostgresEngine(settings(home))
    attempts: list[int] = []

    def opened() -> Link:
        if attempts:
            attempts.append(1)
            raise psycopg.OperationalError("refused")
        attempts.append(1)
        return engine.link(writing=True)

    db = PostgresConnection(opened)
    assert db._link is not None
    db._link.close()
    for _ in range(20):
        with pytest.raises(StorageUnavailable):
            db.execute("BEGIN")
    assert len(attempts) == 2
    db.close()


def test_creating_twice_is_refused(home: Path) -> None:
    open_new(home).close()
    with pytest.raises(ConfigError, match="already"):
        Store.create(settings(home), SteppingClock(), SystemEntropy())
