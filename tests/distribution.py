"""Which process plays which tests, and in what order: a file whole, the longest first.

A file in one process makes its fixtures once. Files differ in length by minutes: what may last
longest, by its own limit or by its number of tests, begins first, so that no process is left alone
with it at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from _pytest.nodeid import NodeId
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

EACH_ALONE = ("tests/soak/", "tests/canary/", "tests/storage/test_crash")
"""Long tests that share nothing: a process may take one of them and leave the next."""


def part_of(nodeid: str) -> str:
    """What is played by one process: a marked group, a file, or a long test by itself."""
    place, _, rest = nodeid.partition("::")
    if rest.rfind("@") > rest.rfind("]"):
        return rest.rpartition("@")[2]
    return nodeid if place.startswith(EACH_ALONE) else place


class ByPart(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no types
    """Parts in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return part_of(nodeid)


def name_groups(items: Sequence[pytest.Item]) -> None:
    """Put the `xdist_group` behind each node id, where the scheduler looks for it.

    pytest-xdist 3.8 writes it into an attribute that pytest 9.2 no longer reads: without this
    every process starts a trust space of its own.
    """
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


def longest_first(items: list[pytest.Item]) -> None:
    """Order the parts; inside a part nothing moves."""
    limits: dict[str, float] = {}
    sizes: Counter[str] = Counter()
    for item in items:
        part = part_of(item.nodeid)
        mark = item.get_closest_marker("timeout")
        limits[part] = max(limits.get(part, 0.0), float(mark.args[0]) if mark else 0.0)
        sizes[part] += 1
    places = {part: at for at, part in enumerate(sizes)}
    order = {part: (-limits[part], -sizes[part], places[part]) for part in sizes}
    items.sort(key=lambda item: order[part_of(item.nodeid)])
