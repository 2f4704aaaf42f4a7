"""Persons: both ladders, attestation, certification, another address, the end (OP-45 to OP-50)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from mssmtp.identity.standing import state_of
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Category,
    EnvelopeId,
    Person,
    PersonState,
    Recipient,
    Structure,
)
from mssmtp.notices import Kind
from mssmtp.people import boxes, parts, persons, usual_address
from mssmtp.people.boxes import NewBox
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.register import LocalRegister
from mssmtp.people.usual_address import Declaration
from mssmtp.storage import LocalDelivery, Reading, Writing
from mssmtp.storage.people_values import NewPerson, PersonExists
from mssmtp.storage.register import RegisterEntry
from tests.people.conftest import CLINIC, GENERIC, HOSPITAL, SUPPORT, World
from tests.storage.support import SKIP, SUBMITTED, message

ALL_THREE = {"takes_part": True, "strictly_needed": True, "informed": True}


@pytest.mark.requirement("OP-50", "DEF-11")
def test_whom_a_structure_loads_is_pre_registered_and_certified_once_finalised(
    world: World,
) -> None:
    loaded = world.loaded(world.doctor(world.structure()))
    assert loaded.person.state is loaded.box.person is PersonState.PRE_REGISTERED
    done = world.write(lambda w: persons.finalise(w, world.rules, world.register, loaded.person))
    assert done.state is PersonState.CERTIFIED
    assert world.again(loaded.box).person is PersonState.CERTIFIED
    assert world.read(lambda r: r.person_dates(done.id)).finalised_at == world.clock.now()
    with pytest.raises(NotAllowed, match="déjà activé"):
        world.write(lambda w: persons.finalise(w, world.rules, world.register, done))
    strict = replace(world.rules, certifies_finalised=False)
    other = world.loaded(world.doctor(world.structure())).person
    waits = world.write(lambda w: persons.finalise(w, strict, world.register, other))
    assert waits.state is PersonState.NOT_CERTIFIED
    assert waits in [each.person for each in world.read(lambda r: r.pending_persons())]


@pytest.mark.requirement("OP-50", "SEED-36")
def test_who_registers_alone_is_not_certified_until_the_region_says_so(world: World) -> None:
    person = world.write(lambda w: persons.self_register(w, world.doctor()))
    assert person.state is PersonState.NOT_CERTIFIED
    with pytest.raises(NotAllowed, match="n'attend pas"):
        world.write(lambda w: persons.refuse(w, person, "région PACA", "doublon"))
    world.write(lambda w: persons.ask_certification(w, person))
    asked_at = world.clock.now()
    world.clock.advance(timedelta(hours=50))
    (pending,) = (
        each for each in world.read(lambda r: r.pending_persons()) if each.person.id == person.id
    )
    assert pending.since == asked_at  # its age is what the queue shows
    done = world.write(lambda w: persons.certify(w, world.register, person, "région PACA"))
    assert done.state is PersonState.CERTIFIED
    assert world.read(lambda r: r.person_dates(person.id)).pending_since is None
    told = world.read(lambda r: r.records("person", person.id))["certification"]
    assert told.values["by"] == "région PACA"


@pytest.mark.requirement("SEED-31")
def test_who_is_no_health_professional_attests_three_conditions_before_anything(
    world: World,
) -> None:
    structure = world.structure()
    secretary = world.doctor(structure, national_id=None, profession="")
    person = world.loaded(secretary, BalType.MED).person
    assert person.category is Category.OTHER

    def finalised() -> PersonState:
        return world.write(lambda w: persons.finalise(w, world.rules, world.register, person)).state

    with pytest.raises(NotAllowed, match="SEED-31"):
        finalised()
    alone = world.write(
        lambda w: persons.self_register(w, world.doctor(national_id=None, profession="51"))
    )
    with pytest.raises(NotAllowed, match="SEED-31"):  # nobody lets her into a box of others
        world.read(lambda r: persons.require_attested_account(r, alone.account))
    now = world.clock.now()
    for lacking in ALL_THREE:
        some = {**ALL_THREE, lacking: False}
        with pytest.raises(NotAllowed, match="trois conditions"):
            world.write(partial(persons.attest, person=person, at=now, conditions=some))
    assert world.read(lambda r: persons.needs_attestation(r, person))
    world.write(lambda w: persons.attest(w, person, now, ALL_THREE))
    assert finalised() is PersonState.CERTIFIED
    world.read(lambda r: persons.require_attested_account(r, person.account))
    assert world.read(lambda r: r.records("person", person.id))["attestation"].at == now


@pytest.mark.requirement("OP-45")
def test_certification_asks_the_register_for_identity_and_right(world: World) -> None:
    cases = (
        (RegisterEntry("", "TARTEMPION"), True),
        (RegisterEntry("", "Tartempion", is_open=False), False),
        (RegisterEntry("", "Durand"), False),
        (None, True),
    )
    for entry, passes in cases:
        person = world.write(lambda w: persons.self_register(w, world.doctor()))
        number = person.national_id or ""
        if entry is not None:
            known = replace(entry, national_id=number)
            world.write(partial(Writing.put_register_entry, entry=known))
        if passes:
            done = world.write(
                partial(persons.certify, register=LocalRegister(), person=person, by="région")
            )
            assert done.state is PersonState.CERTIFIED
            assert world.read(partial(Reading.person_dates, person=done.id)).checked_at
        else:
            with pytest.raises(NotAllowed, match="annuaire"):
                world.write(
                    partial(persons.certify, register=LocalRegister(), person=person, by="région")
                )
            assert world.person(person).state is PersonState.NOT_CERTIFIED


@pytest.mark.requirement("SEED-29", "SEED-49")
def test_an_address_of_our_own_domains_is_nobodys_usual_address(world: World) -> None:
    """No code and no link would ever arrive there, and it is a box that nobody made."""
    ours = Address("contact", HOSPITAL)
    with pytest.raises(NotAllowed, match="messagerie ordinaire"):
        world.loaded(world.doctor(world.structure(), usual_address=ours))
    assert world.read(lambda r: r.person(ours)) is None


@pytest.mark.requirement("SEED-49")
def test_the_usual_address_is_the_key_of_the_account_and_no_profile_changes_it(
    world: World,
) -> None:
    structure = world.structure()
    made = world.loaded(world.doctor(structure))
    usual = made.person.usual_address
    with pytest.raises(PersonExists):
        world.loaded(world.doctor(structure, usual_address=usual))
    with pytest.raises(PersonExists):  # nor a second account of the same number
        world.loaded(world.doctor(structure, national_id=made.box.national_id))
    edited = replace(made.person, usual_address=world.usual("autre"), last_name="Martin")
    changed = world.write(lambda w: persons.change(w, edited))
    assert changed.last_name == "Martin"
    assert changed.usual_address == usual
    assert world.read(lambda r: r.person(usual)) == changed
    account = world.read(lambda r: r.account(str(usual)))
    assert account is not None
    assert account.id == changed.account
    with pytest.raises(NotAllowed, match="ne change pas"):
        world.write(lambda w: persons.change(w, replace(changed, national_id=world.rpps())))


# ---------------------------------------------------------------- SEED-50


def _letter(
    world: World, sender: Address, to: Address, owner: object, typed: Address | None = None
) -> EnvelopeId:
    """`typed`: what the sender wrote, where that became `to` at the door (SEED-29)."""
    from mssmtp.mail import Envelope

    sealed = world.store.seal(message("Changement d'adresse"))
    recipient = Recipient(to, typed=typed)
    envelope = Envelope(world.store.new_envelope_id(), sender, (recipient,), world.clock.now())
    support = world.read(lambda r: r.bal(to))
    local = [] if support is None else [LocalDelivery(support.id, recipient)]
    world.write(
        lambda w: w.accept(
            envelope,
            sealed,
            local=local,
            queued=(),
            skip=SKIP,
            owner=owner,  # type: ignore[arg-type]
            transfer=SUBMITTED,
            facts=b"{}",
        )
    )
    return envelope.id


def _asked(world: World, person: NewPerson | object, new: Address) -> Declaration:
    return Declaration(
        "TARTEMPION",
        "Zoe",
        person.usual_address,  # type: ignore[union-attr]
        new,
        person.national_id or "",  # type: ignore[union-attr]
        "médecin généraliste",
        "1 rue du Port, 13002 Marseille",
        "0400000000",
    )


@pytest.fixture(scope="module")
def region(world: World) -> Structure:
    """A structure of a region with a support box."""
    if world.read(lambda r: r.bal(SUPPORT)) is None:
        world.write(lambda w: w.create_bal(SUPPORT, BalType.ORG))
    made = world.structure(GENERIC)
    found = replace(made, region="paca")
    world.write(lambda w: w.change_structure(found))
    return found


@pytest.mark.requirement("SEED-50")
def test_a_usual_address_changes_by_a_letter_to_the_support_a_declaration_and_an_operator(
    world: World, region: Structure
) -> None:
    made = world.certified(region)
    before, after = made.person.usual_address, world.usual("nouvelle")
    letter = _letter(world, made.box.address, SUPPORT, made.box.id)
    told = _asked(world, made.person, after)
    done = world.write(lambda w: usual_address.change(w, world.desk, world.rules, told, letter))
    assert done.usual_address == after
    assert done.account == made.person.account
    assert world.again(made.box).address == made.box.address
    assert world.read(lambda r: r.bal_by_usual(after)) == world.again(made.box)
    assert world.read(lambda r: r.bal_by_usual(before)) is None
    assert world.read(lambda r: r.account(str(after))) is not None
    assert world.read(lambda r: r.account(str(before))) is None
    kept = world.read(lambda r: r.records("person", done.id))[usual_address.CHANGE].values
    assert kept["telephone"] == "0400000000"
    assert kept["letter"] == letter
    assert {each.to for each in world.told(Kind.ADDRESS_CHANGED)} == {before, after}


@pytest.mark.requirement("SEED-50", "SEED-29")
@pytest.mark.parametrize("is_set_to_usual", [False, True])
def test_the_request_counts_by_whichever_address_of_the_support_box_it_was_written_to(
    world: World, region: Structure, *, is_set_to_usual: bool
) -> None:
    """Its own and its usual one; the settings may name either."""
    usual = world.usual("assistance")
    new = Bal(BalId(0), Address(usual.local, HOSPITAL), BalType.ORG, usual_address=usual)
    box = world.write(lambda w: w.add_box(new))
    rules = replace(world.rules, support={"paca": usual if is_set_to_usual else box.address})
    made, other = world.certified(region), world.certified(region)
    told = _asked(world, made.person, world.usual("nouvelle"))

    def change(letter: EnvelopeId) -> Person:
        return world.write(lambda w: usual_address.change(w, world.desk, rules, told, letter))

    stray = _letter(world, made.box.address, other.box.address, made.box.id, world.usual("autre"))
    with pytest.raises(NotAllowed):
        change(stray)
    for typed in (None, usual):
        letter = _letter(world, made.box.address, box.address, made.box.id, typed)
        told = replace(told, new=world.usual("nouvelle"))
        assert change(letter).usual_address == told.new
        told = replace(told, current=told.new)


@pytest.mark.requirement("SEED-50")
def test_without_that_letter_or_that_declaration_nothing_changes(
    world: World, region: Structure
) -> None:
    made, other = world.certified(region), world.certified(region)
    good = _letter(world, made.box.address, SUPPORT, made.box.id)
    foreign = _letter(world, other.box.address, SUPPORT, other.box.id)
    elsewhere = _letter(world, made.box.address, other.box.address, made.box.id)
    told = _asked(world, made.person, world.usual("nouvelle"))
    wrong = (
        (told, foreign),
        (told, elsewhere),
        (told, EnvelopeId("0" * 26)),
        (replace(told, telephone=" "), good),
        (replace(told, last_name="Autre"), good),
        (replace(told, national_id=other.person.national_id or ""), good),
    )
    for declaration, letter in wrong:
        with pytest.raises(NotAllowed):
            world.write(
                partial(
                    usual_address.change,
                    desk=world.desk,
                    rules=world.rules,
                    told=declaration,
                    letter=letter,
                )
            )
    taken = replace(told, new=other.person.usual_address)
    with pytest.raises(PersonExists):
        world.write(lambda w: usual_address.change(w, world.desk, world.rules, taken, good))
    assert world.person(made.person) == made.person


# ---------------------------------------------------------------- the end


@pytest.mark.requirement("OP-50")
def test_the_ladder_of_a_box_is_active_suspended_closed_and_a_suspended_account_takes_its_box(
    world: World,
) -> None:
    assert [state.value for state in BalState] == ["active", "suspended", "closed"]
    made = world.certified(world.structure())
    world.write(lambda w: persons.suspend(w, made.person))
    assert world.again(made.box).state is BalState.SUSPENDED
    account = world.read(lambda r: r.account_of(made.box.id))
    assert account is not None
    assert not account.active


@pytest.mark.requirement("OP-50")
def test_the_end_of_a_suspension_gives_back_what_it_took_and_nothing_else(world: World) -> None:
    here, there = world.structure(), world.structure()
    made = world.certified(here)
    second = world.write(
        lambda w: boxes.create(w, world.rules, NewBox(BalType.PER, there.id), made.person)
    )
    world.write(lambda w: w.set_bal_state(second.id, BalState.SUSPENDED))  # by an administrator

    def suspend() -> None:
        world.write(lambda w: persons.suspend(w, made.person))

    suspend()
    for box in (made.box, second):
        with pytest.raises(NotAllowed, match="titulaire est suspendu"):
            world.write(partial(boxes.activate, box=world.again(box)))
    suspend()  # a second time takes nothing more, and forgets nothing
    world.write(lambda w: persons.resume(w, world.register, made.person))
    assert world.again(made.box).state is BalState.ACTIVE
    assert world.again(second).state is BalState.SUSPENDED
    world.write(lambda w: w.set_bal_state(made.box.id, BalState.SUSPENDED))
    world.write(lambda w: persons.resume(w, world.register, made.person))  # nobody was suspended
    assert world.again(made.box).state is BalState.SUSPENDED


@pytest.mark.requirement("OP-49", "OP-50")
def test_who_has_left_or_is_suspended_climbs_no_ladder(world: World) -> None:
    structure = world.structure()
    loaded = world.loaded(world.doctor(structure)).person
    stopped = world.loaded(world.doctor(structure)).person
    alone = world.write(lambda w: persons.self_register(w, world.doctor()))
    world.write(lambda w: persons.ask_certification(w, alone))
    world.write(lambda w: persons.suspend(w, stopped))
    for each in (loaded, alone):
        world.write(partial(persons.leave, person=each))
    for person, step in (
        (loaded, lambda w: persons.finalise(w, world.rules, world.register, loaded)),
        (stopped, lambda w: persons.finalise(w, world.rules, world.register, stopped)),
        (alone, lambda w: persons.ask_certification(w, alone)),
        (alone, lambda w: persons.certify(w, world.register, alone, "région")),
        (loaded, lambda w: persons.resume(w, world.register, loaded)),
    ):
        with pytest.raises(NotAllowed, match="quitté son activité|est suspendu"):
            world.write(step)
        assert world.person(person).state is not PersonState.CERTIFIED
    # A request of who has left waits for nobody, and alarms nobody after 48 hours.
    assert alone.id not in {each.person.id for each in world.read(lambda r: r.pending_persons())}
    world.write(lambda w: persons.resume(w, world.register, stopped))
    done = world.write(lambda w: persons.finalise(w, world.rules, world.register, stopped))
    assert done.state is PersonState.CERTIFIED


@pytest.mark.requirement("OP-49")
def test_who_leaves_is_closed_everywhere_and_the_proofs_stay(world: World) -> None:
    structure = world.structure()
    made = world.certified(structure)
    org = world.org(structure, "depart", responsible=made.person.national_id)
    letter = _letter(world, made.box.address, Address("x", HOSPITAL), made.box.id)

    def settle(w: Writing) -> None:
        w.add_member(org.id, made.person.account)
        w.set_bal_state(org.id, BalState.SUSPENDED)
        w.add_app_password(made.person.account, "tel", "argon2", "scram")

    world.write(settle)
    world.write(lambda w: persons.leave(w, made.person))
    assert world.again(made.box).state is BalState.CLOSED
    assert world.read(lambda r: r.members(org.id)) == ()
    devices = world.read(lambda r: r.app_passwords(made.person.account))
    assert all(each.revoked_at is not None for each in devices)
    assert world.read(lambda r: r.person_dates(made.person.id)).left_at == world.clock.now()
    before = world.read(lambda r: r.events(letter))
    world.store.shred_bal(made.box.id, "retention over")
    after = world.read(lambda r: r.events(letter))
    assert [each.digest for each in after][: len(before)] == [each.digest for each in before]


@pytest.mark.requirement("OP-49", "OP-51")
def test_who_comes_back_or_goes_elsewhere_has_a_new_account_that_opens_nothing_of_the_former(
    world: World,
) -> None:
    here, there = world.structure(), world.structure(CLINIC)
    made = world.certified(here)
    usual, number = made.person.usual_address, made.person.national_id
    org = world.org(here, "avant", responsible=number)

    def use(w: Writing) -> None:
        w.add_member(org.id, made.person.account)
        w.bind_account("psc", "sujet-1", made.person.account)
        w.trace("send", str(usual), "250", account=made.person.account)

    world.write(use)
    again = world.doctor(there, usual_address=usual, national_id=number)
    with pytest.raises(PersonExists):  # still here
        world.loaded(again)
    world.write(lambda w: persons.leave(w, made.person))
    new = world.loaded(again)
    assert (new.person.state, new.person.national_id) == (PersonState.PRE_REGISTERED, number)
    assert new.person.account != made.person.account
    assert new.box.address != made.box.address
    for found in (
        world.read(lambda r: r.person(usual)),
        world.read(lambda r: r.person_by_national_id(number or "")),
    ):
        assert found == new.person
    assert world.read(lambda r: r.bal_by_usual(usual)) == new.box
    assert world.read(lambda r: r.principal(new.person.account)).bals == (new.box,)
    assert world.read(lambda r: r.traces(account=new.person.account)) == ()
    assert world.read(lambda r: r.bound_account("psc", "sujet-1")) is None
    assert world.again(made.box).state is BalState.CLOSED
    former = world.person(made.person)
    kept = world.read(lambda r: r.records("person", former.id))["former"]
    assert kept.values == {"usual_address": str(usual), "national_id": number}
    with pytest.raises(NotAllowed, match="quitté"):
        world.write(lambda w: persons.resume(w, world.register, former))
    # Once more, and by oneself.
    world.write(lambda w: persons.leave(w, new.person))
    alone = world.write(lambda w: persons.self_register(w, again))
    assert alone.state is PersonState.NOT_CERTIFIED
    assert alone.account not in (made.person.account, new.person.account)


@pytest.mark.requirement("OP-54")
def test_the_liste_rouge_keeps_a_box_unpublished_and_nothing_else(world: World) -> None:
    structure = world.structure()
    made = world.loaded(world.doctor(structure), is_red_listed=True)
    assert made.box.is_red_listed
    assert made.box.state is BalState.ACTIVE
    assert world.read(lambda r: r.bal(made.box.address)) == made.box  # typed by hand, it is found
    world.write(lambda w: w.set_red_listed(made.box.id, on=False))
    assert not world.again(made.box).is_red_listed


@pytest.mark.requirement("OP-37")
def test_a_second_box_of_a_person_is_opened_by_the_same_account(world: World) -> None:
    here, there = world.structure(), world.structure()
    made = world.certified(here)
    second = world.write(
        lambda w: boxes.create(w, world.rules, NewBox(BalType.PER, there.id), made.person)
    )
    assert second.national_id == made.box.national_id
    acts_in = world.read(lambda r: r.principal(made.person.account)).bals
    assert {each.id for each in acts_in} == {made.box.id, second.id}


def _of_two(world: World) -> tuple[Structure, Structure, persons.Loaded, Bal, Bal]:
    """Somebody with a box in each of two structures, and member of a service of each."""
    here, there = world.structure(), world.structure()
    made = world.certified(here)
    second = world.write(
        lambda w: boxes.create(w, world.rules, NewBox(BalType.PER, there.id), made.person)
    )
    number = made.person.national_id
    services = [
        world.org(each, f"service-{each.id}", responsible=number, agreed_on=world.clock.now())
        for each in (here, there)
    ]
    for service in services:
        world.write(partial(Writing.add_member, org=service.id, account=made.person.account))
    return here, there, made, second, services[0]


def _opens(world: World, made: persons.Loaded) -> set[BalId]:
    return {each.id for each in world.read(lambda r: r.principal(made.person.account)).bals}


@pytest.mark.attack("ATT-24")
def test_att_24_who_leaves_one_structure_goes_on_in_the_other(world: World) -> None:
    here, there, made, second, service = _of_two(world)
    account, usual = made.person.account, made.person.usual_address
    before = _opens(world, made)

    def use(w: Writing) -> None:
        w.bind_account("oidc", "chez-a", account)
        w.bind_account("psc", "a-elle", account)

    world.write(use)
    world.write(lambda w: parts.leave(w, made.person, here.id))
    assert world.again(made.box).state is BalState.CLOSED
    assert _opens(world, made) == before - {made.box.id, service.id}
    state = world.read(lambda r: state_of(r, str(usual), world.clock.now()))
    assert state is not None
    assert state.may_log_in()
    assert state.own is not None
    assert state.own.id == second.id  # and mail to the usual address comes there
    assert world.person(made.person).structure == there.id
    assert world.read(lambda r: r.bound_account("oidc", "chez-a")) is None
    assert world.read(lambda r: r.bound_account("psc", "a-elle")) == account
    world.store.shred_bal(made.box.id, "retention over")  # the account is not of it any more
    assert _opens(world, made) == before - {made.box.id, service.id}
    world.write(lambda w: parts.leave(w, world.person(made.person), there.id))
    assert world.again(second).state is BalState.CLOSED
    assert world.read(lambda r: r.person_dates(made.person.id)).left_at is not None
    assert not world.read(lambda r: boxes.is_open_account(r, account))


@pytest.mark.attack("ATT-24")
def test_att_24_who_is_suspended_in_one_structure_works_on_in_the_other(world: World) -> None:
    here, _, made, second, service = _of_two(world)
    before, usual = _opens(world, made), str(made.person.usual_address)
    for _ in range(2):  # a second time takes nothing more, and forgets nothing
        world.write(lambda w: parts.suspend(w, made.person, here.id))
        assert _opens(world, made) == before - {made.box.id, service.id}
        state = world.read(lambda r: state_of(r, usual, world.clock.now()))
        assert state is not None
        assert state.may_log_in()
    world.write(lambda w: parts.resume(w, world.register, made.person))
    assert _opens(world, made) == before
    world.write(lambda w: w.set_bal_state(made.box.id, BalState.SUSPENDED))
    world.write(lambda w: parts.resume(w, world.register, made.person))  # nobody was suspended
    assert _opens(world, made) == before - {made.box.id}
    world.write(lambda w: persons.suspend(w, made.person))  # a wider hand stops all
    assert world.again(second).state is BalState.SUSPENDED
    world.write(lambda w: parts.leave(w, made.person, here.id))
    assert not world.read(lambda r: boxes.is_open_account(r, made.person.account))
