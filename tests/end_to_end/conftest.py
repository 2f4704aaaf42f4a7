"""One trust space for all tests that talk to real servers with foreign programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.space import RunningSpace, attach, run_space


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpace]:
    """`mssmtp demo --no-exchange` with two workers per operator, stopped at the end.

    MSSMTP_SPACE names the directory of one that is up already: to repeat a test quickly.
    """
    if up := os.environ.get("MSSMTP_SPACE"):
        yield attach(Path(up))
        return
    directory: Path = tmp_path_factory.mktemp("space") / "space"
    with run_space(directory, workers=2, accounts=5) as running:
        yield running
