"""D12: a start costs the same whatever the store holds; `bench/startup.py` has the times."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench.fill import Filler, Plan
from mssmtp.storage import Store, database
from tests.storage.support import add_bal, open_new, reopen

EVERY = 100
"""Instructions of the database's machine between two looks."""


@pytest.fixture
def engine() -> str:
    """Only the embedded engine counts its instructions; the statements are the same on both."""
    return "sqlite"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per EVERY instructions of any connection opened from now on."""
    seen: list[int] = []
    connect = database.connect

    def look() -> int:
        seen.append(EVERY)
        return 0

    def counted(path: Path, *, writing: bool) -> sqlite3.Connection:
        db = connect(path, writing=writing)
        db.set_progress_handler(look, EVERY)
        return db

    monkeypatch.setattr(database, "connect", counted)
    return seen


def killed(directory: Path, messages: int) -> Path:
    """The home of a server that died with `messages` in boxes and as many in the queue."""
    directory.mkdir()
    home = directory / "home"
    with closing(open_new(home)) as store:
        add_bal(store)
        for _ in Filler(store, Plan(messages, octets=400, distinct=10, queued=messages)).run():
            pass
        shutil.copytree(home, directory / "left", ignore=shutil.ignore_patterns("*.wake"))
    return directory / "left"


def test_d12_a_start_after_a_kill_costs_the_same_whatever_the_store_holds(
    tmp_path: Path, looks: list[int]
) -> None:
    cost = {}
    for messages in (20, 1_000):
        home = killed(tmp_path / str(messages), messages)
        looks.clear()
        with closing(reopen(home)) as store:
            cost[messages] = len(looks)
            assert 2 * messages <= count(store)
            assert len(looks) - cost[messages] > messages // EVERY, "reading all is seen"
    assert cost[1_000] <= cost[20] + 5


def count(store: Store) -> int:
    """Messages and queue rows, by looking at each."""
    held = store.check().counted
    return held["messages"] + held["queue"]
