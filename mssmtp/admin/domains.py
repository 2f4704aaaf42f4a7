"""Operations on the domains served here: who controls them (OP-43), who has which."""

from __future__ import annotations

from pydantic import Field

from mssmtp.admin import finding, structures
from mssmtp.admin.authority import OPERATOR_ONLY, Place, unknown, within
from mssmtp.admin.finding import Nothing
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.mail import AdminLevel, Domain, Structure
from mssmtp.people import boxes
from mssmtp.people.boxes import Unreviewed
from mssmtp.people.rules import Rules
from mssmtp.people.structures import move_domain
from mssmtp.storage import Reading, Writing


class Named(Input):
    """A domain served here."""

    domain: str = Field(max_length=255)


class Given(structures.Of):
    """A domain served here, and the structure that is to have it."""

    domain: str = Field(max_length=255)


def _place(reading: Reading, domain: Domain) -> Place:
    """Of the structure that controls it; a generic one is the operator's."""
    held = reading.served_domain(domain)
    structure = finding.structure_of(reading, held.structure if held else None)
    return OPERATOR_ONLY if structure is None else within(domain, structure)


def _list(desk: Desk[Nothing]) -> Answer:
    """Domains served here that one's scope has boxes in, and who controls them."""
    rules = Rules.of(desk.office.settings)

    def query(reading: Reading) -> list[Row]:
        return [
            _row(reading, rules, domain, users)
            for domain in sorted(rules.served)
            for users in [_users(desk, reading, domain)]
            if users or desk.reaches(_place(reading, domain))
        ]

    return desk.read(query)


def _show(desk: Desk[Named]) -> Answer:
    """Who controls a domain, and which structures within one's scope have it."""
    rules = Rules.of(desk.office.settings)
    domain = finding.domain_of(desk.input.domain)

    def query(reading: Reading) -> Row:
        users = _users(desk, reading, domain)
        reached = users or desk.reaches(_place(reading, domain))
        if domain not in rules.served or not reached:
            raise unknown(desk.input.domain)
        return _row(reading, rules, domain, users)

    return desk.read(query)


def _change(desk: Desk[Given]) -> Answer:
    """Give a domain that one structure controls to another, in one step; its boxes are closed
    before (OP-43)."""
    given, rules = desk.input, Rules.of(desk.office.settings)
    domain = finding.domain_of(given.domain)

    def job(writing: Writing) -> tuple[Row, Unreviewed | None]:
        found = structures.named(writing, desk.actor, given.structure)
        move_domain(writing, rules, found.id, domain)
        told = _row(writing, rules, domain, _users(desk, writing, domain))
        return told, boxes.review_structure(writing, found.id)

    told, rest = desk.write(job)
    boxes.finish_review(desk.store, rest)
    return told


def _users(
    desk: Desk[Nothing] | Desk[Named] | Desk[Given], reading: Reading, domain: Domain
) -> list[Structure]:
    return [
        each
        for each in reading.structures(desk.actor.region)
        if each.domain == domain and desk.reaches(within(each.name, each))
    ]


def _row(reading: Reading, rules: Rules, domain: Domain, users: list[Structure]) -> Row:
    held = reading.served_domain(domain)
    return {
        "domain": domain,
        "kind": "generic" if domain in rules.generic else "own",
        "purpose": rules.generic.get(domain, held.purpose if held else ""),
        "controlled_by": structures.number_of(reading, held.structure if held else None),
        "structures": [each.finess or each.siret or "" for each in users],
    }


_STRUCTURE, _OPERATOR = AdminLevel.STRUCTURE, AdminLevel.OPERATOR

OPERATIONS: tuple[Operation, ...] = (
    operation("domain.list", _STRUCTURE, Nothing, finding.own, _list, changes=False, scoped=False),
    operation("domain.show", _STRUCTURE, Named, finding.own, _show, changes=False, scoped=False),
    operation("domain.change", _OPERATOR, Given, structures.of_structure, _change),
)
