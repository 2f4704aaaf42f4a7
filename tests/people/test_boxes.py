"""Types of box and what activates each (SEED-18 to SEED-27, OP-36 to OP-42, OP-51, OP-54)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Update

from mssmtp.identity.national_id import BadNationalId
from mssmtp.mail import Bal, BalState, BalType, PersonState, Role
from mssmtp.people import boxes, persons
from mssmtp.people.boxes import NewBox
from mssmtp.people.refusing import NotAllowed
from mssmtp.storage import BalExists, Reading, Writing, schema
from mssmtp.storage.people_values import AddressRetired, BalDetails, PersonExists
from mssmtp.storage.register import RegisterEntry
from tests.people.conftest import GENERIC, World


@pytest.mark.requirement("SEED-19", "OP-37", "SEED-25")
def test_a_per_box_is_of_one_person_with_a_number_who_may_also_act_in_an_org_box(
    world: World,
) -> None:
    structure = world.structure()
    new = world.doctor(structure, last_name="Durand", first_name="Éloïse")
    person, box = (made := world.loaded(new)).person, made.box
    assert box.address.local == "eloise.durand"
    assert box.national_id == person.national_id == f"8{new.national_id}"
    assert box.structure == structure.id
    account = world.read(lambda r: r.account_of(box.id))
    assert account is not None
    assert account.id == person.account
    assert world.read(lambda r: r.members(box.id)) == ()
    for wrong in (None, "10000000001", "8"):
        with pytest.raises(BadNationalId):
            world.loaded(world.doctor(structure, national_id=wrong))
    without = world.loaded(world.doctor(None), domain=GENERIC).box  # a structure is optional
    assert without.structure is None
    org = world.org(structure, "equipe")
    world.write(lambda w: w.add_member(org.id, person.account, Role.SECRETAIRE))
    world.write(lambda w: w.set_bal_state(org.id, BalState.ACTIVE))
    acts_in = world.read(lambda r: r.principal(person.account)).bals
    assert [each.type for each in acts_in] == [BalType.PER, BalType.ORG]


@pytest.mark.requirement("SEED-20", "DEF-08", "SEED-24")
def test_med_and_int_boxes_have_no_exchange_of_their_own_but_open_an_org_box(
    world: World,
) -> None:
    structure = world.structure()
    org = world.org(structure, "accueil-med")
    for type in (BalType.MED, BalType.INT):
        new = world.doctor(structure, national_id=None, profession="41")
        made = world.loaded(new, type)
        assert made.box.national_id is None
        assert not made.box.exchanges
        world.write(partial(Writing.add_member, org=org.id, account=made.person.account))
        assert world.read(partial(Reading.role, account=made.person.account, bal=org.id))
    with pytest.raises(NotAllowed, match="structure"):
        world.loaded(world.doctor(None, national_id=None), BalType.INT, domain=GENERIC)


@pytest.mark.requirement("SEED-18", "OP-36", "OP-40")
def test_the_five_types_can_be_made_and_cab_only_behind_its_switch(world: World) -> None:
    assert [type.value for type in BalType] == ["PER", "ORG", "APP", "MED", "INT", "CAB"]
    holders = BalDetails(national_ids=(world.rpps(), world.rpps()))
    new = NewBox(BalType.CAB, local="cabinet.mer", domain=GENERIC, details=holders)
    with pytest.raises(NotAllowed, match="people.cab"):
        world.write(lambda w: boxes.create(w, world.rules, new))
    opened = replace(world.rules, has_cab=True)
    box = world.write(lambda w: boxes.create(w, opened, new))
    assert world.read(lambda r: r.bal_details(box.id)).national_ids == holders.national_ids
    for wrong in ((), ("12345678901",)):
        bare = replace(new, local="cabinet.terre", details=BalDetails(national_ids=wrong))
        with pytest.raises((NotAllowed, BadNationalId)):
            world.write(partial(boxes.create, rules=opened, new=bare))


@pytest.mark.requirement("SEED-21", "OP-39")
def test_an_org_box_waits_for_its_responsible_and_the_head_of_its_structure(world: World) -> None:
    structure = world.structure()
    doctor = world.certified(structure)
    box = world.org(structure, "cardiologie")
    assert box.state is BalState.SUSPENDED
    assert box.structure == structure.id
    assert world.read(lambda r: boxes.missing(r, box)) == (
        "professionnel responsable",
        "accord de la direction",
    )
    with pytest.raises(NotAllowed, match="professionnel responsable, accord"):
        world.write(lambda w: boxes.activate(w, box))

    def declared(number: str) -> None:
        world.write(lambda w: boxes.declare(w, box, number, w.now()))

    declared(world.rpps())
    assert world.read(lambda r: boxes.missing(r, box)) == (
        "le professionnel responsable n'est pas habilité",
    )
    assert doctor.person.national_id is not None
    declared(doctor.person.national_id)
    told = world.read(lambda r: r.records("bal", box.id))
    assert told["responsible"].values == {"national_id": doctor.person.national_id}
    assert told["head-agreement"].at == world.clock.now()
    assert world.write(lambda w: boxes.review(w, box)).state is BalState.ACTIVE
    suspended = world.write(lambda w: w.set_bal_state(box.id, BalState.SUSPENDED))
    assert suspended is None
    again = world.write(lambda w: boxes.review(w, world.again(box)))
    assert again.state is BalState.SUSPENDED  # by hand: nothing but a hand lifts it


@pytest.mark.requirement("SEED-21", "OP-45")
def test_who_was_suspended_has_left_or_may_not_exercise_is_responsible_of_no_box(
    world: World,
) -> None:
    structure = world.structure()
    suspended, gone, closed = (world.certified(structure).person for _ in range(3))
    ended = RegisterEntry(closed.national_id or "", "Tartempion", is_open=False)

    def end(writing: Writing) -> None:
        persons.suspend(writing, suspended)
        persons.leave(writing, gone)
        writing.put_register_entry(ended)

    world.write(end)
    for person in (suspended, gone, closed):
        box = world.org(
            structure,
            f"sans{person.id}",
            responsible=person.national_id,
            agreed_on=world.clock.now(),
        )
        assert box.state is BalState.SUSPENDED
        with pytest.raises(NotAllowed, match="n'est pas habilité"):
            world.write(partial(boxes.activate, box=box))


@pytest.mark.requirement("SEED-21")
def test_an_org_box_works_once_the_region_has_certified_its_responsible(world: World) -> None:
    structure = world.structure()
    doctor = world.loaded(world.doctor(structure)).person
    box = world.org(
        structure, "attend", responsible=doctor.national_id, agreed_on=world.clock.now()
    )
    waits = replace(world.rules, certifies_finalised=False)
    asked = world.write(lambda w: persons.finalise(w, waits, world.register, doctor))
    assert world.again(box).state is BalState.SUSPENDED
    world.write(lambda w: persons.certify(w, world.register, asked, "région"))
    assert world.again(box).state is BalState.ACTIVE


@pytest.mark.requirement("OP-39")
def test_org_and_app_are_of_exactly_one_structure(world: World) -> None:
    for type in (BalType.ORG, BalType.APP):
        new = NewBox(type, None, "x", GENERIC, BalDetails(label="Laboratoire"))
        with pytest.raises(NotAllowed, match="OP-39"):
            world.write(partial(boxes.create, rules=world.rules, new=new))


@pytest.mark.requirement("SEED-23", "SEED-25")
def test_an_app_box_is_of_software_and_has_noreply_for_itself(world: World) -> None:
    structure = world.structure()
    new = NewBox(BalType.APP, structure.id, "noreply", details=BalDetails(label="Laboratoire"))
    box = world.write(lambda w: boxes.create(w, world.rules, new))
    assert str(box.address) == f"noreply@{GENERIC}"
    assert box.state is BalState.ACTIVE
    assert world.read(lambda r: r.account_of(box.id)) is None  # no person opens it
    contact = world.org(structure, "contact")
    assert str(contact.address) == f"contact@{GENERIC}"
    with pytest.raises(NotAllowed, match="APP"):
        world.org(structure, "noreply")


LACKS = {
    "certified": "titulaire certifié",
    "strong": "authentification forte",
    "structure": "convention signée avec l'opérateur",
}


@pytest.mark.requirement("SEED-27")
@pytest.mark.parametrize("last", LACKS)
def test_exchange_opens_when_all_conditions_hold_and_not_before(world: World, last: str) -> None:
    """Whichever of them is the last one, it is missed until then, and alone."""
    bare = world.structure(is_ready=False)
    made = world.loaded(world.doctor(bare))

    def lacks() -> tuple[str, ...]:
        return world.read(lambda r: boxes.missing(r, world.again(made.box)))

    def declare(writing: Writing) -> None:
        world.declare_all(writing, bare)
        boxes.review_structure(writing, bare.id)

    steps: dict[str, Callable[[Writing], object]] = {
        "certified": lambda w: persons.finalise(w, world.rules, world.register, made.person),
        "strong": lambda w: persons.note_strong_authentication(w, made.person.account, "code"),
        "structure": declare,
    }
    for name in sorted(steps, key=lambda name: name == last):
        assert any(each.startswith(LACKS[name]) for each in lacks()), name
        assert not world.again(made.box).exchanges
        if name == last:
            lacking = {key for key in LACKS if any(e.startswith(LACKS[key]) for e in lacks())}
            assert lacking == {last}
        world.write(steps[name])
    assert lacks() == ()
    assert world.again(made.box).exchanges
    assert world.again(made.box).person is PersonState.CERTIFIED


@pytest.mark.requirement("OP-41", "OP-51")
def test_an_address_and_its_type_never_change_and_a_closed_one_is_nobodys(world: World) -> None:
    structure = world.structure()
    made = world.loaded(world.doctor(structure, last_name="Fermée"))
    # No statement of the store changes a type; a digest is that of the same address by a new key.
    changes = [
        text.partition(" WHERE ")[0]
        for text, statement in schema._STATEMENTS.items()
        if isinstance(statement, Update) and statement.table is schema.bals
    ]
    assert any("sealed=" in text for text in changes)
    assert [text for text in changes if re.search(r"\btype=", text)] == []
    world.write(lambda w: boxes.close(w, made.box))
    with pytest.raises(NotAllowed, match="fermée"):
        world.write(lambda w: boxes.activate(w, world.again(made.box)))
    with pytest.raises(BalExists):
        world.org(structure, made.box.address.local)
    world.store.shred_bal(made.box.id, "fin de conservation")
    with pytest.raises(AddressRetired):
        world.org(structure, made.box.address.local)
    # Nor as a usual address, by which mail would reach somebody else.
    with pytest.raises(PersonExists):
        world.write(
            lambda w: persons.self_register(w, world.doctor(usual_address=made.box.address))
        )
    other = world.certified(structure).person
    with pytest.raises(PersonExists):
        world.write(lambda w: w.set_usual_address(other.id, made.box.address))
    homonym = world.loaded(world.doctor(structure, last_name="Fermée")).box
    assert homonym.address.local == f"{made.box.address.local}.2"


@pytest.mark.requirement("OP-42")
def test_rank_one_is_one_box_of_its_holder(world: World) -> None:
    here, there = world.structure(), world.structure()
    made = world.certified(here)
    new = NewBox(BalType.PER, there.id)
    second = world.write(lambda w: boxes.create(w, world.rules, new, made.person))
    assert second.national_id == made.box.national_id
    world.write(lambda w: boxes.set_rank(w, made.box, 1))
    world.write(lambda w: boxes.set_rank(w, second, 1))

    def rank(box: Bal) -> int | None:
        return world.read(lambda r: r.bal_details(box.id)).rank

    assert (rank(made.box), rank(second)) == (None, 1)
    with pytest.raises(NotAllowed, match="rang"):
        world.write(lambda w: boxes.set_rank(w, second, 0))
    assert world.read(lambda r: r.boxes_of(made.person.account)) == (
        world.again(made.box),
        world.again(second),
    )
    assert world.again(second).exchanges  # its holder is certified and has shown a card


@pytest.mark.requirement("OP-42")
def test_a_nominative_box_has_no_attribute_of_other_types(world: World) -> None:
    """directory.md §5; a structure's box has its label, room and rank."""
    here = world.structure()
    made = world.certified(here)
    plain = NewBox(BalType.PER, here.id)
    for new, why in (
        (replace(plain, details=BalDetails(label="Pneumologie")), "libellé"),
        (replace(plain, details=BalDetails(national_ids=("899900000110",))), "plusieurs RPPS"),
        (replace(plain, responsible="899900000110"), "titulaire"),
    ):
        with pytest.raises(NotAllowed, match=why):
            world.write(partial(boxes.create, rules=world.rules, new=new, holder=made.person))
    box = world.org(here, "pneumologie")
    details = BalDetails("Pneumologie", "0400000000", "Bâtiment B", 3)
    world.write(lambda w: w.set_bal_details(box.id, details))
    assert world.read(lambda r: r.bal_details(box.id)) == details
