"""One failover of the database in CI; `python -m tests.crash.failover` does many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.failover import run
from tests.crash.pair import Pair
from tests.postgres import skip_without_postgres

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(autouse=True)
def _postgres() -> None:
    skip_without_postgres()


@pytest.mark.requirement("CL-79")
def test_a_failover_under_load_loses_doubles_and_repeats_nothing(tmp_path: Path) -> None:
    """The harder kind: the replica was frozen, so that commits were waiting for it."""
    with Pair() as pair:
        found = run(tmp_path, pair, rounds=1, seed=7, frozen=True)
    assert found.holds, str(found)
    assert found.acknowledged >= 50


def test_a_replica_nobody_waits_for_is_seen_to_lose_mail(tmp_path: Path) -> None:
    """Control: what the test above says of a primary without synchronous_standby_names."""
    with Pair(synchronous=False) as pair:
        found = run(tmp_path, pair, rounds=1, seed=7, frozen=True)
    assert found.lost, str(found)
    assert not found.holds
