"""A file is played by one process, and what may last longest begins first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from tests.distribution import longest_first, part_of


def test_a_part_is_a_group_a_file_or_a_long_test_by_itself() -> None:
    assert part_of("tests/tls/test_layer.py::test_a[x@y]") == "tests/tls/test_layer.py"
    assert part_of("tests/tls/test_layer.py::test_a[x]@space") == "space"
    alone = "tests/soak/test_soak.py::test_a_planted_bug_is_found[x]"
    assert part_of(alone) == alone


def item(nodeid: str, limit: int = 0) -> pytest.Item:
    mark = pytest.mark.timeout(limit).mark if limit else None
    made = SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda name: mark)
    return cast(pytest.Item, made)


def test_limits_and_then_numbers_decide_and_a_file_keeps_its_order() -> None:
    items = [
        item("a.py::one"),
        item("b.py::two"),
        item("c.py::zwei"),
        item("b.py::one"),
        item("c.py::eins", 90),
        item("d.py::one", 120),
    ]
    longest_first(items)
    assert [each.nodeid for each in items] == [
        "d.py::one",
        "c.py::zwei",
        "c.py::eins",
        "b.py::two",
        "b.py::one",
        "a.py::one",
    ]
