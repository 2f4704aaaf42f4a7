"""The guards that `python -m tests.weakened` takes away are still where it looks for them."""

from __future__ import annotations

import pytest

from tests.weakened import ROOT, WEAKENINGS, Weakening


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=lambda each: each.name)
def test_the_guard_is_in_the_source_once_and_its_tests_exist(weakening: Weakening) -> None:
    source = (ROOT / weakening.file).read_text("utf-8")
    assert source.count(weakening.guard) == 1
    assert all((ROOT / test).exists() for test in weakening.tests)
