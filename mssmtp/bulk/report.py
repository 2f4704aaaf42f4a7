"""What became of each line, for a person, a spreadsheet and a program."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mssmtp.bulk.columns import Problem
from mssmtp.bulk.request import Request


class Outcome(StrEnum):
    """Of one line; the value is what people read."""

    CREATED = "créée"
    CHANGED = "modifiée"
    CLOSED = "close"
    UNCHANGED = "inchangée"
    REFUSED = "refusée"


_CODES = {
    Outcome.CREATED: "created",
    Outcome.CHANGED: "changed",
    Outcome.CLOSED: "closed",
    Outcome.UNCHANGED: "unchanged",
    Outcome.REFUSED: "refused",
}
_OUTCOMES = {code: outcome for outcome, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the report. `about` is the key that the line gave; `address` the box, if any."""

    line: int
    action: str
    type: str
    about: str
    outcome: Outcome
    problems: tuple[Problem, ...] = ()
    address: str = ""

    @classmethod
    def of(
        cls,
        request: Request,
        outcome: Outcome,
        problems: tuple[Problem, ...] = (),
        address: str = "",
    ) -> Told:
        """What became of `request`."""
        return cls(
            request.line, request.verb, request.type, request.key, outcome, problems, address
        )

    @property
    def sentence(self) -> str:
        """Every problem, each with its column."""
        return " · ".join(
            f"{each.column} : {each.text}" if each.column else each.text for each in self.problems
        )

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Told:
        """What `as_json` said, of another process."""
        problems = tuple(Problem(each["column"], each["text"]) for each in said["problems"])
        outcome = _OUTCOMES[said["outcome"]]
        return cls(
            said["line"],
            said["action"],
            said["type"],
            said["about"],
            outcome,
            problems,
            said["address"],
        )

    def as_json(self) -> dict[str, Any]:
        """For programs: codes instead of words."""
        return {
            "line": self.line,
            "action": self.action,
            "type": self.type,
            "about": self.about,
            "outcome": _CODES[self.outcome],
            "address": self.address,
            "problems": [{"column": each.column, "text": each.text} for each in self.problems],
        }


COLUMNS = ("ligne", "action", "type", "compte ou BAL", "résultat", "adresse", "remarque")


def row(told: Told) -> tuple[object, ...]:
    """The cells of `COLUMNS`."""
    return (
        told.line,
        told.action,
        told.type,
        told.about,
        told.outcome.value,
        told.address,
        told.sentence,
    )


def counts(told: Iterable[Told]) -> dict[str, int]:
    """How many lines of each outcome, by its code; every outcome is there."""
    found = Counter(each.outcome for each in told)
    return {code: found[outcome] for outcome, code in _CODES.items()}


def as_csv(told: Iterable[Told]) -> bytes:
    """The report as a file a spreadsheet opens: UTF-8 with its mark, `;`.

    What the loaded file contained is quoted here: a cell that a spreadsheet would compute gets an
    apostrophe in front (CSV injection).
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for each in told:
        writer.writerow([_inert(str(cell)) for cell in row(each)])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _inert(cell: str) -> str:
    plain = "".join(each if each.isprintable() else "?" for each in cell)
    return f"'{plain}" if plain[:1] in ("=", "+", "-", "@") else plain
