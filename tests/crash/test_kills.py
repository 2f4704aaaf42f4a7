"""The smoke-length version of `python -m tests.crash.kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.kills import play
from tests.space import run_space


# A client library that a kill cuts off in its constructor leaves its socket to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.requirement("SEED-58")
def test_killed_workers_lose_double_and_invent_nothing(tmp_path: Path) -> None:
    with run_space(tmp_path / "space", workers=2) as space:
        outcome = play(space, kills=12, seed=7, senders=1)
    assert outcome.problems == ()
    assert outcome.kills == 12
    assert outcome.acknowledged > 20
