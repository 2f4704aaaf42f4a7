"""Every test that writes ends with Store.check."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal
from mssmtp.storage import Store
from tests.postgres import Cluster, name_of
from tests.storage.support import SteppingClock, add_bal, database_file, open_new


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """The two engines. A module about one of them alone has a fixture of its own of this name."""
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> Iterator[Path]:
    home = tmp_path / "home"
    if engine == "sqlite":
        yield home
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    url = cluster.new_database()
    database_file(home).write_text(url, encoding="utf-8")
    yield home
    cluster.drop_database(name_of(url))


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def store(home: Path, clock: SteppingClock) -> Iterator[Store]:
    store = open_new(home, clock)
    yield store
    clock.advance(timedelta(seconds=1))  # files as old as the check are taken for being written
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()


@pytest.fixture
def zoe(store: Store) -> Bal:
    return add_bal(store)
