"""The risk table says what is so (OP-78)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_PROMISED_YET = {"D7"}
"""A restore that mail clients do not notice; the page says so."""


def rows() -> list[list[str]]:
    """Cells of every row of the table."""
    lines = (ROOT / "docs/risks.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def suite() -> set[str]:
    """Every test of the suite, by name."""
    return {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }


@pytest.mark.requirement("OP-78")
def test_every_risk_has_a_measure_and_a_test_that_exists() -> None:
    known = suite()
    assert len(rows()) > 40
    for event, id, measure, shown in rows():
        assert event, id
        assert measure, id
        named = re.findall(r"`([^`]+)`", shown)
        assert named, f"{event}: shown by nothing"
        lost = [one for one in named if one not in known and not (ROOT / one).is_file()]
        assert lost == [], event


@pytest.mark.requirement("OP-78")
def test_whatever_the_suite_claims_has_a_row() -> None:
    ids = [row[1] for row in rows()]
    attacks = {f"ATT-{found}" for found in re.findall(r"test_att_(\d\d)_", " ".join(suite()))}
    promises = {f"D{number}" for number in range(1, 13)} - NOT_PROMISED_YET
    assert (attacks | promises) - set(ids) == set()
    assert {id for id in ids if re.fullmatch(r"ATT-\d\d", id)} == attacks
    for id in NOT_PROMISED_YET:
        assert f"({id})" in (ROOT / "docs/risks.md").read_text(encoding="utf-8")
