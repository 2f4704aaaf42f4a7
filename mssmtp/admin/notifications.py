"""Operations on the notification table of a person: who is told of what, how often (SEED-47)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from mssmtp.admin import finding
from mssmtp.admin.operation import Answer, Desk, Operation, Row, operation
from mssmtp.admin.persons import Known, of_person, person_of
from mssmtp.errors import ConfigError
from mssmtp.mail import AdminLevel, Bal, BalType, Person, Role
from mssmtp.notices import choices
from mssmtp.notices.choices import Choices, Pace
from mssmtp.storage import Reading, Writing


class Wishes(Known):
    """What is to be otherwise for one box; left out `box`: the person's own."""

    box: str | None = Field(None, max_length=finding.MOST_NAME)
    arrival: Pace | None = None
    opening: Pace | None = None
    sealing: Pace | None = None

    @property
    def given(self) -> dict[str, Pace]:
        """By event."""
        named = {"arrival": self.arrival, "opening": self.opening, "sealing": self.sealing}
        return {event: pace for event, pace in named.items() if pace is not None}


def _list(desk: Desk[Known]) -> Answer:
    """Of each box a person acts in: what the person is told of, how often, at which address."""

    def query(reading: Reading) -> list[Row]:
        person = person_of(reading, desk.input.person)
        return [_row(person, *each) for each in _lines(reading, person)]

    return desk.read(query)


def _set(desk: Desk[Wishes]) -> Answer:
    """Choose for one box; what protects its holder is told whatever is chosen."""
    given = desk.input

    def job(writing: Writing) -> Row:
        person = person_of(writing, given.person)
        bal, role, _ = _chosen(writing, person, given.box)
        try:
            if role is None:
                now = choices.choose_for_box(writing, bal, given.given)
            else:
                now = choices.choose_for_member(writing, person.account, bal, given.given)
        except ValueError as error:
            remedy = "Seules les arrivées se disent aussi à l'heure (hourly) ou au jour (daily)."
            raise ConfigError(given.person, str(error), remedy) from error
        return _row(person, bal, role, now)

    return desk.write(job)


Line = tuple[Bal, Role | None, Choices]
"""A box, what the person is there (None: its holder), what was chosen."""


def _lines(reading: Reading, person: Person) -> Iterator[Line]:
    own = reading.box_of(person.account)
    if own is not None:
        yield own, None, choices.of_box(reading, own)
    principal = reading.principal(person.account)
    for bal in principal.bals:
        role = principal.roles.get(bal.id)
        if isinstance(role, Role) and bal.type is BalType.ORG:
            yield bal, role, choices.of_member(reading, person.account, role, bal)


def _chosen(reading: Reading, person: Person, box: str | None) -> Line:
    lines = list(_lines(reading, person))
    address = None if box is None else finding.address_of(box)
    found = next((each for each in lines if address in (None, each[0].address)), None)
    if found is None:
        raise ConfigError(
            box or str(person.usual_address),
            "n'est pas une boîte de cette personne",
            "`mssmtp person notifications` affiche les siennes.",
        )
    return found


def _row(person: Person, bal: Bal, role: Role | None, chosen: Choices) -> Row:
    return {
        "box": str(bal.address),
        "as": "titulaire" if role is None else role.value,
        **chosen.table(),
        "told_at": str(person.usual_address),
    }


_HOLDER = AdminLevel.HOLDER

OPERATIONS: tuple[Operation, ...] = (
    operation("person.notifications", _HOLDER, Known, of_person, _list, changes=False),
    operation("person.notify-of", _HOLDER, Wishes, of_person, _set),
)
