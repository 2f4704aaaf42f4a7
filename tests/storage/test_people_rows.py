"""Rows of people on both engines: what is due, who waits, what is found by number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mssmtp.errors import Damaged
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    PersonId,
    PersonState,
    Structure,
    StructureId,
)
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson, PersonDetails, StructureExists
from mssmtp.storage.register import RegisterEntry
from tests.storage.support import SteppingClock, behind

DAY = timedelta(days=1)
LEA = NewPerson(
    Address.parse("lea@poste.example"),
    "Durand",
    "Léa",
    PersonState.CERTIFIED,
    "810000000001",
    details=PersonDetails("DR", "0400000000"),
)


def test_what_is_due_is_found_and_what_was_done_is_not_found_again(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    def fill(writing: Writing) -> PersonId:
        person = writing.create_person(LEA)
        writing.mark_person(person.id, "pending_since", writing.now())
        writing.put_register_entry(RegisterEntry("810000000001", "Durand"))
        return person.id

    lea = store.write(fill).result()
    asked = clock.now()
    clock.advance(8 * DAY)
    now = clock.now()
    (pending,) = store.read(lambda r: r.pending_persons()).result()
    assert (pending.person.id, pending.since) == (lea, asked)
    (due,) = store.read(lambda r: r.persons_to_check(now, PersonId(0), 9)).result()
    assert due.id == lea
    assert store.read(lambda r: r.persons_to_check(now, lea, 9)).result() == ()
    store.write(lambda w: w.mark_person(lea, "checked_at", now)).result()
    assert store.read(lambda r: r.persons_to_check(asked, PersonId(0), 9)).result() == ()
    (still,) = store.read(lambda r: r.still_boxes(now, BalId(0), 9)).result()
    assert (still.bal, still.since, still.notices) == (zoe.id, asked, 0)
    store.write(lambda w: w.set_idle_notices(zoe.id, 2)).result()
    (still,) = store.read(lambda r: r.still_boxes(now, BalId(0), 9)).result()
    assert still.notices == 2
    store.write(lambda w: w.note_activity(zoe.id, now)).result()
    assert store.read(lambda r: r.still_boxes(now - DAY, BalId(0), 9)).result() == ()
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.CLOSED)).result()
    assert store.read(lambda r: r.closed_boxes(now, 9)).result() == (zoe.id,)
    assert store.read(lambda r: r.closed_boxes(now - DAY, 9)).result() == ()
    assert store.read(lambda r: r.person_details(lea)).result() == LEA.details


def test_who_was_looked_for_in_vain_is_found_once_made(store: Store) -> None:
    ada = Address.parse("ada@poste.example")
    wanted = Bal(BalId(0), Address.parse("ada@hopital-a.test"), BalType.MED, usual_address=ada)
    new = replace(LEA, usual_address=ada, national_id="810000000777")

    def look(writing: Writing) -> tuple[object, ...]:
        return (
            writing.bal(wanted.address),
            writing.bal_by_usual(ada),
            writing.person(ada),
            writing.person_by_national_id("810000000777"),
            writing.account(str(ada)),
        )

    def fill(writing: Writing) -> None:
        assert look(writing) == look(writing) == (None,) * 5
        box = writing.add_box(wanted)
        assert look(writing)[:3] == (box, box, None)
        person = writing.create_person(new, box.id)
        assert look(writing)[2:4] == (person, person)
        assert look(writing)[4] is not None
        assert writing.box_of(person.account) == writing.bal_by_id(box.id) == box
        first = [each.uid_validity for each in writing.mailboxes(box.id)]
        assert len(set(first)) == 6
        assert writing.create_mailbox(box.id, "Suivi").uid_validity > max(first)  # GEN-01
        assert not writing.is_retired(wanted.address)
        writing._retire(wanted.address)
        assert writing.is_retired(wanted.address)  # OP-51

    store.write(fill).result()


def test_a_structure_keeps_its_numbers_and_its_boxes_find_it(store: Store, zoe: Bal) -> None:
    new = Structure(StructureId(0), "CH", "130000011", "73282932000074", "paca")
    made = store.write(lambda w: w.create_structure(new)).result()
    other = store.write(
        lambda w: w.create_structure(replace(new, finess=None, siret="732829320", region=""))
    ).result()
    assert store.read(lambda r: r.structures("paca")).result() == (made,)
    assert store.read(lambda r: r.structure_by_number("732829320")).result() == other
    with pytest.raises(StructureExists):
        store.write(lambda w: w.change_structure(replace(other, finess="130000011"))).result()
    store.write(lambda w: w.set_bal_structure(zoe.id, made.id)).result()
    store.write(lambda w: w.set_red_listed(zoe.id, on=True)).result()
    (box,) = store.read(lambda r: tuple(r.each_bal_of(made.id))).result()
    assert (box.id, box.is_red_listed) == (zoe.id, True)
    closed = replace(made, is_closed=True)
    store.write(lambda w: w.change_structure(closed)).result()
    assert store.read(lambda r: r.structure(made.id)).result() == closed


@pytest.mark.attack
@pytest.mark.requirement("SEED-49")
def test_att_19_who_writes_to_the_database_gives_no_box_a_structure_and_nobody_a_step(
    store: Store, zoe: Bal, home: object
) -> None:
    new = Structure(StructureId(0), "CH", "130000011")
    made = store.write(lambda w: w.create_structure(new)).result()
    lea = store.write(lambda w: w.create_person(replace(LEA, state=PersonState.PRE_REGISTERED)))
    person = lea.result()
    db = behind(home)  # type: ignore[arg-type]
    db.execute("UPDATE bals SET structure = ?", (made.id,))
    db.execute("UPDATE persons SET state = ?, structure = ?", ("certified", made.id))
    try:
        assert store.read(lambda r: tuple(r.each_bal_of(made.id))).result() == ()
        assert store.read(lambda r: r.persons(made.id)).result() == ()
        found = store.read(lambda r: r.person(LEA.usual_address)).result()
        assert found == person
        db.execute("UPDATE persons SET account = account + 100")
        with pytest.raises(Damaged):
            store.read(lambda r: r.person(LEA.usual_address)).result()
    finally:
        db.execute("UPDATE persons SET account = ?, structure = NULL", (person.account,))
        db.execute("UPDATE bals SET structure = NULL")
        db.close()
    assert zoe.structure is None
