"""PER, MED and INT lines: a person with an account and a box of their own (SEED-39)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mssmtp.bulk.columns import Column
from mssmtp.bulk.report import Outcome
from mssmtp.bulk.request import Card, Request, Verb
from mssmtp.bulk.steps import (
    Done,
    Promised,
    Step,
    differing,
    exists_otherwise,
    never_changes,
    refused,
)
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Category,
    Person,
    PersonState,
    Structure,
)
from mssmtp.people import naming, parts, persons
from mssmtp.people.categories import category
from mssmtp.people.refusing import NotAllowed
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import NewPerson, PersonDetails


def person_step(
    reading: Reading, request: Request, structure: Structure, promised: Promised
) -> Step:
    """What the line of a person would change. `promised`: by a dry run, before it."""
    usual = request.usual
    if usual is None:
        raise ValueError("a line about a person has a usual address")
    person = reading.person(usual)
    if person is None or _has_left_another(reading, person, structure):
        if request.verb is not Verb.CREATE:
            return refused(
                Column.USUAL,
                "aucun compte de cette structure n'a cette adresse ; l'action C le crée",
            )
        return _new(reading, request, usual, structure, promised)
    gone = parts.has_left(reading, person, structure.id)
    if gone is not None and request.verb is Verb.CLOSE and person.structure != structure.id:
        return Step(Outcome.UNCHANGED, address=gone)
    box = reading.box_of(person.account)
    if person.structure != structure.id or box is None:
        return refused(
            Column.USUAL, "cette adresse usuelle a déjà un compte ailleurs ; voyez l'opérateur"
        )
    if box.type is not request.type:
        return never_changes((Column.TYPE,))
    if request.verb is Verb.CLOSE:
        return _closing(person, box, structure)
    return _known(reading, request, person, box)


def _has_left_another(reading: Reading, person: Person, structure: Structure) -> bool:
    """Whose activity has ended elsewhere comes anew. Here the line may be that of an old file, and
    loading it again changes nothing."""
    has_left = reading.person_dates(person.id).left_at is not None
    return has_left and person.structure != structure.id


def _new(
    reading: Reading,
    request: Request,
    usual: Address,
    structure: Structure,
    promised: Promised,
) -> Step:
    number = request.national_id
    before = None if number is None else reading.person_by_national_id(number)
    if before is not None and not _has_left_another(reading, before, structure):
        return refused(
            Column.NATIONAL_ID,
            "ce numéro a déjà un compte sous une autre adresse usuelle ; vérifiez la personne",
        )
    known = reading.bal(usual) or reading.bal_by_usual(usual)
    if known is not None and (known.state is not BalState.CLOSED or known.address == usual):
        return refused(Column.USUAL, "c'est l'adresse d'une BAL ; donnez l'adresse usuelle")
    try:
        address = _address(reading, request, structure, promised)
    except NotAllowed as error:
        return refused(Column.ADDRESS, f"{error.why} ; {error.remedy}")

    def take(writing: Writing) -> Done:
        # As `people.persons.load`, without asking whether the box may work: nobody pre-registered
        # may, and fifty thousand times the question is a minute.
        persons.make_way(writing, usual, number)
        box = writing.add_box(
            Bal(
                BalId(0),
                address,
                request.type,
                person=PersonState.PRE_REGISTERED,
                national_id=number if request.type is BalType.PER else None,
                usual_address=usual,
                structure=structure.id,
                is_red_listed=bool(request.red_listed),
                exchanges=False,
            )
        )
        person = writing.create_person(
            NewPerson(
                usual,
                request.last_name,
                request.first_name,
                PersonState.PRE_REGISTERED,
                number,
                request.profession,
                _category(request),
                structure.id,
                details=_details(request.card, PersonDetails()),
            ),
            box.id,
        )
        return Done(str(address), box.id, person.account)

    return Step(Outcome.CREATED, take, address=str(address))


def _address(
    reading: Reading, request: Request, structure: Structure, promised: Promised
) -> Address:
    """The one the line asks for, or `prenom.nom` (OP-44). Raises NotAllowed."""
    if structure.domain is None:
        raise NotAllowed(
            structure.name, "cette structure n'a pas encore de domaine", "donnez-lui-en un d'abord"
        )
    if request.local is None:
        local = naming.personal(request.first_name, request.last_name)
        return naming.free_address(promised.beside(reading), local, structure.domain)
    naming.require_allowed(request.local, request.type)
    address = Address(request.local, structure.domain)
    if not naming.is_free(promised.beside(reading), address):
        raise NotAllowed(
            str(address), "cette adresse est ou fut celle d'une autre BAL", "changez-la"
        )
    return address


def _known(reading: Reading, request: Request, person: Person, box: Bal) -> Step:
    details = reading.person_details(person.id)
    fixed: Mapping[Column, tuple[object, object]] = {
        Column.NATIONAL_ID: (request.national_id, person.national_id),
        Column.ADDRESS: (request.local, box.address.local.lower()),
    }
    if columns := differing(fixed):
        return never_changes(columns)
    card = request.card
    columns = differing(
        {
            Column.LAST_NAME: (request.last_name, person.last_name),
            Column.FIRST_NAME: (request.first_name, person.first_name),
            Column.CIVILITY: (card.civility, details.civility),
            Column.PHONE: (card.phone, details.phone),
            Column.SERVICE: (card.service, details.service),
            Column.SKILL: (card.skill, details.skill),
            Column.PROFESSION: (request.profession, person.profession),
            Column.RED_LISTED: (request.red_listed, box.is_red_listed),
        }
    )
    if box.state is BalState.CLOSED:
        return refused(
            Column.USUAL,
            "ce compte est clos ; une adresse close ne sert plus jamais. Si la personne revient :"
            " `mssmtp person add`",
        )
    if not columns:
        return Step(Outcome.UNCHANGED, address=str(box.address))
    if request.verb is Verb.CREATE:
        return exists_otherwise(columns)

    def take(writing: Writing) -> Done:
        changed = replace(
            person,
            last_name=request.last_name or person.last_name,
            first_name=request.first_name or person.first_name,
            profession=request.profession or person.profession,
        )
        if request.profession:
            changed = replace(changed, category=_category(request))
        persons.change(writing, changed, _details(card, details))
        if request.red_listed not in (None, box.is_red_listed):
            writing.set_red_listed(box.id, on=bool(request.red_listed))
        return Done(str(box.address), box.id, person.account)

    return Step(Outcome.CHANGED, take, address=str(box.address))


def _closing(person: Person, box: Bal, structure: Structure) -> Step:
    if box.state is BalState.CLOSED:
        return Step(Outcome.UNCHANGED, address=str(box.address))

    def take(writing: Writing) -> Done:
        parts.leave(writing, person, structure.id)
        return Done(str(box.address), box.id, person.account)

    return Step(Outcome.CLOSED, take, address=str(box.address))


def _category(request: Request) -> Category:
    """SEED-30, as `people.persons.load` has it; who has a number exercises."""
    found = category(request.profession)
    if found is Category.OTHER and request.type is BalType.PER:
        return Category.HEALTH_PROFESSIONAL
    return found


def _details(card: Card, before: PersonDetails) -> PersonDetails:
    """What the line says, and what it does not say as before."""
    return PersonDetails(
        card.civility or before.civility,
        card.phone or before.phone,
        card.service or before.service,
        card.skill or before.skill,
    )
