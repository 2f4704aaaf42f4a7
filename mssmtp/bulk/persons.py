"""PER, MED and INT lines: a person with an account and a box of their own (SEED-39)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mssmtp.bulk import naming
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
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import NewPerson, PersonDetails

_TITLES = frozenset({"73", "93", "94", "95"})
_FIXED = (Column.NATIONAL_ID, Column.ADDRESS)


def person_step(
    reading: Reading, request: Request, structure: Structure, promised: Promised
) -> Step:
    """What the line of a person would change. `promised`: by a dry run, before it."""
    usual = request.usual
    if usual is None:
        raise ValueError("a line about a person has a usual address")
    person = reading.person(usual)
    if person is None:
        if request.verb is not Verb.CREATE:
            return refused(
                Column.USUAL,
                "aucun compte de cette structure n'a cette adresse ; l'action C le crée",
            )
        return _new(reading, request, usual, structure, promised)
    box = reading.box_of(person.account)
    if person.structure != structure.id or box is None:
        return refused(
            Column.USUAL, "cette adresse usuelle a déjà un compte ailleurs ; voyez l'opérateur"
        )
    if box.type is not request.type:
        return never_changes((Column.TYPE,))
    if request.verb is Verb.CLOSE:
        return _closing(person, box)
    return _known(reading, request, person, box)


def _new(
    reading: Reading,
    request: Request,
    usual: Address,
    structure: Structure,
    promised: Promised,
) -> Step:
    number = request.national_id
    if number is not None and reading.person_by_national_id(number) is not None:
        return refused(
            Column.NATIONAL_ID,
            "ce numéro a déjà un compte sous une autre adresse usuelle ; vérifiez la personne",
        )
    if reading.bal(usual) or reading.bal_by_usual(usual):
        return refused(Column.USUAL, "c'est l'adresse d'une BAL ; donnez l'adresse usuelle")
    if structure.domain is None:
        return refused(Column.STRUCTURE, "cette structure n'a pas encore de domaine MSSanté")
    if request.local is None:
        first, last = request.first_name, request.last_name
        address = naming.personal(reading, first, last, structure.domain, promised.addresses)
        if address is None:
            return refused(Column.ADDRESS, "ce nom ne donne pas d'adresse ; remplissez la cellule")
    else:
        address = Address(request.local, structure.domain)
        why = naming.why_not(request.local, request.type)
        if why is not None or not naming.is_free(reading, address):
            return refused(Column.ADDRESS, why or "cette adresse est ou fut celle d'une autre BAL")

    def take(writing: Writing) -> Done:
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
            )
        )
        box = writing.add_box(
            Bal(
                BalId(0),
                address,
                request.type,
                person=PersonState.PRE_REGISTERED,
                national_id=number,
                usual_address=usual,
                structure=structure.id,
                is_red_listed=bool(request.red_listed),
            )
        )
        writing.give_box(person.account, box.id)
        return Done(str(address), box.id, person.account)

    return Step(Outcome.CREATED, take, address=str(address))


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
        return refused(Column.USUAL, "ce compte est clos ; une adresse close ne sert plus jamais")
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
        writing.change_person(changed, _details(card, details))
        if request.red_listed not in (None, box.is_red_listed):
            writing.set_red_listed(box.id, on=bool(request.red_listed))
        return Done(str(box.address), box.id, person.account)

    return Step(Outcome.CHANGED, take, address=str(box.address))


def _closing(person: Person, box: Bal) -> Step:
    if box.state is BalState.CLOSED:
        return Step(Outcome.UNCHANGED, address=str(box.address))

    def take(writing: Writing) -> Done:
        writing.set_bal_state(box.id, BalState.CLOSED)
        writing.set_account_active(person.account, active=False)
        return Done(str(box.address), box.id, person.account)

    return Step(Outcome.CLOSED, take, address=str(box.address))


def _category(request: Request) -> Category:
    """SEED-30: who has an RPPS or ADELI is a health professional or uses a protected title."""
    if request.type is not BalType.PER:
        return Category.OTHER
    if request.profession in _TITLES:
        return Category.TITLE_USER
    return Category.HEALTH_PROFESSIONAL


def _details(card: Card, before: PersonDetails) -> PersonDetails:
    """What the line says, and what it does not say as before."""
    return PersonDetails(
        card.civility or before.civility,
        card.phone or before.phone,
        card.service or before.service,
        card.skill or before.skill,
    )
