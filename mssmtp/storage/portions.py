"""Statements about several rows at once, as many as a group of letters has.

The driver gives the interpreter away for every statement, and has to win it back from the event
loop; sixteen rows by one statement do so once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import BindParameter, bindparam

TOGETHER = 16


def several(name: str) -> list[BindParameter[object]]:
    """The parameters `name`0, `name`1 and so on of one statement."""
    return [bindparam(f"{name}{number}") for number in range(TOGETHER)]


def portions(**columns: Sequence[object]) -> Iterator[dict[str, object]]:
    """Values for `several`, of each column as many as there are rows.

    What is left of the last portion names its last row again: only for statements to which a row
    that is named twice is one row.
    """
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, TOGETHER):
        values: dict[str, object] = {}
        for name, column in columns.items():
            some = column[start : start + TOGETHER]
            for number in range(TOGETHER):
                values[f"{name}{number}"] = some[min(number, len(some) - 1)]
        yield values
