"""Every test that writes ends with Store.check (style.md)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal
from mssmtp.storage import Store
from tests.storage.support import SteppingClock, add_bal, open_new


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


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
