"""Structures, their domains and what they declare (SEED-03, SEED-04, OP-43, SEED-26, 41, 53)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from mssmtp.config import Settings
from mssmtp.config_people import PeopleSettings
from mssmtp.mail import BalState, Domain
from mssmtp.people import boxes, structures
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.structures import NewStructure
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import StructureExists
from tests.people.conftest import CLINIC, GENERIC, HOSPITAL, World, keyed

YEAR = timedelta(days=365)


@pytest.mark.requirement("SEED-26")
def test_a_structure_needs_a_number_with_its_key_and_keeps_it(world: World) -> None:
    with pytest.raises(NotAllowed, match="ni FINESS ni SIRET"):
        world.write(lambda w: structures.create(w, NewStructure("Sans numéro")))
    finess, siret = world.finess(), keyed("7328293200011")
    made = world.write(
        lambda w: structures.create(w, NewStructure("Maison du Parc", finess, siret))
    )
    assert (made.finess, made.siret) == (finess, siret)
    for number in (finess, siret):
        assert world.read(partial(Reading.structure_by_number, number=number)) == made
    with pytest.raises(StructureExists):
        world.write(lambda w: structures.create(w, NewStructure("Une autre", finess)))


@pytest.mark.requirement("SEED-03", "OP-43")
def test_a_structure_has_one_domain_for_all_and_nobody_else_controls_it(world: World) -> None:
    hospital = world.structure(HOSPITAL)
    box = world.org(hospital, "accueil")
    doctor = world.loaded(world.doctor(hospital)).box
    assert box.address.domain == doctor.address.domain == HOSPITAL
    served = world.read(lambda r: r.served_domain(HOSPITAL))
    assert served is not None
    assert served.structure == hospital.id
    other = world.structure(None)
    with pytest.raises(NotAllowed, match="contrôle"):
        world.write(lambda w: structures.take_domain(w, world.rules, other.id, HOSPITAL))
    with pytest.raises(NotAllowed, match="ne change jamais"):
        world.write(lambda w: structures.take_domain(w, world.rules, hospital.id, CLINIC))
    away = Domain("ailleurs.test")
    with pytest.raises(NotAllowed, match="pas servi"):
        world.write(lambda w: structures.take_domain(w, world.rules, other.id, away))
    with pytest.raises(NotAllowed, match="le même pour tous"):
        world.loaded(world.doctor(hospital), domain=CLINIC)


@pytest.mark.requirement("SEED-04")
def test_generic_domains_are_shared_and_are_those_of_the_client() -> None:
    told = {each.name: each.purpose for each in PeopleSettings().generic_domains}
    assert told == {
        "pro.oc.mssante.fr": "CPTS, MSP",
        "ehpad.oc.mssante.fr": "EHPAD",
        "social.oc.mssante.fr": "social et médico-social",
        "oc.mssante.fr": "autres structures",
        "paca.mssante.fr": "alias de la région PACA",
    }
    assert "people" in Settings.model_fields


@pytest.mark.requirement("SEED-04", "OP-43")
def test_two_structures_share_a_generic_domain_and_neither_controls_it(world: World) -> None:
    one, other = world.structure(GENERIC), world.structure(GENERIC)
    assert one.domain == other.domain == GENERIC
    assert world.read(lambda r: r.served_domain(GENERIC)) is None
    first = world.org(one, "contact-un")
    second = world.org(other, "contact-deux")
    assert (first.structure, second.structure) == (one.id, other.id)


@pytest.mark.requirement("SEED-41", "SEED-53")
def test_what_a_structure_has_declared_is_kept_with_dates_and_what_is_missing_is_said(
    world: World,
) -> None:
    bare = world.structure(None, is_ready=False)
    sheet = world.read(lambda r: structures.sheet(r, world.rules, bare.id, r.now()))
    assert sheet.missing == (
        "convention signée avec l'opérateur",
        "chef de projet désigné",
        "administrateur désigné",
        "inscription au registre des traitements",
        "information des patients affichée",
        "domaine MSSanté",
    )
    signed = world.clock.now() - 5 * YEAR

    def declare(writing: object) -> None:
        world.declare_all(writing, bare)  # type: ignore[arg-type]

    world.write(declare)
    world.write(lambda w: structures.declare(w, bare.id, "agreement", signed, {"signed_by": "X"}))
    world.write(lambda w: structures.take_domain(w, world.rules, bare.id, GENERIC))
    sheet = world.read(lambda r: structures.sheet(r, world.rules, bare.id, r.now()))
    assert sheet.missing == ()
    assert sheet.records["project-lead"].values == {"name": "Paul Chef"}
    assert sheet.records["administrator"].values == {"name": "Ana Admin"}
    assert sheet.records["agreement"].at == signed
    assert sheet.agreement_until == signed + 8 * YEAR  # four years, renewed tacitly
    hospital = world.write(
        lambda w: structures.create(
            w, NewStructure("CH", world.finess(), is_health_establishment=True)
        )
    )
    sheet = world.read(lambda r: structures.sheet(r, world.rules, hospital.id, r.now()))
    assert "déclaration oSIS" in sheet.missing
    done = world.clock.now() - YEAR
    for kind in ("data-protection-register", "patient-notice", "osis"):

        def step(writing: Writing, kind: str = kind) -> None:
            structures.declare(writing, hospital.id, kind, done, {})

        world.write(step)
    sheet = world.read(lambda r: structures.sheet(r, world.rules, hospital.id, r.now()))
    steps = {kind: told.at for kind, told in sheet.records.items()}
    assert steps == dict.fromkeys(("data-protection-register", "patient-notice", "osis"), done)
    assert "déclaration oSIS" not in sheet.missing


@pytest.mark.parametrize(
    ("kind", "values", "why"),
    [
        ("agreement", {}, "signed_by"),
        ("agreement", {"signed_by": " "}, "signed_by"),
        ("project-lead", {"name": "Paul", "salaire": "1"}, "salaire"),
        ("fantaisie", {}, "n'existe pas"),
    ],
)
def test_an_incomplete_declaration_is_refused_and_leaves_nothing(
    world: World, kind: str, values: dict[str, str], why: str
) -> None:
    bare = world.structure(None, is_ready=False)
    with pytest.raises(NotAllowed, match=why):
        world.write(lambda w: structures.declare(w, bare.id, kind, w.now(), values))
    later = world.clock.now() + timedelta(days=3)
    with pytest.raises(NotAllowed, match="à venir"):
        world.write(lambda w: structures.declare(w, bare.id, "patient-notice", later, {}))
    assert world.read(lambda r: r.records("structure", bare.id)) == {}


@pytest.mark.requirement("SEED-41", "SEED-53")
def test_boxes_of_a_structure_wait_for_its_declarations(world: World) -> None:
    bare = world.structure(GENERIC, is_ready=False)
    doctor = world.certified(world.structure())
    number = doctor.person.national_id
    box = world.org(bare, "attente", responsible=number, agreed_on=world.clock.now())
    assert box.state is BalState.SUSPENDED

    def declare(writing: object) -> None:
        world.declare_all(writing, bare)  # type: ignore[arg-type]
        boxes.review_structure(writing, bare.id)  # type: ignore[arg-type]

    world.write(declare)
    assert world.again(box).state is BalState.ACTIVE


def test_a_structure_is_closed_when_its_boxes_are(world: World) -> None:
    structure = world.structure()
    box = world.org(structure, "fin")
    with pytest.raises(NotAllowed, match="encore 1"):
        world.write(lambda w: structures.close(w, structure.id))
    world.write(lambda w: boxes.close(w, box))
    assert world.write(lambda w: structures.close(w, structure.id)).is_closed
    with pytest.raises(NotAllowed, match="fermée"):
        world.org(structure, "trop-tard")
