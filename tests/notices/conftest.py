"""One store for all tests of a module: what they queue is sent or told within each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store
from tests.storage.support import SteppingClock, settings


@pytest.fixture(scope="module")
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, clock: SteppingClock) -> Iterator[Store]:
    home: Path = tmp_path_factory.mktemp("notices") / "home"
    Store.create(settings(home), clock, SystemEntropy())
    store = Store(settings(home), clock, SystemEntropy(), worker="test", tells=True)
    yield store
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()
