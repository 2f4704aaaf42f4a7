"""Operations on boxes of a structure: made by type, declared, closed (SEED-18 to SEED-24)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import Field

from mssmtp.admin import finding, persons, structures
from mssmtp.admin.authority import Place, within
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.mail import Actor, AdminLevel, Bal, BalType
from mssmtp.people import boxes
from mssmtp.people.boxes import NewBox
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import BalDetails

_TEXT = 120


class NewBoxOf(Input):
    """A box of a structure. `local` is what stands before the @; a person's follows OP-44."""

    structure: str | None = Field(None, max_length=20)
    type: BalType
    local: str | None = Field(None, max_length=64)
    label: str = Field("", max_length=_TEXT)
    phone: str = Field("", max_length=40)
    service: str = Field("", max_length=_TEXT)
    holder: str | None = Field(None, max_length=finding.MOST_NAME)
    responsible: str | None = Field(None, max_length=20)
    agreed_on: datetime | None = None
    national_ids: tuple[str, ...] = Field((), max_length=50)
    red_list: bool = False


class Declared(Box):
    """Of an ORG box: the professional responsible, the agreement of the head (SEED-21)."""

    responsible: str | None = Field(None, max_length=20)
    agreed_on: datetime | None = None


class Changed(Box):
    """What directories and lists show of a box; what is not given stays."""

    label: str | None = Field(None, max_length=_TEXT)
    phone: str | None = Field(None, max_length=40)
    service: str | None = Field(None, max_length=_TEXT)


class Rank(Box):
    """1 is the preferred one among the boxes of a holder (OP-42); null: none."""

    rank: int | None = Field(None, ge=1, le=99)


class RedList(Box):
    """Whether the box is kept out of publication (OP-54)."""

    on: bool


def _of_new(reading: Reading, actor: Actor, given: NewBoxOf) -> Place:
    found = structures.named(reading, actor, given.structure)
    return within(given.structure or found.name, found)


def _create(desk: Desk[NewBoxOf]) -> Answer:
    """Make a box of a structure; it works as soon as nothing is missing."""
    given = desk.input
    rules = Rules.of(desk.office.settings)

    def job(writing: Writing) -> Row:
        structure = structures.named(writing, desk.actor, given.structure)
        holder = None
        if given.holder is not None:
            persons.demand(writing, desk.actor, given.holder)
            holder = persons.person_of(writing, given.holder)
        new = NewBox(
            given.type,
            structure.id,
            given.local,
            details=BalDetails(
                given.label, given.phone, given.service, national_ids=given.national_ids
            ),
            is_red_listed=given.red_list,
            responsible=given.responsible,
            agreed_on=given.agreed_on,
        )
        made = boxes.create(writing, rules, new, holder)
        desk.concerns(within(str(made.address), structure, bal=made.id))
        return _row(writing, made)

    return desk.write(job)


def _declare(desk: Desk[Declared]) -> Answer:
    """Record the responsible and the head's agreement of an ORG box (SEED-21)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        box = finding.box(writing, given.address)
        boxes.declare(writing, box, given.responsible, given.agreed_on)
        return _row(writing, boxes.review(writing, box))

    return desk.write(job)


def _change(desk: Desk[Changed]) -> Answer:
    """Change the label, the telephone or the service of a box; address and type never (OP-41)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        box = finding.box(writing, given.address)
        before = writing.bal_details(box.id)
        details = replace(
            before,
            label=before.label if given.label is None else given.label.strip(),
            phone=before.phone if given.phone is None else given.phone.strip(),
            service=before.service if given.service is None else given.service.strip(),
        )
        boxes.change(writing, box, details)
        shown = {"label": details.label, "phone": details.phone, "service": details.service}
        return _row(writing, box) | shown

    return desk.write(job)


def _activate(desk: Desk[Box]) -> Answer:
    """Make a suspended box active, when nothing is missing (OP-50)."""

    def job(writing: Writing) -> Row:
        box = finding.box(writing, desk.input.address)
        holder = writing.account_of(box.id)
        if holder is not None:
            finding.demand_not_stopped(writing, desk.input.address, holder.id)
        return _row(writing, boxes.activate(writing, box))

    return desk.write(job)


def _close(desk: Desk[Box]) -> Answer:
    """Close a box for ever: nobody else is given its address (OP-51)."""

    def job(writing: Writing) -> Row:
        return _row(writing, boxes.close(writing, finding.box(writing, desk.input.address)))

    return desk.write(job)


def _rank(desk: Desk[Rank]) -> Answer:
    """Say which box of a holder is the preferred one (OP-42)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        box = finding.box(writing, given.address)
        boxes.set_rank(writing, box, given.rank)
        return _row(writing, box) | {"rank": given.rank}

    return desk.write(job)


def _red_list(desk: Desk[RedList]) -> Answer:
    """Keep a box out of publication, or publish it again (OP-54)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        box = finding.box(writing, given.address)
        writing.set_red_listed(box.id, on=given.on)
        return _row(writing, box) | {"red_listed": given.on}

    return desk.write(job)


def _row(reading: Reading, box: Bal) -> Row:
    return {
        "address": str(box.address),
        "type": box.type.value,
        "state": box.state.value,
        "missing": list(boxes.missing(reading, box)),
    }


_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("bal.create", _STRUCTURE, NewBoxOf, _of_new, _create),
    operation("bal.declare", _STRUCTURE, Declared, finding.of_box, _declare),
    operation("bal.change", _STRUCTURE, Changed, finding.of_box, _change),
    operation("bal.activate", _STRUCTURE, Box, finding.of_box, _activate),
    operation("bal.close", _STRUCTURE, Box, finding.of_box, _close),
    operation("bal.rank", _STRUCTURE, Rank, finding.of_box, _rank),
    operation("bal.red-list", _HOLDER, RedList, finding.of_box, _red_list),
)
