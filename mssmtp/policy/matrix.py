"""The table of who may write to whom as rows to read (`policy show`, docs/habilitation.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mssmtp.mail import BalType, PersonState
from mssmtp.policy.grants import EVERYBODY, OPERATORS, PATIENTS, Cell, Table, Who

COLUMNS = ("box", "holder", "number", "here", "operators", "patients", "hears operators", "lines")
YES, ANSWERS, NO = "yes", "answers", "-"


@dataclass(frozen=True, slots=True)
class Row:
    """What the boxes of one kind may do; `number`: with or without RPPS/ADELI, or both."""

    box: str
    holder: str
    number: str
    here: str
    operators: str
    patients: str
    hears: str
    lines: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of `COLUMNS`."""
        return (
            self.box,
            self.holder,
            self.number,
            self.here,
            self.operators,
            self.patients,
            self.hears,
            self.lines,
        )


def rows(table: Table) -> tuple[Row, ...]:
    """One for each kind of box and state of its holder; two where the number counts."""
    found: list[Row] = []
    for who in EVERYBODY:
        if who.person is PersonState.PRE_REGISTERED:
            continue  # nothing, whatever the lines say
        row = _row(table, who)
        same = found[-1] if found else None
        if same is not None and same.cells[:2] == row.cells[:2] and same.cells[3:] == row.cells[3:]:
            found[-1] = Row(row.box, row.holder, "any", *row.cells[3:])
        else:
            found.append(row)
    return tuple(found)


def _row(table: Table, who: Who) -> Row:
    here = {kind.value: _may(table, who, kind.value) for kind in BalType}
    told = set(here.values())
    return Row(
        who.kind,
        who.person.value,
        "with" if who.has_number else "without",
        told.pop() if len(told) == 1 else ", ".join(f"{k} {may}" for k, may in here.items()),
        _may(table, who, OPERATORS),
        _may(table, who, PATIENTS),
        YES if who in table.receives else NO,
        ", ".join(sorted(set(_lines(table, who)))) or NO,
    )


def _may(table: Table, who: Who, place: str) -> str:
    if Cell(who, place, False) in table.grants:
        return YES
    return ANSWERS if Cell(who, place, True) in table.grants else NO


def _lines(table: Table, who: Who) -> Iterator[str]:
    for cell, line in table.grants.items():
        if cell.who == who:
            yield line
    if who in table.receives:
        yield table.receives[who]


def markdown(table: Table) -> str:
    """The rows as a table of Markdown."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return "\n".join([*head, *(f"| {' | '.join(row.cells)} |" for row in rows(table))])
