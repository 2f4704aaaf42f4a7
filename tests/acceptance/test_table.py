"""The committed table has every row of the specification, and every cell is filled."""

from __future__ import annotations

from tests.acceptance.table import DOCUMENT, LINES, read, render

ROWS = frozenset(f"WT-{number:02}" for number in (*range(1, 11), *range(20, 49)))
"""Of the national acceptance matrix."""


def test_every_row_of_the_specification_is_in_the_committed_table() -> None:
    committed = read()
    assert list(committed) == list(dict.fromkeys(committed))
    assert set(committed) == {line.key for line in LINES}
    assert {line.row for line in LINES if line.row.startswith("WT-")} == ROWS


def test_the_committed_table_is_written_by_the_run_and_not_by_hand() -> None:
    """Each observation is compared by the test that makes it; this is what stands around them."""
    committed = read()
    seen = {}
    for line in LINES:
        seen[line.key, "inbound"], seen[line.key, "outbound"] = committed[line.key]
    assert all(seen.values())
    assert DOCUMENT.read_text("utf-8") == render(seen)
