"""What an administrator sees of a right to exercise that the register has closed (OP-45)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mssmtp.mail import Actor, AdminLevel, Person, PersonState
from mssmtp.notices import Desk as Notices
from mssmtp.people import rechecking
from mssmtp.people.register import LocalRegister
from mssmtp.storage import Writing
from mssmtp.storage.register import RegisterEntry
from tests.admin.conftest import OPERATOR, Desk, Refuses


@dataclass(frozen=True, slots=True)
class Doctor:
    """Somebody in the register; `says` asks about her as the weekly job does."""

    desk: Desk
    made: dict[str, Any]

    def says(self, *, is_open: bool) -> None:
        entry = RegisterEntry(self.made["national_id"], self.made["last_name"], is_open=is_open)
        notices = Notices.of(self.desk.office.settings, self.desk.office.clock)

        def job(writing: Writing) -> None:
            writing.put_register_entry(entry)
            rechecking.recheck(writing, notices, LocalRegister(), self._person(writing))

        self.desk.office.store.write(job).result()

    def becomes(self, state: PersonState) -> None:
        def job(writing: Writing) -> None:
            person = self._person(writing)
            writing.set_person_state(person.id, state)
            if state is PersonState.NOT_CERTIFIED:
                writing.mark_person(person.id, "pending_since", writing.now())

        self.desk.office.store.write(job).result()

    def _person(self, writing: Writing) -> Person:
        found = writing.person_by_national_id(self.made["national_id"])
        assert found is not None
        return found


@pytest.fixture
def dsi(desk: Desk) -> Actor:
    return desk.structure()[1]


@pytest.mark.requirement("OP-45")
def test_a_right_that_was_closed_is_shown_wherever_one_looks_for_why_a_box_is_stopped(
    desk: Desk, dsi: Actor
) -> None:
    doctor, other = Doctor(desk, desk.person(dsi)), desk.person(dsi)
    doctor.becomes(PersonState.CERTIFIED)
    login, box = doctor.made["usual_address"], doctor.made["box"]

    def shown() -> list[object]:
        listed = {row["usual_address"]: row for row in desk.ask(dsi, "person.list")}
        assert listed[other["usual_address"]]["exercise_ended"] is None
        return [
            listed[login]["exercise_ended"],
            desk.ask(dsi, "person.show", person=login)["exercise_ended"],
            desk.ask(dsi, "bal.show", address=box)["exercise_ended"],
        ]

    doctor.says(is_open=True)
    assert shown() == [None] * 3
    doctor.says(is_open=False)
    assert desk.ask(dsi, "bal.show", address=box)["state"] == "suspended"
    (since,) = set(shown())
    assert since is not None
    # Who suspends for another reason says no such thing.
    desk.ask(dsi, "person.suspend", person=other["usual_address"])
    assert desk.ask(dsi, "bal.show", address=other["box"])["exercise_ended"] is None
    doctor.says(is_open=True)
    desk.ask(OPERATOR, "person.resume", person=login)
    assert shown() == [None] * 3


@pytest.mark.requirement("OP-45", "SEED-36")
def test_who_certifies_reads_beside_a_request_what_the_register_says(
    desk: Desk, dsi: Actor
) -> None:
    doctor = Doctor(desk, desk.person(dsi))
    doctor.becomes(PersonState.NOT_CERTIFIED)

    def standing() -> object:
        rows = {row["person"]: row for row in desk.ask(dsi, "person.pending")}
        return rows[doctor.made["usual_address"]]["register"]

    assert standing() == "unknown"
    doctor.says(is_open=True)
    assert standing() == "open"
    doctor.says(is_open=False)
    assert standing() == "closed"


@pytest.mark.requirement("SEED-36", "MED-16")
def test_the_region_certifies_who_asks_in_it_and_no_structure_and_no_other_region_does(
    desk: Desk, dsi: Actor, refuses: Refuses
) -> None:
    """Before it she opens and answers; afterwards she may do all (SEED-37)."""
    doctor = Doctor(desk, desk.person(dsi))
    doctor.becomes(PersonState.NOT_CERTIFIED)
    doctor.says(is_open=True)
    asked = {"person": doctor.made["usual_address"]}
    here = Actor(AdminLevel.REGION, "ars", region="84")
    elsewhere = Actor(AdminLevel.REGION, "autre", region="93")
    assert asked["person"] in {row["person"] for row in desk.ask(here, "person.pending")}
    assert asked["person"] not in {row["person"] for row in desk.ask(elsewhere, "person.pending")}
    refuses(403, dsi, "person.certify", **asked)
    refuses(404, elsewhere, "person.certify", **asked)
    assert desk.ask(dsi, "person.show", **asked)["state"] == "not-certified"
    desk.ask(here, "person.certify", **asked)
    assert desk.ask(dsi, "person.show", **asked)["state"] == "certified"
    assert asked["person"] not in {row["person"] for row in desk.ask(here, "person.pending")}
