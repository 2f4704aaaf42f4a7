"""Operations on persons: made, shown, changed, certified, gone (SEED-36, SEED-38, OP-49, OP-50)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime

from pydantic import Field

from mssmtp.admin import finding, structures
from mssmtp.admin.authority import Place, demand_reach, unknown, within
from mssmtp.admin.operation import (
    MOST_ROWS,
    Answer,
    Desk,
    Input,
    Operation,
    Row,
    operation,
)
from mssmtp.mail import Actor, AdminLevel, BalState, BalType, Category, Person, StructureId
from mssmtp.notices import Desk as Notices
from mssmtp.notices import Kind
from mssmtp.people import parts, persons, rechecking, records
from mssmtp.people.boxes import NewBox
from mssmtp.people.register import LocalRegister
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import BalDetails, NewPerson, PersonDetails

_NAME = 100


class Known(Input):
    """A person by usual address or login."""

    person: str = Field(max_length=finding.MOST_NAME)


class Profile(Input):
    """What a profile says of a person."""

    last_name: str | None = Field(None, min_length=1, max_length=_NAME)
    first_name: str | None = Field(None, min_length=1, max_length=_NAME)
    national_id: str | None = Field(None, max_length=20)
    profession: str | None = Field(None, max_length=10)
    language: str | None = Field(None, pattern="^(fr|en)$")
    civility: str | None = Field(None, max_length=20)
    phone: str | None = Field(None, max_length=40)
    service: str | None = Field(None, max_length=_NAME)
    skill: str | None = Field(None, max_length=20)


class NewAccount(Profile):
    """A person of a structure, pre-registered, with a box (OP-44, OP-50)."""

    structure: str | None = Field(None, max_length=20)
    usual_address: str = Field(max_length=finding.MOST_NAME)
    last_name: str = Field(min_length=1, max_length=_NAME)
    first_name: str = Field(min_length=1, max_length=_NAME)
    type: BalType = BalType.PER
    local: str | None = Field(None, max_length=64)
    red_list: bool = False


class ChangedProfile(Known, Profile):
    """What is to be otherwise; what is left out stays."""


class Attested(Known):
    """The three conditions of SEED-31, each affirmed on a day."""

    at: datetime
    takes_part: bool
    strictly_needed: bool
    informed: bool


class Refused(Known):
    """A request for certification answered with no (SEED-36)."""

    reason: str = Field(max_length=300)


class Listed(structures.Of):
    """One page of the persons of a structure, or of everybody within reach."""

    after: int = 0
    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS)


def person_of(reading: Reading, text: str) -> Person:
    """By usual address, else by login. Raises Unknown, ConfigError."""
    found = reading.person(finding.address_of(text))
    if found is None:
        account = reading.account(text)
        found = None if account is None else reading.person_by_account(account.id)
    if found is None:
        raise unknown(text)
    return found


def of_person(reading: Reading, actor: Actor, given: Known) -> Place:
    """The structure of a person."""
    found = person_of(reading, given.person)
    return finding.place_of_account(reading, given.person, found.account)


def demand(reading: Reading, actor: Actor, text: str) -> None:
    """The person is within reach of the actor. Raises Unknown."""
    demand_reach(actor, of_person(reading, actor, Known(person=text)))


def of_account(reading: Reading, actor: Actor, given: Known) -> Place:
    """Of a login, with or without a person (an ORG box has none)."""
    account = reading.account(given.person)
    if account is None:
        return of_person(reading, actor, given)
    return finding.place_of_account(reading, given.person, account.id)


def _of_new(reading: Reading, actor: Actor, given: NewAccount) -> Place:
    found = structures.named(reading, actor, given.structure)
    return within(given.structure or found.name, found)


def _add(desk: Desk[NewAccount]) -> Answer:
    """Make a person of a structure, pre-registered, with a box whose address follows OP-44."""
    given = desk.input
    rules = Rules.of(desk.office.settings)

    def job(writing: Writing) -> Row:
        structure = structures.named(writing, desk.actor, given.structure)
        new = NewPerson(
            finding.address_of(given.usual_address),
            given.last_name,
            given.first_name,
            national_id=given.national_id,
            profession=given.profession or "",
            category=Category.OTHER,
            structure=structure.id,
            language=given.language or "fr",
            details=_details(given, PersonDetails()),
        )
        box = NewBox(
            given.type,
            structure.id,
            given.local,
            details=BalDetails(),
            is_red_listed=given.red_list,
        )
        loaded = persons.load(writing, rules, new, box)
        at = within(
            given.usual_address, structure, bal=loaded.box.id, account=loaded.person.account
        )
        desk.concerns(at)
        return row(writing, loaded.person)

    return desk.write(job)


def _details(given: Profile, before: PersonDetails) -> PersonDetails:
    changed = {
        name: value
        for name in ("civility", "phone", "service", "skill")
        if (value := getattr(given, name)) is not None
    }
    return replace(before, **changed)


def _list(desk: Desk[Listed]) -> Answer:
    """Persons within one's scope, and since when the register has closed the right of whom; at most
    so many, after the one given."""
    page = desk.input

    def query(reading: Reading) -> list[Row]:
        only = page.structure or desk.actor.structure
        structure = structures.named(reading, desk.actor, page.structure).id if only else None
        found: list[Row] = []
        every = (
            reading.each_person(page.after)
            if structure is None
            else reading.each_person_of(structure, page.after)
        )
        for person in every:
            if _is_reached(desk, reading, person):
                shown = row(reading, person)
                # Whose box works is not suspended: nothing more is read of most of a page.
                stopped = shown["box_state"] != BalState.ACTIVE.value
                since = rechecking.ended_since(reading, person) if stopped else None
                found.append(shown | {"exercise_ended": time(since)})
                if len(found) == page.limit:
                    break
        return found

    return desk.read(query)


def _is_reached(desk: Desk[Listed] | Desk[finding.Nothing], reading: Reading, who: Person) -> bool:
    of = finding.structure_of(reading, who.structure)
    return desk.reaches(within("", of))


def _show(desk: Desk[Known]) -> Answer:
    """A person: profile, state on the ladder with its dates, box, what is missing."""

    def query(reading: Reading) -> Row:
        found = person_of(reading, desk.input.person)
        dates = asdict(reading.person_dates(found.id))
        return (
            row(reading, found)
            | asdict(reading.person_details(found.id))
            | {name: time(at) for name, at in dates.items()}
            | {"needs_attestation": persons.needs_attestation(reading, found)}
            | {"claims": _claims(reading, found)}
            | {"exercise_ended": time(rechecking.ended_since(reading, found))}
        )

    return desk.read(query)


def _claims(reading: Reading, person: Person) -> str:
    """What the person has said of itself at registration (SEED-34); nobody has confirmed it."""
    told = reading.records("person", person.id).get(records.REGISTRATION.name)
    values = {} if told is None else told.values
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _change(desk: Desk[ChangedProfile]) -> Answer:
    """Change names, profession, number or contact of a person; a number that the register does not
    confirm waits for certification. The usual address has its own way."""
    given = desk.input

    def job(writing: Writing) -> Row:
        was = person_of(writing, given.person)
        person = replace(
            was,
            last_name=given.last_name or was.last_name,
            first_name=given.first_name or was.first_name,
            national_id=given.national_id or was.national_id,
            profession=was.profession if given.profession is None else given.profession,
            language=given.language or was.language,
        )
        details = _details(given, writing.person_details(was.id))
        persons.change(writing, person, details)
        is_operator = desk.actor.level is AdminLevel.OPERATOR
        found = persons.confirm_number(writing, LocalRegister(), was, by_operator=is_operator)
        return row(writing, found)

    return desk.write(job)


def _attest(desk: Desk[Attested]) -> Answer:
    """Record that a person has affirmed the three conditions of access (SEED-31)."""
    given = desk.input
    told = {
        "takes_part": given.takes_part,
        "strictly_needed": given.strictly_needed,
        "informed": given.informed,
    }

    def act(writing: Writing, person: Person) -> None:
        persons.attest(writing, person, given.at, told)

    return _acted(desk, act)


def _pending(desk: Desk[finding.Nothing]) -> Answer:
    """Requests for certification that wait, with their age in hours (SEED-36) and what the register
    says of each (OP-45)."""

    def query(reading: Reading) -> list[Row]:
        now, register = desk.office.clock.now(), LocalRegister()
        return [
            {
                "person": str(each.person.usual_address),
                "since": time(each.since),
                "hours": int((now - each.since).total_seconds() // 3_600),
                "register": register.standing(reading, each.person).value,
            }
            for each in reading.pending_persons()
            if _is_reached(desk, reading, each.person)
        ]

    return desk.read(query)


def _request(desk: Desk[Known]) -> Answer:
    """Ask for the certification of somebody who is not certified, first or again (SEED-36)."""
    return _acted(desk, persons.ask_certification)


def _certify(desk: Desk[Known]) -> Answer:
    """Answer a request for certification with yes, once the register confirms (SEED-36, OP-45)."""
    by = desk.actor.name
    notices = Notices.of(desk.office.settings, desk.office.clock)

    def act(writing: Writing, person: Person) -> None:
        persons.certify(writing, LocalRegister(), person, by)
        box = writing.box_of(person.account)
        shown = str(person.usual_address if box is None else box.address)
        notices.tell(writing, Kind.CERTIFIED, person, {"box": shown})

    return _acted(desk, act)


def _refuse(desk: Desk[Refused]) -> Answer:
    """Answer a request for certification with no; the person stays not certified."""
    given = desk.input

    def act(writing: Writing, person: Person) -> None:
        persons.refuse(writing, person, desk.actor.name, given.reason)

    return _acted(desk, act)


def _suspend(desk: Desk[Known]) -> Answer:
    """Refuse the login of a person and suspend the own box; nothing is deleted (OP-50)."""
    return _acted(desk, _ended(desk, parts.suspend, persons.suspend))


def _resume(desk: Desk[Known]) -> Answer:
    """Let a suspended person log in again, and the own box work, unless the register says no."""

    def act(writing: Writing, person: Person) -> None:
        finding.demand_not_stopped(writing, str(person.usual_address), person.account)
        parts.resume(writing, LocalRegister(), person)

    return _acted(desk, act)


def _close(desk: Desk[Known]) -> Answer:
    """End the activity of a person: login, devices and boxes (OP-49); by a structure its part."""
    given = desk.input
    act = _ended(desk, parts.leave, persons.leave)

    def job(writing: Writing) -> Row:
        found = person_of(writing, given.person)
        before = row(writing, found)
        act(writing, found)
        # What goes on elsewhere is no more of whoever has ended it here.
        return before | {"box_state": BalState.CLOSED.value if before["box"] else ""}

    return desk.write(job)


Act = Callable[[Writing, Person], object]


def _ended(
    desk: Desk[Known], part: Callable[[Writing, Person, StructureId], None], whole: Act
) -> Act:
    """The administrator of a structure ends what is of it; a wider one ends all (ATT-24)."""
    structure = desk.actor.structure
    if desk.actor.level is not AdminLevel.STRUCTURE or structure is None:
        return whole
    return lambda writing, person: part(writing, person, structure)


def _acted(desk: Desk[Known] | Desk[Attested] | Desk[Refused], act: Act) -> Row:
    def job(writing: Writing) -> Row:
        found = person_of(writing, desk.input.person)
        act(writing, found)
        return row(writing, persons.present(writing, found))

    return desk.write(job)


def row(reading: Reading, one: Person) -> Row:
    """A person as lists print it."""
    box = reading.box_of(one.account)
    return {
        "id": one.id,
        "usual_address": str(one.usual_address),
        "last_name": one.last_name,
        "first_name": one.first_name,
        "state": one.state.value,
        "national_id": one.national_id or "",
        "profession": one.profession,
        "category": one.category.value,
        "structure": structures.number_of(reading, one.structure),
        "box": str(box.address) if box else "",
        "box_state": box.state.value if box else "",
    }


def time(at: datetime | None) -> str | None:
    """To the second."""
    return at.isoformat(timespec="seconds") if at else None


_STRUCTURE, _REGION = AdminLevel.STRUCTURE, AdminLevel.REGION

OPERATIONS: tuple[Operation, ...] = (
    operation("person.add", _STRUCTURE, NewAccount, _of_new, _add),
    operation("person.list", _STRUCTURE, Listed, finding.own, _list, changes=False, scoped=False),
    operation("person.show", AdminLevel.HOLDER, Known, of_person, _show, changes=False),
    operation("person.change", _STRUCTURE, ChangedProfile, of_person, _change),
    operation("person.attest", _STRUCTURE, Attested, of_person, _attest),
    operation(
        "person.pending",
        _STRUCTURE,
        finding.Nothing,
        finding.own,
        _pending,
        changes=False,
        scoped=False,
    ),
    operation("person.request", _REGION, Known, of_person, _request),
    operation("person.certify", _REGION, Known, of_person, _certify),
    operation("person.refuse", _REGION, Refused, of_person, _refuse),
    operation("person.suspend", _STRUCTURE, Known, of_person, _suspend),
    operation("person.resume", _STRUCTURE, Known, of_person, _resume),
    operation("person.close", _STRUCTURE, Known, of_person, _close),
)
