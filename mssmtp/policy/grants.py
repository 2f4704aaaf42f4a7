"""The table of who may write to whom: lines that only grant, compiled to one look-up (F6, DEF-21).

What no line grants is refused. Lines can only open, so their order cannot matter; an account that
is not finalised is in no line's reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from mssmtp.config_policy import HabilitationSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import BalType, PersonState

PATIENT = "patient"
"""The kind of a box of a patient domain, whatever its type."""
PATIENTS = "patients"
OPERATORS = "operators"
UNKNOWN = "unknown"
"""An address here without a box; the rule about the address says so."""
HERE = "here"
_ALL_HERE = (*(kind.value for kind in BalType), UNKNOWN)


class Who(NamedTuple):
    """What counts of the box acted in: its kind, its holder's state, whether it has a number."""

    kind: str
    person: PersonState
    has_number: bool

    def __str__(self) -> str:
        number = " with number" if self.has_number else ""
        return f"{self.kind}{number}, {self.person}"


class Cell(NamedTuple):
    """One question to the table: may `who` write to `place`, which has written to it or not?"""

    who: Who
    place: str
    has_written: bool


EVERYBODY = tuple(
    Who(kind, person, has_number)
    for kind, person, has_number in product(
        (*(kind.value for kind in BalType), PATIENT), PersonState, (False, True)
    )
)

SHIPPED = (
    HabilitationSettings(
        name="services",
        boxes=(BalType.ORG, BalType.APP, BalType.CAB),
        to=("here", "operators", "patients"),
        receives=True,
    ),
    HabilitationSettings(
        name="professionals",
        boxes=(BalType.PER,),
        needs_number=True,
        to=("here", "operators", "patients"),
        receives=True,
    ),
    HabilitationSettings(
        name="inside", boxes=(BalType.PER, BalType.MED, BalType.INT), to=("here",)
    ),
    HabilitationSettings(
        name="not-certified",
        boxes=tuple(BalType),
        persons=(PersonState.NOT_CERTIFIED,),
        to=("here",),
        answers_only=True,
    ),
    HabilitationSettings(
        name="patients",
        boxes=(PATIENT,),
        persons=(PersonState.NOT_CERTIFIED, PersonState.CERTIFIED),
        to=("here", "operators"),
        answers_only=True,
        receives=True,
    ),
)
"""Area E, "Rights by state" (SEED-20, SEED-32, SEED-37, DEF-08), and OP-89, OP-94."""


@dataclass(frozen=True, slots=True)
class Table:
    """The lines compiled: which line grants a cell, and which boxes hear from other operators."""

    grants: Mapping[Cell, str]
    receives: Mapping[Who, str]

    @classmethod
    def of(
        cls,
        own: Iterable[HabilitationSettings],
        shipped: Sequence[HabilitationSettings] = SHIPPED,
    ) -> Table:
        """`own` lines beside the shipped ones, or in their place where they have their name.

        Raises ConfigError when two of them have one name: their order would matter.
        """
        lines: dict[str, HabilitationSettings] = {}
        for line in own:
            if line.name in lines:
                raise ConfigError(
                    "policy.habilitation",
                    f"two lines are called {line.name}",
                    "Give one of them another name: all lines count together.",
                )
            lines[line.name] = line
        lines = {line.name: line for line in shipped} | lines
        grants: dict[Cell, str] = {}
        receives: dict[Who, str] = {}
        # By name, so that the line that is quoted does not depend on the order either.
        for line in sorted(lines.values(), key=lambda line: line.name):
            for who in _who(line):
                if line.receives:
                    receives.setdefault(who, line.name)
                for place, written in product(_places(line), (False, True)):
                    if written or not line.answers_only:
                        grants.setdefault(Cell(who, place, written), line.name)
        return cls(grants, receives)

    @property
    def open_cells(self) -> frozenset[Cell]:
        """What is granted by some line."""
        return frozenset(self.grants)

    @property
    def receiving(self) -> frozenset[Who]:
        """Who hears from other operators."""
        return frozenset(self.receives)

    def beyond(self) -> tuple[str, ...]:
        """What these lines open that the shipped ones do not, in words, for `doctor`."""
        shipped = Table.of(())
        cells = sorted(self.open_cells - shipped.open_cells)
        found = {
            f"{cell.who.kind}, {cell.who.person}, to {cell.place} (line {self.grants[cell]})"
            for cell in cells
        }
        found |= {
            f"{who.kind}, {who.person}, from operators (line {self.receives[who]})"
            for who in self.receiving - shipped.receiving
        }
        return tuple(sorted(found))


def _who(line: HabilitationSettings) -> Iterator[Who]:
    numbers = (True,) if line.needs_number else (False, True)
    for kind, person, has_number in product(line.boxes, line.persons, numbers):
        yield Who(str(kind), person, has_number)


def _places(line: HabilitationSettings) -> Iterator[str]:
    for place in line.to:
        yield from _ALL_HERE if place == HERE else (str(place),)
