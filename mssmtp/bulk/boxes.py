"""ORG and APP lines: a box of the structure, which is nobody's own (SEED-21, SEED-23)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from mssmtp.bulk.columns import Column, shown
from mssmtp.bulk.report import Outcome
from mssmtp.bulk.request import Request, Verb
from mssmtp.bulk.steps import (
    Done,
    Promised,
    Step,
    differing,
    exists_otherwise,
    never_changes,
    refused,
)
from mssmtp.mail import AccountId, Address, Bal, BalState, Structure, StructureId
from mssmtp.people import boxes, naming, records
from mssmtp.people.boxes import NewBox
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.pki import listed_name, name_text
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import BalDetails


@dataclass(frozen=True, slots=True)
class _Asked:
    """A line whose people were found. `name`: of the certificate, as tables of ours hold it."""

    request: Request
    members: tuple[AccountId, ...]
    agreed_on: datetime | None
    name: str


def box_step(
    reading: Reading, request: Request, structure: Structure, rules: Rules, promised: Promised
) -> Step:
    """What the line of an ORG or APP box would change."""
    if request.local is None:
        raise ValueError("a line about a box has its address")
    if structure.domain is None:
        return refused(Column.STRUCTURE, "cette structure n'a pas encore de domaine MSSanté")
    address = Address(request.local, structure.domain)
    box = reading.bal(address)
    if box is None and request.verb is not Verb.CREATE:
        return refused(Column.ADDRESS, "aucune BAL de ce nom ici ; l'action C la crée")
    if box is not None:
        if box.structure != structure.id:
            return refused(Column.ADDRESS, "cette adresse est ou fut celle d'une autre BAL")
        if box.type is not request.type:
            return never_changes((Column.TYPE,))
        if request.verb is Verb.CLOSE:
            return _closing(box)
    members = _members(reading, request, structure.id, promised)
    if isinstance(members, Step):
        return members
    name = _certificate_name(request, structure)
    if name is None:
        return refused(
            Column.CERTIFICATE,
            "ce certificat est celui d'une autre organisation (OU : 1 + FINESS ou 3 + SIRET)",
        )
    asked = _Asked(request, members, _day(request), name)
    if box is not None:
        return _known(reading, asked, box)
    try:
        naming.require_allowed(address.local, request.type)
    except NotAllowed as error:
        return refused(Column.ADDRESS, f"{error.why} ; {error.remedy}")
    if not naming.is_free(reading, address):
        return refused(Column.ADDRESS, "cette adresse est ou fut celle d'une autre BAL")
    return _new(asked, address, structure.id, rules)


def _new(asked: _Asked, address: Address, structure: StructureId, rules: Rules) -> Step:
    request = asked.request

    def take(writing: Writing) -> Done:
        box = boxes.create(
            writing,
            rules,
            NewBox(
                request.type,
                structure,
                request.local,
                details=BalDetails(request.label, request.card.phone, request.card.service),
                is_red_listed=bool(request.red_listed),
                responsible=request.responsible,
                agreed_on=asked.agreed_on,
            ),
        )
        for account in asked.members:
            writing.add_member(box.id, account)
        if asked.name:
            writing.bind_box("name", asked.name, box.id, request.label)
        return Done(str(address), box.id, waits_for=boxes.missing(writing, box))

    return Step(Outcome.CREATED, take, address=str(address))


def _known(reading: Reading, asked: _Asked, box: Bal) -> Step:
    request = asked.request
    if box.state is BalState.CLOSED:
        return refused(
            Column.ADDRESS, "cette BAL est close ; une adresse close ne sert plus jamais"
        )
    details = reading.bal_details(box.id)
    declared = _declared(reading, asked, box)
    present = {account for account, _ in reading.members(box.id)}
    new = tuple(account for account in asked.members if account not in present)
    columns = differing(
        {
            Column.LABEL: (request.label, details.label),
            Column.PHONE: (request.card.phone, details.phone),
            Column.SERVICE: (request.card.service, details.service),
            Column.RED_LISTED: (request.red_listed, box.is_red_listed),
        }
    )
    columns += declared + ((Column.MEMBERS,) if new else ())
    if not columns:
        return Step(Outcome.UNCHANGED, address=str(box.address))
    if request.verb is Verb.CREATE:
        return exists_otherwise(columns)

    def take(writing: Writing) -> Done:
        changed = replace(
            details,
            label=request.label or details.label,
            phone=request.card.phone or details.phone,
            service=request.card.service or details.service,
        )
        if changed != details:
            writing.set_bal_details(box.id, changed)
        if request.red_listed not in (None, box.is_red_listed):
            writing.set_red_listed(box.id, on=bool(request.red_listed))
        boxes.declare(
            writing,
            box,
            request.responsible if Column.RESPONSIBLE in declared else None,
            asked.agreed_on if Column.AGREEMENT in declared else None,
        )
        if Column.CERTIFICATE in declared:
            writing.bind_box("name", asked.name, box.id, request.label or details.label)
        for account in new:
            writing.add_member(box.id, account)
        waits_for = boxes.missing(writing, boxes.review(writing, box))
        return Done(str(box.address), box.id, waits_for=waits_for)

    return Step(Outcome.CHANGED, take, address=str(box.address))


def _closing(box: Bal) -> Step:
    if box.state is BalState.CLOSED:
        return Step(Outcome.UNCHANGED, address=str(box.address))

    def take(writing: Writing) -> Done:
        boxes.close(writing, box)
        return Done(str(box.address), box.id)

    return Step(Outcome.CLOSED, take, address=str(box.address))


def _declared(reading: Reading, asked: _Asked, box: Bal) -> tuple[Column, ...]:
    """What the line declares otherwise than it was declared before (SEED-21, CL-15)."""
    request, told = asked.request, reading.records("bal", box.id)
    found = []
    responsible = told.get(records.RESPONSIBLE.name)
    if request.responsible not in (None, responsible and responsible.values["national_id"]):
        found.append(Column.RESPONSIBLE)
    agreement = told.get(records.HEAD_AGREEMENT.name)
    if asked.agreed_on not in (None, agreement and agreement.at):
        found.append(Column.AGREEMENT)
    if asked.name and box.id not in reading.bound_boxes("name", asked.name):
        found.append(Column.CERTIFICATE)
    return tuple(found)


def _day(request: Request) -> datetime | None:
    day = request.agreed_on
    return None if day is None else datetime.combine(day, time(), UTC)


def _certificate_name(request: Request, structure: Structure) -> str | None:
    """Of the line's certificate, "" when it names none; None: it is another organisation's.

    A certificate of IGC-Santé names its holder: 1 + FINESS or 3 + SIRET.
    """
    if not request.certificate:
        return ""
    key = listed_name(request.certificate) or ()
    units = {rdn.value for rdn in key if rdn.type == "OU"}
    ours = {f"1{structure.finess}", f"3{structure.siret}"}
    return name_text(key) if units & ours else None


def _members(
    reading: Reading, request: Request, structure: StructureId, promised: Promised
) -> tuple[AccountId, ...] | Step:
    """Accounts of the members and nobody else's; the responsible person is looked for too."""
    number = request.responsible
    if number is not None and number not in promised.people:
        person = reading.person_by_national_id(number)
        if person is None or person.structure != structure:
            return refused(
                Column.RESPONSIBLE,
                "aucun compte de cette structure n'a ce numéro ; chargez d'abord sa ligne PER",
            )
    found: list[AccountId] = []
    for usual in request.members:
        if usual.key in promised.people:
            continue
        member = reading.person(usual)
        if member is None or member.structure != structure:
            return refused(
                Column.MEMBERS,
                f"aucun compte de cette structure n'a l'adresse usuelle « {shown(str(usual))} »",
            )
        found.append(member.account)
    return tuple(found)
