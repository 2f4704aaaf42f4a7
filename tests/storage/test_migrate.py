"""From SQLite to PostgreSQL: the same store, octet for octet, and never two of it (D5, D8)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Bal, Domain, EnvelopeId, Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Outcome, Reading, Store, migrate, moved
from mssmtp.storage.schema import metadata
from tests.postgres import Cluster, name_of
from tests.storage.support import (
    TRANSFER,
    SteppingClock,
    accept,
    add_bal,
    inbox,
    message,
    open_new,
    recipients,
    settings,
)
from tests.storage.test_references import filled
from tests.storage.test_rotation import fill_windows, seen

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "$Un")


def ignored(table: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    """An empty database."""
    made = postgres.new_database()
    yield made
    postgres.drop_database(name_of(made))


@pytest.fixture
def engine() -> str:
    """What is moved is a SQLite store."""
    return "sqlite"


# ---------------------------------------------------------------- a store full of everything


def fill(store: Store, seed: int, steps: int) -> list[EnvelopeId]:
    """Do `steps` random things to a new store; the envelopes it has met."""
    pick = random.Random(seed)  # noqa: S311
    clock = SteppingClock()
    bals = [add_bal(store, f"docteur{number}@hopital-a.test") for number in range(3)]
    for bal in bals:
        store.write(lambda w, b=bal: w.create_mailbox(b.id, "Réseau/Été")).result()  # type: ignore[misc]
    envelopes: list[EnvelopeId] = []
    for _ in range(steps):
        _one_thing(store, pick, bals, envelopes, clock)
    return envelopes


def _one_thing(
    store: Store,
    pick: random.Random,
    bals: list[Bal],
    envelopes: list[EnvelopeId],
    clock: SteppingClock,
) -> None:
    bal = pick.choice(bals)
    box = inbox(store, bal)
    other = store.read(lambda r: r.mailbox(bal.id, "Réseau/Été")).result()
    assert other is not None
    uids = [Uid(pick.randrange(1, 12)) for _ in range(3)]
    flags = frozenset(pick.sample(FLAGS, pick.randrange(3)))
    match pick.randrange(9):
        case 0 | 1 | 2:
            size = pick.choice([10, 2_000, 200_000])
            letter = store.seal(
                message(f"n{pick.random()}", pick.randbytes(size // 2).hex().encode())
            )
            to = pick.sample(bals, pick.randrange(1, 3))
            away = recipients("a@c.test", "b@d.test")[: pick.randrange(3)]
            envelopes.append(accept(store, letter, to, away)[0])
        case 3:
            letter = store.seal(message("jointe"))
            store.write(lambda w: w.append(box, letter, flags, clock.now())).result()
        case 4:
            store.write(lambda w: w.store_flags(box, uids, "+", flags)).result()
        case 5:
            store.write(lambda w: w.expunge(box)).result()
        case 6:
            store.write(lambda w: w.copy(box, uids, other.id)).result()
        case 7:
            store.write(lambda w: w.move(box, uids, other.id)).result()
        case _:
            clock.advance(timedelta(seconds=1))
            leases = store.write(lambda w: w.lease(clock.now(), 3, "relay")).result()
            outcomes = [
                Outcome(lease.envelope.id, who, "retry", "451 4.4.1", NOW + timedelta(hours=1))
                for lease in leases
                for who in lease.recipients
            ]
            store.write(lambda w: w.record(outcomes[:1], TRANSFER)).result()


def answers(store: Store, envelopes: list[EnvelopeId]) -> dict[str, object]:
    """Everything the store can be asked."""

    def of_box(reading: Reading, box: object) -> dict[str, object]:
        rows = reading.messages(box.id)  # type: ignore[attr-defined]
        uids = [row.uid for row in rows]
        return {
            "box": box,
            "rows": rows,
            "uids": reading.uids(box.id),  # type: ignore[attr-defined]
            "gone": reading.expunged_since(box.id, 0),  # type: ignore[attr-defined, arg-type]
            "bodies": [reading.body(box.id, uid) for uid in uids],  # type: ignore[attr-defined]
            "summaries": list(reading.summaries(box.id, uids)),  # type: ignore[attr-defined]
        }

    def query(reading: Reading) -> dict[str, object]:
        found: dict[str, object] = {"bals": reading.bals(), "queue": reading.queue()}
        for bal in reading.bals():
            found[f"subscriptions {bal.id}"] = reading.subscriptions(bal.id)
            for box in reading.mailboxes(bal.id):
                found[f"{bal.id} {box.name}"] = of_box(reading, box)
            found[f"account {bal.id}"] = reading.account(str(bal.address))
        for id in envelopes:
            found[id] = (reading.events(id), reading.transfers(id), reading.facts(id))
        return found

    found = store.read(query).result()
    report = store.check(deep=True)
    assert report.problems == ()
    counted = {name: number for name, number in report.counted.items() if name != "databases"}
    return {**found, "counted": counted}  # the file of SQLite is looked at as a whole too


def opened(of: StoreSettings) -> Store:
    """The store, a minute later."""
    clock = SteppingClock()
    clock.advance(timedelta(minutes=1))
    return Store(of, clock, SystemEntropy(), worker="again")


@given(seed=st.integers(0, 2**32), steps=st.integers(5, 40))
@examples(max_examples=4, deadline=None)
def test_a_moved_store_answers_as_before(postgres: Cluster, seed: int, steps: int) -> None:
    with TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        with closing(open_new(home)) as store:
            envelopes = fill(store, seed, steps)
        with closing(opened(settings(home))) as store:
            before = answers(store, envelopes)
        there = settings(home, database=postgres.new_database())
        migrate.move(there, NOW, ignored)
        with closing(opened(there)) as store:
            assert answers(store, envelopes) == before
            # It goes on where it was: the next UID, the next id, the next link of the chain.
            bal = store.read(lambda r: r.bals()).result()[0]
            was = store.read(lambda r: r.mailbox(bal.id, "INBOX")).result()
            assert was is not None
            _, accepted = accept(store, store.seal(message("après")), [bal], owner=Domain("c.test"))
            assert accepted.stored[bal.id].uid == was.uid_next
            assert store.check(deep=True).problems == ()


PASSING = {"copying", "doomed_files"}
"""Of what is under way at the moment."""


def test_every_table_is_moved_with_something_in_it(home: Path, url: str) -> None:
    """People, services and evidence too; keys are replaced and the chain goes on afterwards."""
    store, bal = filled(home)
    fill_windows(store, inbox(store, bal))
    store.settle()
    seen_before = seen(store)
    store.close()
    there = settings(home, database=url)
    moved_tables = {table.name: table for table in migrate.move(there, NOW, ignored)}
    assert moved_tables.keys() == metadata.tables.keys()
    assert {name for name, table in moved_tables.items() if not table.rows} == PASSING
    with closing(opened(there)) as store:
        assert seen(store) == seen_before
        assert store.rotate_master().is_finished
        assert store.rotate_owners().is_finished
        assert seen(store) == seen_before
        assert store.check(deep=True).problems == ()


# ---------------------------------------------------------------- never two of it


@pytest.fixture
def moving(home: Path, url: str) -> StoreSettings:
    """A home on SQLite with three letters, and settings that already name the database."""
    with closing(open_new(home)) as store:
        bal = add_bal(store)
        for number in range(3):
            accept(store, store.seal(message(str(number))), [bal])
    return settings(home, database=url)


def test_after_the_move_only_the_database_can_be_opened(home: Path, moving: StoreSettings) -> None:
    migrate.move(moving, NOW, ignored)
    opened(moving).close()
    with pytest.raises(ConfigError, match="were moved to PostgreSQL, database t_"):
        opened(settings(home))
    with pytest.raises(ConfigError, match="holds the rows already"):
        migrate.move(moving, NOW, ignored)


def test_before_the_move_the_empty_database_says_what_to_do(moving: StoreSettings) -> None:
    with pytest.raises(ConfigError, match="mssmtp store migrate"):
        opened(moving)


def test_undo_opens_the_file_as_it_was(home: Path, moving: StoreSettings) -> None:
    with pytest.raises(ConfigError, match="not moved"):
        migrate.undo(home)
    migrate.move(moving, NOW, ignored)
    migrate.undo(home)
    with closing(opened(settings(home))) as store:
        assert len(store.read(lambda r: r.bals()).result()) == 1


def test_after_an_undo_the_rows_that_were_left_in_postgresql_are_not_served(
    home: Path, moving: StoreSettings
) -> None:
    """Two stores of one home would give the same UIDs to different letters."""
    migrate.move(moving, NOW, ignored)
    migrate.undo(home)
    with pytest.raises(ConfigError, match="belongs to another home"):
        opened(moving)
    with pytest.raises(ConfigError, match="belongs to another home"):
        migrate.move(moving, NOW, ignored)


def test_an_open_store_is_not_moved(home: Path, moving: StoreSettings) -> None:
    with closing(opened(settings(home))), pytest.raises(ConfigError, match="has the store open"):
        migrate.move(moving, NOW, ignored)
    migrate.move(moving, NOW, ignored)


def test_a_database_with_tables_of_others_is_left_alone(moving: StoreSettings) -> None:
    assert moving.database is not None
    with psycopg.connect(moving.database) as db:
        db.execute("CREATE TABLE theirs (id int)")
    with pytest.raises(ConfigError, match="not empty"):
        migrate.move(moving, NOW, ignored)


# ---------------------------------------------------------------- cut short


def test_a_move_killed_anywhere_goes_on_and_ends_the_same(
    home: Path, moving: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_TOLD_EVERY_ROWS", 1)
    monkeypatch.setattr(migrate, "BATCH_ROWS", 2)
    with closing(opened(settings(home))) as store:
        before = answers(store, [])

    class Cut(Exception):
        """The process ends here."""

    calls = 0

    def until(number: int) -> migrate.Told:
        def told(table: str, done: int, total: int) -> None:
            nonlocal calls
            calls += 1
            if calls >= number:
                raise Cut

        return told

    tables: tuple[migrate.MovedTable, ...] = ()
    for number in range(5, 400, 23):
        calls = 0
        try:
            tables = migrate.move(moving, NOW, until(number))
            break
        except Cut:
            with pytest.raises(ConfigError, match="begun and not finished"):
                opened(moving)
            opened(settings(home)).close()  # not left yet
    copied, rows = sum(t.copied for t in tables), sum(t.rows for t in tables)
    assert 3 * copied < rows, "it began anew"
    with closing(opened(moving)) as store:
        assert answers(store, []) == before


def test_a_cut_between_the_two_marks_leaves_both_closed(
    home: Path, moving: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(source: sqlite3.Connection, link: object, where: str) -> None:
        source.execute(migrate._MARK, {"key": moved.MOVED, "value": where.encode()})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_switch", left)
        with pytest.raises(KeyboardInterrupt):
            migrate.move(moving, NOW, ignored)
    with pytest.raises(ConfigError, match="were moved to"):
        opened(settings(home))
    with pytest.raises(ConfigError, match="begun and not finished"):
        opened(moving)
    migrate.move(moving, NOW, ignored)
    opened(moving).close()


def test_rows_that_changed_after_a_cut_are_copied_anew(
    home: Path, moving: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(source: object, link: object, where: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_switch", never)
        with pytest.raises(KeyboardInterrupt):
            migrate.move(moving, NOW, ignored)
    with closing(opened(settings(home))) as store:
        bal = store.read(lambda r: r.bals()).result()[0]
        box = inbox(store, bal)
        store.write(lambda w: w.store_flags(box, [Uid(2)], "+", frozenset({"\\Deleted"}))).result()
        store.write(lambda w: w.expunge(box)).result()
        before = answers(store, [])
    migrate.move(moving, NOW, ignored)
    with closing(opened(moving)) as store:
        assert answers(store, []) == before


def test_a_row_altered_on_the_way_is_not_switched_over(
    home: Path, moving: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = migrate._Mover._arrived

    def altered(self: migrate._Mover) -> Iterator[tuple[object, ...]]:
        for row in rows(self):
            yield (*row[:-1], b"other") if self._table.name == "blobs" else row

    monkeypatch.setattr(migrate._Mover, "_arrived", altered)
    with pytest.raises(migrate.NotTheSame, match="blobs"):
        migrate.move(moving, NOW, ignored)
    opened(settings(home)).close()


def test_the_command_moves_and_is_resumed_after_kill_9(
    home: Path, moving: StoreSettings, tmp_path: Path
) -> None:
    """`kill -9` while rows are on their way; the same command again ends it."""
    code = (
        "import os, signal, sys\n"
        "from datetime import UTC, datetime\n"
        "from mssmtp.config import StoreSettings\n"
        "from mssmtp.storage import migrate\n"
        "migrate._TOLD_EVERY_ROWS = 1\n"
        "of = StoreSettings.model_validate_json(sys.argv[1])\n"
        "def told(table, done, total):\n"
        "    if table == 'messages': os.kill(os.getpid(), signal.SIGKILL)\n"
        "migrate.move(of, datetime.now(UTC), told)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, moving.model_dump_json()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ConfigError, match="begun and not finished"):
        opened(moving)
    migrate.move(moving, NOW, ignored)
    opened(moving).close()
