"""Invented people: the same names in the same order at every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mssmtp.mail import Address, BalType, Domain, PersonState

_FIRST = (
    "zoe", "ali", "berthe", "come", "dina", "emile", "fanny", "gaspard", "hedi", "ines", "jules",
    "karima", "leon", "mona", "noe", "odile", "paul", "quitterie", "remi", "salome",
)  # fmt: skip
_LAST = (
    "tartempion", "martin-essai", "durand-test", "exemple", "fictif", "invente", "modele",
    "specimen", "prototype", "gabarit", "echantillon", "maquette", "canevas", "ebauche",
)  # fmt: skip

_FIRST_RPPS = 9_990_000_000
"""RPPS of tests begin with 999; the eleventh digit is the Luhn key."""


@dataclass(frozen=True, slots=True)
class Person:
    """One box to be made: address, type, state; `national_id` for PER only."""

    address: Address
    type: BalType
    state: PersonState = PersonState.CERTIFIED
    national_id: str | None = None


def doctors(domain: Domain, number: int, start: int) -> Iterator[Person]:
    """`number` certified PER boxes; `start` keeps their RPPS apart from other operators'."""
    for index in range(number):
        first = _FIRST[index % len(_FIRST)]
        last = _LAST[(index // len(_FIRST) + index) % len(_LAST)]
        rank = index // (len(_FIRST) * len(_LAST))
        local = f"{first}.{last}" + (f".{rank + 1}" if rank else "")
        yield Person(
            Address(local, domain), BalType.PER, national_id=f"8{rpps(start * 10_000 + index)}"
        )


def others(domain: Domain, start: int) -> Iterator[Person]:
    """One box of each other kind, and a doctor who is not certified yet."""
    yield Person(
        Address("paul.postulant", domain),
        BalType.PER,
        PersonState.NOT_CERTIFIED,
        f"8{rpps(start * 10_000 + 9_000)}",
    )
    yield Person(Address("lucie.medimail", domain), BalType.MED)
    yield Person(Address("igor.interne", domain), BalType.INT)
    yield Person(Address("secretariat.cardiologie", domain), BalType.ORG)
    yield Person(Address("noreply", domain), BalType.APP)


def patients(domain: Domain, number: int) -> Iterator[Person]:
    """Boxes named by well-formed, invented INS numbers (messages.md §9)."""
    for order in range(1, number + 1):
        matricule = 1_990_199_999_000 + order
        key = 97 - matricule % 97
        yield Person(Address(f"{matricule}{key:02d}", domain), BalType.MED)


def rpps(order: int) -> str:
    """The `order`-th invented RPPS: ten digits and their Luhn key."""
    digits = str(_FIRST_RPPS + order)
    doubled = (int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits)))
    total = sum(d - 9 if d > 9 else d for d in doubled)
    return f"{digits}{-total % 10}"
