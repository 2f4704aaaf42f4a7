"""What one request would change, seen from the store as it is: a step, to be taken or only shown.

The dry run and the load ask the same functions; the load then takes the step in the transaction in
which it was found, so that a line is applied whole or not at all (DEF-10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mssmtp.bulk.columns import Column, Problem
from mssmtp.bulk.report import Outcome, Told
from mssmtp.bulk.request import Request
from mssmtp.mail import AccountId, Address, Bal, BalId
from mssmtp.people import naming
from mssmtp.storage import Reading, Writing


@dataclass(frozen=True, slots=True)
class Done:
    """What a step that was taken has made or changed: for the report and the trace.

    `waits_for`: what the box still lacks before it may work.
    """

    address: str
    bal: BalId | None = None
    account: AccountId | None = None
    waits_for: tuple[str, ...] = ()


@dataclass(slots=True)
class Promised:
    """What earlier lines would make, of a dry run: addresses of boxes, and people by their usual
    address and idNatPS. Nothing when lines are applied: then it is stored."""

    addresses: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)

    def add(self, request: Request, address: str) -> None:
        """`request` would be created."""
        self.addresses.add(address)
        self.people.update(request.keys)

    def beside(self, reading: Reading) -> naming.Known:
        """What naming asks, those addresses included."""
        return _Beside(reading, self.addresses) if self.addresses else reading


@dataclass(frozen=True, slots=True)
class _Beside:
    """Boxes that are stored, and those that were promised: they are as good as retired."""

    reading: Reading
    addresses: set[str]

    def bal(self, address: Address) -> Bal | None:
        return self.reading.bal(address)

    def bal_by_usual(self, address: Address) -> Bal | None:
        return self.reading.bal_by_usual(address)

    def is_retired(self, address: Address) -> bool:
        return address.key in self.addresses or self.reading.is_retired(address)


@dataclass(frozen=True, slots=True)
class Step:
    """`take` makes it so; None: there is nothing to do, or it is refused for `problems`."""

    outcome: Outcome
    take: Callable[[Writing], Done] | None = None
    problems: tuple[Problem, ...] = ()
    address: str = ""

    def told(self, request: Request, done: Done | None = None) -> Told:
        """The line of the report."""
        if done is None:
            return Told.of(request, self.outcome, self.problems, self.address)
        waits = Problem("", f"en attente ; il manque : {', '.join(done.waits_for)}")
        return Told.of(request, self.outcome, (waits,) if done.waits_for else (), done.address)


def refused(column: Column, text: str) -> Step:
    """A step that is not taken, and why."""
    return Step(Outcome.REFUSED, problems=(Problem(column, text),))


def differing(said: Mapping[Column, tuple[object, object]]) -> tuple[Column, ...]:
    """Columns whose cell says another thing than what is stored; an empty cell says nothing."""
    return tuple(
        column
        for column, (cell, stored) in said.items()
        if cell not in (None, "", ()) and cell != stored
    )


def exists_otherwise(columns: tuple[Column, ...]) -> Step:
    """A line that creates what exists, with other values."""
    names = ", ".join(columns)
    return refused(columns[0], f"existe déjà, avec d'autres valeurs ({names}) ; mettez l'action M")


def never_changes(columns: tuple[Column, ...]) -> Step:
    """OP-41: neither address nor type nor number; another one is another account."""
    return refused(
        columns[0],
        f"{', '.join(columns)} ne change jamais ; supprimez (S) puis recréez (C) dans un second"
        " fichier",
    )
