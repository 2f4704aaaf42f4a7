"""One trust space for the attacks, with one worker per operator: there is no second one to help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.trust import Snapshot
from tests.smtp_in.rig import Rig, make_rig
from tests.space import RunningSpace, run_space


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """`mssmtp demo --no-exchange`, attacked by every test of this directory."""
    directory: Path = tmp_path_factory.mktemp("attacked") / "space"
    with run_space(directory, workers=1, accounts=5) as running:
        yield running


@pytest.fixture
def rig(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot, tmp_path: Path
) -> Rig:
    """The doors of hopital-a.test in the test's own process, over a fake store."""
    return make_rig(authority, healthy, snapshot, tmp_path)
