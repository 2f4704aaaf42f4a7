"""Operations on what becomes of people: another usual address, the year of a box, the register
(SEED-50, OP-45, OP-48)."""

from __future__ import annotations

from pydantic import Field

from mssmtp.admin import finding
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import MOST_ROWS, Answer, Desk, Input, Row, operation
from mssmtp.admin.persons import Known, of_person, person_of, row, time
from mssmtp.identity import national_id
from mssmtp.mail import AdminLevel, EnvelopeId
from mssmtp.notices import Desk as Notices
from mssmtp.people import inactivity, usual_address
from mssmtp.people.rules import Rules
from mssmtp.people.usual_address import Declaration
from mssmtp.storage import Reading, Writing
from mssmtp.storage.register import RegisterEntry

_NAME = 100
_TEXT = 300
_REGISTER_OCTETS = 1 << 20


class AnotherAddress(Known):
    """The declaration of SEED-50, and the queue id of the letter that asks for the change."""

    new_address: str = Field(max_length=finding.MOST_NAME)
    last_name: str = Field(max_length=_NAME)
    first_name: str = Field(max_length=_NAME)
    national_id: str = Field(max_length=20)
    activity: str = Field(max_length=_TEXT)
    postal_address: str = Field(max_length=_TEXT)
    telephone: str = Field(max_length=40)
    letter: str = Field(max_length=26)


class Professional(Input):
    """An entry of the register; `is_open`: may exercise."""

    national_id: str = Field(max_length=20)
    last_name: str = Field(min_length=1, max_length=_NAME)
    first_name: str = Field("", max_length=_NAME)
    profession: str = Field("", max_length=10)
    is_open: bool = True


class Professionals(Input):
    """Some of them at a time."""

    entries: tuple[Professional, ...] = Field(max_length=MOST_ROWS)


class Number(Input):
    """A professional by RPPS, ADELI or idNatPS."""

    national_id: str = Field(max_length=20)


def _change_address(desk: Desk[AnotherAddress]) -> Answer:
    """Change a usual address as its holder asked by a letter to the support box (SEED-50)."""
    given, settings = desk.input, desk.office.settings
    notices, rules = Notices.of(settings, desk.office.clock), Rules.of(settings)

    def job(writing: Writing) -> Row:
        told = Declaration(
            given.last_name,
            given.first_name,
            person_of(writing, given.person).usual_address,
            finding.address_of(given.new_address),
            given.national_id,
            given.activity,
            given.postal_address,
            given.telephone,
        )
        letter = EnvelopeId(given.letter)
        return row(writing, usual_address.change(writing, notices, rules, told, letter))

    return desk.write(job)


def _keep(desk: Desk[Box]) -> Answer:
    """Restart the year after which a still box is closed: its holder objects (OP-48)."""

    def job(writing: Writing) -> Row:
        box = finding.box(writing, desk.input.address)
        inactivity.keep(writing, box)
        since = writing.last_activity(box.id)
        return {"address": desk.shown(box.address), "active_since": time(since)}

    return desk.write(job)


def _load(desk: Desk[Professionals]) -> Answer:
    """Put professionals into the local register, in the place of what it said of them (OP-45)."""
    entries = [
        RegisterEntry(
            national_id.parse(each.national_id),
            each.last_name,
            each.first_name,
            each.profession,
            each.is_open,
        )
        for each in desk.input.entries
    ]

    def job(writing: Writing) -> Row:
        for entry in entries:
            writing.put_register_entry(entry)
        return {"entries": len(entries)}

    return desk.write(job)


def _look_up(desk: Desk[Number]) -> Answer:
    """What the local register says of a professional."""
    number = national_id.parse(desk.input.national_id)

    def query(reading: Reading) -> Row:
        entry = reading.register_entry(number)
        if entry is None:
            return {"national_id": number, "is_known": False}
        return {
            "national_id": number,
            "is_known": True,
            "last_name": entry.last_name,
            "first_name": entry.first_name,
            "profession": entry.profession,
            "is_open": entry.is_open,
        }

    return desk.read(query)


_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE
_OPERATOR = AdminLevel.OPERATOR

OPERATIONS = (
    operation("person.change-usual-address", _OPERATOR, AnotherAddress, of_person, _change_address),
    operation("bal.keep", _HOLDER, Box, finding.of_box, _keep),
    operation(
        "register.load",
        _OPERATOR,
        Professionals,
        finding.nobody,
        _load,
        most_octets=_REGISTER_OCTETS,
    ),
    operation("register.show", _OPERATOR, Number, finding.nobody, _look_up, changes=False),
)
