"""All cases in their order, and the table of what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.motco2 import letters, limits, login, tls
from tests.motco2.cases import Case, Line, judged
from tests.motco2.target import Target

MARKS = {"holds": "✓", "fails": "✗", "open": "…"}


def cases(target: Target, *, long: bool) -> Iterator[Case]:
    """Every case; those that take megabytes only when `long`."""
    everything = (*tls.cases(target), *login.cases(), *letters.cases(), *limits.cases())
    return (case for case in everything if long or not case.is_long)


def played(
    target: Target, *, long: bool = False, told: Callable[[Line], object] = lambda _: None
) -> tuple[Line, ...]:
    """Run them all, one after the other; `told` hears of each."""
    lines = []
    for case in cases(target, long=long):
        line = judged(case, target)
        told(line)
        lines.append(line)
    return tuple(lines)


def table(lines: Sequence[Line]) -> str:
    """Markdown, as the report to ANS wants it."""
    head = "| | Group | Asked | Rows | Observed |\n|---|---|---|---|---|\n"
    rows = (
        f"| {MARKS[line.mark]} | {line.case.group} | {line.case.asked} | {line.case.rows}"
        f" | {_cell(line.observed)} |"
        for line in lines
    )
    return head + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:200]
