"""Operations on structures (SEED-26): the operator makes them, with a first administrator."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from mssmtp.admin import administrators, finding
from mssmtp.admin.authority import OPERATOR_ONLY, Place, within
from mssmtp.admin.operation import (
    MOST_ROWS,
    Answer,
    Desk,
    Input,
    Operation,
    Row,
    operation,
)
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel, Invites, Structure, StructureId
from mssmtp.people import boxes, records, structures
from mssmtp.people.boxes import Unreviewed
from mssmtp.people.rules import Rules
from mssmtp.people.structures import NewStructure
from mssmtp.storage import Administrator, Reading, Writing

_NUMBER = Field(max_length=20)
_TEXT = 200


class Of(Input):
    """A structure by FINESS, SIRET or SIREN; one's own when it is left out."""

    structure: str | None = Field(None, max_length=20)


class Sheet(Input):
    """What the request form says."""

    name: str = Field(max_length=_TEXT)
    finess: str | None = Field(None, max_length=20)
    siret: str | None = Field(None, max_length=20)
    region: str = Field("", max_length=40)
    is_health_establishment: bool = False


class NewWithAdministrator(Sheet):
    """A structure and its first administrator, who is known by a certificate or a user."""

    administrator: administrators.Known | None = None


class Changed(Of):
    """What is to be otherwise; what is left out stays."""

    name: str | None = Field(None, max_length=_TEXT)
    finess: str | None = Field(None, max_length=20)
    siret: str | None = Field(None, max_length=20)
    region: str | None = Field(None, max_length=40)
    is_health_establishment: bool | None = None
    invites: Invites | None = None


class Agreement(Of):
    """The agreement with the operator, signed on a day (SEED-41)."""

    at: datetime
    signed_by: str = Field(max_length=_TEXT)


class Declaration(Of):
    """A legal step of the structure, done on a day (SEED-53)."""

    kind: Literal[
        "project-lead", "administrator", "data-protection-register", "patient-notice", "osis"
    ]
    at: datetime
    values: dict[str, str] = Field(default_factory=dict, max_length=10)


class Domained(Of):
    """The one domain of a structure; `remove`: it has it no more."""

    domain: str = Field(max_length=255)
    remove: bool = False


class Listed(Input):
    """One page of a list."""

    after: int = 0
    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS)


def named(reading: Reading, actor: Actor, number: str | None) -> Structure:
    """The structure of a number, or the actor's own. Raises Unknown, ConfigError."""
    if number is not None:
        return finding.structure(reading, number)
    if actor.structure is None:
        raise ConfigError("structure", "manque", "Donnez son FINESS ou son SIRET.")
    return structures.present(reading, actor.structure)


def of_structure(reading: Reading, actor: Actor, given: Of) -> Place:
    """The structure itself."""
    found = named(reading, actor, given.structure)
    return within(given.structure or found.name, found)


def _of_new(reading: Reading, actor: Actor, given: Sheet) -> Place:
    return OPERATOR_ONLY


def _create(desk: Desk[NewWithAdministrator]) -> Answer:
    """Make a structure and its first administrator, as the request form says (SEED-38)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        made = structures.create(writing, _new(given))
        desk.concerns(within(made.name, made))
        if given.administrator is not None:
            first = given.administrator
            actor = Actor(AdminLevel.STRUCTURE, first.name, structure=made.id)
            address = finding.address_of(first.address) if first.address else None
            new = Administrator(actor, address, first.certificate_sha256, first.user)
            writing.add_administrator(new)
        return row(made)

    return desk.write(job)


def _new(given: Sheet) -> NewStructure:
    return NewStructure(
        given.name, given.finess, given.siret, given.region, given.is_health_establishment
    )


def _list(desk: Desk[Listed]) -> Answer:
    """Structures within one's scope; at most so many, after the one given."""
    page = desk.input

    def query(reading: Reading) -> list[Row]:
        reached = (
            each
            for each in reading.structures(desk.actor.region)
            if each.id > page.after and desk.reaches(within(each.name, each))
        )
        return [row(each) for each, _ in zip(reached, range(page.limit), strict=False)]

    return desk.read(query)


def _show(desk: Desk[Of]) -> Answer:
    """A structure, what it declared, its domains, and what is missing before its boxes work."""
    return desk.read(lambda reading: _sheet(desk, reading))


def _sheet(desk: Desk[Of], reading: Reading) -> Row:
    found = named(reading, desk.actor, desk.input.structure)
    rules, now = Rules.of(desk.office.settings), desk.office.clock.now()
    sheet = structures.sheet(reading, rules, found.id, now)
    until = sheet.agreement_until
    return row(sheet.structure) | {
        "domains": [each.domain for each in sheet.domains],
        "declared": {
            kind: {"at": one.at.date().isoformat(), **one.values}
            for kind, one in sheet.records.items()
            if ("structure", kind) in records.KINDS
        },
        "agreement_until": until.date().isoformat() if until else None,
        "missing": list(sheet.missing),
        "boxes": reading.count_bals_of(found.id),
        "persons": reading.count_persons_of(found.id),
    }


def _change(desk: Desk[Changed]) -> Answer:
    """Change the name, the numbers or the region of a structure, or whom it invites (DEF-09)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        was = named(writing, desk.actor, given.structure)
        health = given.is_health_establishment
        new = NewStructure(
            given.name or was.name,
            given.finess or was.finess,
            given.siret or was.siret,
            was.region if given.region is None else given.region,
            was.is_health_establishment if health is None else health,
            given.invites or was.invites,
        )
        return row(structures.change(writing, was.id, new))

    return desk.write(job)


def _agree(desk: Desk[Agreement]) -> Answer:
    """Record the agreement of a structure with the operator (SEED-41)."""
    given = desk.input
    return _declared(desk, records.AGREEMENT.name, given.at, {"signed_by": given.signed_by})


def _declare(desk: Desk[Declaration]) -> Answer:
    """Record a legal step of a structure (SEED-53)."""
    given = desk.input
    return _declared(desk, given.kind, given.at, given.values)


def _declared(
    desk: Desk[Agreement] | Desk[Declaration], kind: str, at: datetime, values: dict[str, str]
) -> Row:
    def job(writing: Writing) -> tuple[Row, Unreviewed | None]:
        found = named(writing, desk.actor, desk.input.structure)
        structures.declare(writing, found.id, kind, at, values)
        rest = boxes.review_structure(writing, found.id)
        lacking = structures.missing(writing, found)
        return row(found) | {"missing": list(lacking)}, rest

    told, rest = desk.write(job)
    boxes.finish_review(desk.store, rest)
    return told


def _take_domain(desk: Desk[Domained]) -> Answer:
    """Give a structure its one domain, generic or its own, or take it away (SEED-03, OP-43)."""
    given = desk.input
    domain = finding.domain_of(given.domain)

    def job(writing: Writing) -> tuple[Row, Unreviewed | None]:
        found = named(writing, desk.actor, given.structure)
        if given.remove:
            return row(structures.leave_domain(writing, found.id, domain)), None
        rules = Rules.of(desk.office.settings)
        taken = structures.take_domain(writing, rules, found.id, domain)
        return row(taken), boxes.review_structure(writing, found.id)

    told, rest = desk.write(job)
    boxes.finish_review(desk.store, rest)
    return told


def _close(desk: Desk[Of]) -> Answer:
    """Close a structure whose boxes are closed; its administrators are out of office."""

    def job(writing: Writing) -> Row:
        found = named(writing, desk.actor, desk.input.structure)
        return row(structures.close(writing, found.id))

    return desk.write(job)


def row(one: Structure) -> Row:
    """A structure as lists print it."""
    return {
        "id": one.id,
        "name": one.name,
        "finess": one.finess or "",
        "siret": one.siret or "",
        "region": one.region,
        "domain": one.domain or "",
        "invites": one.invites,
        "state": "closed" if one.is_closed else "open",
    }


def number_of(reading: Reading, id: StructureId | None) -> str:
    """FINESS or SIRET of a structure; "" for none."""
    found = finding.structure_of(reading, id)
    return "" if found is None else found.finess or found.siret or ""


_STRUCTURE, _OPERATOR = AdminLevel.STRUCTURE, AdminLevel.OPERATOR

OPERATIONS: tuple[Operation, ...] = (
    operation("structure.create", _OPERATOR, NewWithAdministrator, _of_new, _create),
    operation(
        "structure.list", _STRUCTURE, Listed, finding.own, _list, changes=False, scoped=False
    ),
    operation("structure.show", _STRUCTURE, Of, of_structure, _show, changes=False),
    operation("structure.change", _OPERATOR, Changed, of_structure, _change),
    operation("structure.agree", _OPERATOR, Agreement, of_structure, _agree),
    operation("structure.declare", _STRUCTURE, Declaration, of_structure, _declare),
    operation("structure.domain", _OPERATOR, Domained, of_structure, _take_domain),
    operation("structure.close", _OPERATOR, Of, of_structure, _close),
)
