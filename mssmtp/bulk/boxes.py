"""ORG and APP lines: a box of the structure, which is nobody's own (SEED-21, SEED-23)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from mssmtp.bulk import naming
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
from mssmtp.mail import AccountId, Address, Bal, BalId, BalState, Structure, StructureId
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import BalDetails, Record

RESPONSIBLE = "responsible"
AGREEMENT = "head-agreement"
CERTIFICATE = "certificate-name"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A line whose people were found."""

    request: Request
    members: tuple[AccountId, ...]
    records: Mapping[str, Record]


def box_step(
    reading: Reading, request: Request, structure: Structure, now: datetime, promised: Promised
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
    asked = _Asked(request, members, _records(request, now))
    if box is not None:
        return _known(reading, asked, box)
    why = naming.why_not(address.local, request.type)
    if why is not None or not naming.is_free(reading, address):
        return refused(Column.ADDRESS, why or "cette adresse est ou fut celle d'une autre BAL")
    return _new(asked, address, structure.id)


def _new(asked: _Asked, address: Address, structure: StructureId) -> Step:
    request = asked.request

    def take(writing: Writing) -> Done:
        box = writing.add_box(
            Bal(
                BalId(0),
                address,
                request.type,
                structure=structure,
                is_red_listed=bool(request.red_listed),
            ),
            BalDetails(request.label, request.card.phone, request.card.service),
        )
        for record in asked.records.values():
            writing.add_record("bal", box.id, record)
        for account in asked.members:
            writing.add_member(box.id, account)
        return Done(str(address), box.id)

    return Step(Outcome.CREATED, take, address=str(address))


def _known(reading: Reading, asked: _Asked, box: Bal) -> Step:
    request = asked.request
    if box.state is BalState.CLOSED:
        return refused(
            Column.ADDRESS, "cette BAL est close ; une adresse close ne sert plus jamais"
        )
    details = reading.bal_details(box.id)
    kept = reading.records("bal", box.id)
    records = {
        kind: record
        for kind, record in asked.records.items()
        if not _says_the_same(record, kept.get(kind))
    }
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
    columns += tuple(_COLUMNS[kind] for kind in records) + ((Column.MEMBERS,) if new else ())
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
        for record in records.values():
            writing.add_record("bal", box.id, record)
        for account in new:
            writing.add_member(box.id, account)
        return Done(str(box.address), box.id)

    return Step(Outcome.CHANGED, take, address=str(box.address))


def _closing(box: Bal) -> Step:
    if box.state is BalState.CLOSED:
        return Step(Outcome.UNCHANGED, address=str(box.address))

    def take(writing: Writing) -> Done:
        writing.set_bal_state(box.id, BalState.CLOSED)
        return Done(str(box.address), box.id)

    return Step(Outcome.CLOSED, take, address=str(box.address))


_COLUMNS = {
    RESPONSIBLE: Column.RESPONSIBLE,
    AGREEMENT: Column.AGREEMENT,
    CERTIFICATE: Column.CERTIFICATE,
}


def _records(request: Request, now: datetime) -> dict[str, Record]:
    """What the line declares, dated: the agreement on its own day, the rest now (SEED-21)."""
    found: dict[str, Record] = {}
    if request.responsible is not None:
        found[RESPONSIBLE] = Record(RESPONSIBLE, now, {"national_id": request.responsible})
    if request.agreed_on is not None:
        day = datetime.combine(request.agreed_on, time(), UTC)
        found[AGREEMENT] = Record(AGREEMENT, day, {})
    if request.certificate:
        found[CERTIFICATE] = Record(CERTIFICATE, now, {"dn": request.certificate})
    return found


def _says_the_same(said: Record, kept: Record | None) -> bool:
    if kept is None or dict(kept.values) != dict(said.values):
        return False
    return said.kind != AGREEMENT or kept.at == said.at


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
