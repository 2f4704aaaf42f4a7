"""One operator for all rows that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.ours import Ours
from tests.acceptance.space import Space
from tests.acceptance.table import Table


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process plays all of it: the operators are started once."""
    for item in items:
        if "/acceptance/" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group("acceptance"))
            item.add_marker(pytest.mark.requirement("OP-97"))


@pytest.fixture(scope="session")
def table() -> Table:
    return Table()


@pytest.fixture(scope="session")
def space() -> Space:
    return Space()


@pytest.fixture(scope="module")
def ours(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    """The operator of most rows: it is left as it was found."""
    with Ours(tmp_path_factory.mktemp("ours"), space).running() as operator:
        yield operator


@pytest.fixture(autouse=True)
def nothing_waits(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a row leaves in the shared queue is not the next row's."""
    yield
    if "ours" in request.fixturenames:
        request.getfixturevalue("ours").drop()
