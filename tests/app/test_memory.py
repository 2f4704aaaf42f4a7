"""The largest letters pass in bounded memory; the full version is `python -m tests.app.memory`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.memory import IDLE_MB, Figures, large_letter, measure
from tests.space import run_space


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.requirement("OP-66")
def test_the_largest_letters_pass_in_bounded_memory_and_do_not_add_up(tmp_path: Path) -> None:
    with run_space(tmp_path / "space", workers=1) as space:
        figures = measure(space, at_once=6)
    assert figures.problems() == [], figures


def test_the_letter_is_as_large_as_the_rules_allow() -> None:
    octets = large_letter("a@hopital-a.test", "b@cabinet-b.test", "examens")
    assert 57_000_000 < len(octets) < 62_914_560


def test_a_server_that_holds_letters_in_memory_is_seen() -> None:
    held = Figures(80.0, 80.0 + 57.4 * 2, 80.0 + 57.4 * 3, 80.0 + 57.4 * 6, 80.0 + 57.4 * 6)
    assert len(held.problems()) == 3
    assert Figures(IDLE_MB, 90.0, 90.0, 90.0, 90.0).problems() == [f"idle: {IDLE_MB:.0f} MB"]
