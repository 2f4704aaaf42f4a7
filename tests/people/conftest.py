"""One store for all tests of people: each makes structures and persons of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.mail import Address, Bal, BalType, Domain, Person, Structure
from mssmtp.notices import Desk, Kind
from mssmtp.people import boxes, persons, structures
from mssmtp.people.boxes import NewBox
from mssmtp.people.register import LocalRegister
from mssmtp.people.rules import Rules
from mssmtp.people.structures import NewStructure
from mssmtp.storage import Notice, Reading, Store, Writing
from mssmtp.storage.people_values import BalDetails, NewPerson
from tests.storage.support import SteppingClock, open_new

T = TypeVar("T")

HOSPITAL = Domain("hopital-a.test")
CLINIC = Domain("clinique-b.test")
GENERIC = Domain("pro.oc.test")
SUPPORT = Address("support", HOSPITAL)


def keyed(body: str) -> str:
    """`body` with its Luhn key."""
    total = 0
    for position, digit in enumerate(reversed(body + "0")):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


@dataclass
class World:
    """A store, a clock that stands still, and what the settings say."""

    store: Store
    clock: SteppingClock
    rules: Rules
    register: LocalRegister = field(default_factory=LocalRegister)
    desk: Desk = field(init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        relay = NoticeSettings(relay_host="relay.example", portal_url="https://portail.example")
        self.desk = Desk(relay, self.rules.served, self.clock)

    def told(self, kind: Kind) -> list[Notice]:
        """Service mail of this kind that waits for the relay."""
        waiting = self.read(lambda r: r.waiting_notices())
        return [each for each in waiting if each.kind == kind]

    def write(self, job: Callable[[Writing], T]) -> T:
        """One commit."""
        return self.store.write(job).result()

    def read(self, query: Callable[[Reading], T]) -> T:
        """One snapshot."""
        return self.store.read(query).result()

    def rpps(self) -> str:
        """One that nobody has yet."""
        return keyed(f"1{next(self._numbers):09d}")

    def finess(self) -> str:
        """The same of structures."""
        return keyed(f"13{next(self._numbers):06d}")

    def usual(self, name: str = "personne") -> Address:
        """An ordinary address that nobody has yet."""
        return Address.parse(f"{name}{next(self._numbers)}@poste.example")

    def structure(self, domain: Domain | None = GENERIC, *, is_ready: bool = True) -> Structure:
        """A structure; `is_ready`: everything is declared."""

        def job(writing: Writing) -> Structure:
            made = structures.create(writing, NewStructure("Clinique du Parc", self.finess()))
            if domain is not None:
                structures.take_domain(writing, self.rules, made.id, domain)
            if is_ready:
                self.declare_all(writing, made)
            return structures.present(writing, made.id)

        return self.write(job)

    def declare_all(self, writing: Writing, structure: Structure) -> None:
        """Whatever a structure has to declare."""
        now = writing.now()
        for kind, values in (
            ("agreement", {"signed_by": "La directrice"}),
            ("project-lead", {"name": "Paul Chef"}),
            ("administrator", {"name": "Ana Admin"}),
            ("data-protection-register", {}),
            ("patient-notice", {}),
        ):
            structures.declare(writing, structure.id, kind, now, values)

    def doctor(self, structure: Structure | None = None, **changes: object) -> NewPerson:
        """A physician to be loaded."""
        given: dict[str, object] = {
            "usual_address": self.usual(),
            "last_name": "Tartempion",
            "first_name": "Zoé",
            "national_id": self.rpps(),
            "profession": "10",
            "structure": None if structure is None else structure.id,
        }
        return NewPerson(**(given | changes))  # type: ignore[arg-type]

    def loaded(self, new: NewPerson, type: BalType = BalType.PER, **box: object) -> persons.Loaded:
        """A person with a box, as a structure loads them."""
        wanted = NewBox(type, new.structure, **box)  # type: ignore[arg-type]
        return self.write(lambda w: persons.load(w, self.rules, new, wanted))

    def certified(self, structure: Structure) -> persons.Loaded:
        """A physician who has finalised the account and logged in with a card."""
        loaded = self.loaded(self.doctor(structure))

        def job(writing: Writing) -> persons.Loaded:
            person = persons.finalise(writing, self.rules, self.register, loaded.person)
            persons.note_strong_authentication(writing, person.account, "card")
            box = writing.box_of(person.account)
            assert box is not None
            return persons.Loaded(person, box)

        return self.write(job)

    def org(self, structure: Structure, local: str, **given: object) -> Bal:
        """An ORG box."""
        new = NewBox(
            BalType.ORG,
            structure.id,
            local,
            details=BalDetails(label="Secrétariat"),
            **given,  # type: ignore[arg-type]
        )
        return self.write(lambda w: boxes.create(w, self.rules, new))

    def again(self, box: Bal) -> Bal:
        """As it is now."""
        found = self.read(lambda r: r.bal_by_id(box.id))
        assert found is not None
        return found

    def person(self, person: Person) -> Person:
        """The same of a person."""
        return self.read(lambda r: persons.present(r, person))


@contextmanager
def opened(home: Path) -> Iterator[World]:
    """A world of its own, checked at the end."""
    clock = SteppingClock()
    store = open_new(home, clock)
    served = frozenset({HOSPITAL, CLINIC, GENERIC})
    yield World(store, clock, Rules(served, {GENERIC: "CPTS, MSP"}, {"paca": SUPPORT}))
    clock.advance(timedelta(seconds=1))
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("people") / "home") as world:
        yield world
