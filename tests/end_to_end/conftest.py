"""One trust space for all tests that talk to real servers with foreign programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import Cluster, skip_without_postgres
from tests.space import RunningSpace, attach, run_space

ON_BOTH_ENGINES = frozenset(
    {"test_main_job", "test_main_limits", "test_main_rules", "test_bad_input", "test_zz_canary"}
)
"""What is asked of both engines in every run; `./run test --engine postgresql` asks all of one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One space per engine, each with its tests in one process."""
    if "space" not in metafunc.fixturenames:
        return
    only = os.environ.get("MSSMTP_ENGINE")
    both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH_ENGINES
    engines = [only] if only else ["sqlite", "postgresql"] if both else ["sqlite"]
    elsewhere = pytest.mark.xdist_group("space-postgresql")
    metafunc.parametrize(
        "space",
        [
            pytest.param(engine, marks=elsewhere if engine == "postgresql" else ())
            for engine in engines
        ],
        indirect=True,
        scope="session",
    )


@pytest.fixture(scope="session")
def space(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSpace]:
    """`mssmtp demo --no-exchange` with two workers per operator, stopped at the end.

    MSSMTP_SPACE names the directory of one that is up already: to repeat a test quickly.
    """
    if up := os.environ.get("MSSMTP_SPACE"):
        yield attach(Path(up))
        return
    directory: Path = tmp_path_factory.mktemp("space") / "space"
    with (
        _cluster(request.param) as database,
        run_space(directory, workers=2, accounts=5, database=database) as running,
    ):
        yield running


@contextmanager
def _cluster(engine: str) -> Iterator[Cluster | None]:
    if engine == "sqlite":
        yield None
        return
    skip_without_postgres()
    with Cluster() as cluster:
        yield cluster
