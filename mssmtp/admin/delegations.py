"""Operations on boxes that are lent: delegation, handover, emergency (DEF-12, DEF-23, F10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from mssmtp.admin import finding
from mssmtp.admin.authority import Place, demand_reach, unknown
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import Answer, Desk, I, Operation, Row, operation
from mssmtp.admin.persons import Known, of_person, person_of
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel, Bal, DelegateRight
from mssmtp.notices import Desk as Notices
from mssmtp.people.delegations import Delegations, Wish
from mssmtp.storage import Delegation, DelegationKind, Reading, Writing


class Lent(Box):
    """A holder's box, to the person who logs in as `person`."""

    person: str = Field(max_length=finding.MOST_NAME)
    right: DelegateRight = DelegateRight.READ
    begins: AwareDatetime | None = None
    until: AwareDatetime | None = None
    reason: str = Field("", max_length=200)


class Urgent(Box):
    """An emergency: who, for how many hours, and why."""

    person: str = Field(max_length=finding.MOST_NAME)
    reason: str = Field(max_length=200)
    hours: int = Field(1, ge=1, le=24)


class One(Box):
    """One delegation of a box, by its number."""

    id: int = Field(ge=1)


def _of_both(reading: Reading, actor: Actor, named: Lent | Urgent) -> Place:
    """Of the box; whom it is lent to is to be within reach too."""
    place = finding.of_box(reading, actor, named)
    demand_reach(actor, place)
    finding.demand_login(reading, actor, named.person)
    return place


Make = Callable[[Delegations, Writing, Wish, datetime], Delegation]


def _delegate(desk: Desk[Lent]) -> Answer:
    """Let a person read, answer or write on behalf of the holder, with the person's own login."""
    return _made(desk, _wish_of(desk), Delegations.delegate)


def _hand_over(desk: Desk[Lent]) -> Answer:
    """Name the colleague who looks after what is unread or not done in the box of who is absent or
    has left, until a date; senders are told."""
    return _made(desk, _wish_of(desk), Delegations.hand_over)


def _wish_of(desk: Desk[Lent]) -> Callable[[Bal], Wish]:
    given, by = desk.input, desk.actor.name
    return lambda bal: Wish(
        bal, given.person, by, given.right, given.begins, given.until, given.reason
    )


def _break_glass(desk: Desk[Urgent]) -> Answer:
    """Open a box in an emergency, for hours, with a reason that its holder is told."""
    given, by = desk.input, desk.actor.name
    until = desk.office.clock.now() + timedelta(hours=given.hours)

    def wish(bal: Bal) -> Wish:
        return Wish(bal, given.person, by, ends_at=until, reason=given.reason)

    return _made(desk, wish, Delegations.break_glass)


def _made(desk: Desk[I], wish: Callable[[Bal], Wish], make: Make) -> Answer:
    office = desk.office
    room = _room(desk)

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, desk.named)
        return _row(writing, make(room, writing, wish(bal), office.clock.now()), office.clock.now())

    return desk.write(job)


def _room(desk: Desk[I]) -> Delegations:
    office = desk.office
    notices = Notices.of(office.settings, office.clock)
    settings = office.settings
    return Delegations(settings.policy.delegation, settings.people.retention, notices)


def _end(desk: Desk[One]) -> Answer:
    """Take a delegation back; open sessions feel it at their next command."""
    room = _room(desk)

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, desk.input.address)
        given = writing.delegation(desk.input.id)
        if given is None or given.bal != bal.id or given.ended_at is not None:
            raise unknown(f"{desk.input.address} {desk.input.id}")
        if given.kind is DelegationKind.BREAK_GLASS and desk.actor.level is AdminLevel.HOLDER:
            raise ConfigError(
                desk.input.address,
                "un accès d'urgence n'est pas retiré par le titulaire : il finit de lui-même",
                "Demandez-en compte à l'administrateur de votre structure.",
            )
        room.end(writing, given, desk.actor.name)
        return {"box": desk.input.address, "id": given.id, "ended": True}

    return desk.write(job)


def _lent(desk: Desk[Known]) -> Answer:
    """The boxes that others have lent to a person, now or later, by whom and until when."""
    now = desk.office.clock.now()

    def query(reading: Reading) -> list[Row]:
        account = person_of(reading, desk.input.person).account
        return [
            _row(reading, each, now)
            for each in reading.delegations_to(account)
            if each.ends_at is None or each.ends_at > now
        ]

    return desk.read(query)


def _list(desk: Desk[Box]) -> Answer:
    """Who may open the box of a holder, who could, and why."""
    now = desk.office.clock.now()

    def query(reading: Reading) -> list[Row]:
        bal = finding.box(reading, desk.input.address)
        return [_row(reading, each, now) for each in reading.delegations_of(bal.id)]

    return desk.read(query)


def _row(reading: Reading, one: Delegation, now: datetime) -> Row:
    bal = reading.bal_by_id(one.bal)
    return {
        "id": one.id,
        "box": None if bal is None else str(bal.address),
        "person": reading.account_login(one.account),
        "kind": one.kind.value,
        "right": one.right.value,
        "begins": _shown(one.begins_at),
        "until": _shown(one.ends_at),
        "in_force": one.is_in_force(now),
        "ended": _shown(one.ended_at),
        "reason": one.reason,
        "by": one.by,
    }


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("bal.delegation.add", _HOLDER, Lent, _of_both, _delegate),
    operation("bal.delegation.end", _HOLDER, One, finding.of_box, _end),
    operation("bal.delegation.list", _HOLDER, Box, finding.of_box, _list, changes=False),
    operation("person.delegations", _HOLDER, Known, of_person, _lent, changes=False),
    operation("bal.hand-over", _HOLDER, Lent, _of_both, _hand_over),
    operation("bal.break-glass", _STRUCTURE, Urgent, _of_both, _break_glass),
)
