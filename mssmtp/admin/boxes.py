"""Operations on boxes: make, list, look at, suspend, their room."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field, SecretStr

from mssmtp.accounts import NewBal, prepared
from mssmtp.admin import finding
from mssmtp.admin.authority import Place
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import MOST_ROWS, Answer, Desk, I, Input, Row, operation
from mssmtp.autoconfig import servers
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.identity import national_id
from mssmtp.mail import Actor, AdminLevel, Bal, BalState, BalType, PersonState
from mssmtp.people import boxes, rechecking, records
from mssmtp.storage import Reading, Writing


class AddBox(Input):
    """A box with its login and one application password."""

    address: str = Field(max_length=finding.MOST_NAME)
    type: BalType
    national_id: str | None = Field(None, max_length=20)
    usual_address: str | None = Field(None, max_length=finding.MOST_NAME)
    person: PersonState = PersonState.CERTIFIED
    members: tuple[str, ...] = Field((), max_length=100)
    password: SecretStr | None = None


class Page(Input):
    """One page of a list."""

    after: int = 0
    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS)


class RoomOf(Box):
    """What a box may hold: 0 no limit, null the settings' own."""

    octets: int | None = Field(None, ge=0)
    messages: int | None = Field(None, ge=0)


class SentCopy(Box):
    """Whether what is submitted is filed in Sent (CL-80)."""

    on: bool


class Readings(Box):
    """Who read what, of so many days."""

    days: int = Field(7, ge=1, le=400)


def _new(reading: Reading, actor: Actor, given: AddBox) -> Place:
    """Of nobody yet: the operator's."""
    return Place(given.address)


def _add(desk: Desk[AddBox]) -> Answer:
    """Make a working box: its mailboxes, its login and one application password, told once."""
    settings, given = desk.office.settings, desk.input
    if given.type is BalType.CAB:
        raise ConfigError("CAB", "ce type a ses propres titulaires", "Prenez `bal create`.")
    if given.members and given.type is not BalType.ORG:
        raise ConfigError(
            "--member", "seule une boîte ORG a des membres", "Ôtez --member, ou prenez --type ORG."
        )
    address = finding.address_of(given.address)
    if address.domain not in settings.operator.domains:
        served = ", ".join(settings.operator.domains)
        raise ConfigError(
            str(address),
            f"son domaine n'est pas servi ici ({served})",
            "Prenez un domaine servi ici.",
        )
    new = NewBal(
        address,
        given.type,
        given.person,
        national_id.required(given.type, given.national_id),
        finding.address_of(given.usual_address) if given.usual_address else None,
        given.members,
    )
    password = given.password.get_secret_value() if given.password is not None else None
    made = prepared(new, desk.office.entropy, password)

    def job(writing: Writing) -> Bal:
        bal = made.job(writing)
        desk.concerns(finding.place_of(writing, bal))
        return bal

    bal = desk.write(job)
    shown = desk.shown(bal.address)
    return {
        "address": shown,
        "login": shown,
        "type": bal.type.value,
        "password": made.password,
        **_places(settings),
    }


def _places(settings: Settings) -> Row:
    """What a mail client needs to know."""
    told: Row = dict.fromkeys(_PLACES.values())
    for each in servers(settings):
        told[_PLACES[each.service, each.security]] = f"{each.host}:{each.port}"
    return told


def _list(desk: Desk[Page]) -> Answer:
    """Every box within reach, oldest first; at most so many, after the one given."""
    page = desk.input

    def query(reading: Reading) -> list[Row]:
        found: list[Row] = []
        own = desk.actor.structure
        after = page.after
        every = reading.each_bal(after) if own is None else reading.each_bal_of(own, after)
        for bal in every:
            if desk.reaches(finding.place_of(reading, bal)):
                found.append(_row(desk, bal))
                if len(found) == page.limit:
                    break
        return found

    return desk.read(query)


def _show(desk: Desk[Box]) -> Answer:
    """One box: state, what is missing before it works, what has stopped it, devices, mailboxes."""

    def query(reading: Reading) -> Row:
        bal = finding.box(reading, desk.input.address)
        return _row(desk, bal) | {
            "missing": [] if bal.structure is None else list(boxes.missing(reading, bal)),
            "exercise_ended": _time(_ended_since(reading, bal)),
            **_responsible(reading, bal),
            "devices": _devices(reading, bal),
            "mailboxes": [
                {
                    "name": each.name,
                    "messages": each.messages,
                    "unseen": each.unseen,
                    "size_octets": each.size_octets,
                }
                for each in reading.mailboxes(bal.id)
            ],
        }

    return desk.read(query)


def _ended_since(reading: Reading, bal: Bal) -> datetime | None:
    """Since when the register has closed the right of its holder, who is suspended (OP-45)."""
    holder = None if bal.state is BalState.ACTIVE else boxes.holder(reading, bal)
    return None if holder is None else rechecking.ended_since(reading, holder)


def _responsible(reading: Reading, bal: Bal) -> Row:
    """Who was declared to answer for an ORG box (SEED-21), and as what this person opens it: ""
    for not at all, which is the administrator's to say (SEED-22)."""
    if bal.type is not BalType.ORG:
        return {}
    told = reading.records("bal", bal.id).get(records.RESPONSIBLE.name)
    number = "" if told is None else told.values["national_id"]
    person = reading.person_by_national_id(number) if number else None
    role = None if person is None else reading.role(person.account, bal.id)
    return {"responsible": number, "responsible_opens_as": role.value if role else ""}


def _devices(reading: Reading, bal: Bal) -> list[Row]:
    account = reading.account(str(bal.address))
    return [
        {
            "name": password.name,
            "created_at": _time(password.created_at),
            "last_used_at": _time(password.last_used_at),
            "revoked": password.revoked_at is not None,
        }
        for password in (reading.app_passwords(account.id) if account else ())
    ]


def _suspend(desk: Desk[Box]) -> Answer:
    """Suspend a box: its login is refused and its mail deferred (OP-50)."""

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, desk.input.address)
        if bal.state is BalState.CLOSED:
            why = "est fermée : elle ne reçoit plus rien"
            raise ConfigError(str(bal.address), why, "Une adresse fermée ne sert plus jamais.")
        writing.set_bal_state(bal.id, BalState.SUSPENDED)
        return {"address": desk.shown(bal.address), "state": BalState.SUSPENDED.value}

    return desk.write(job)


def _room(desk: Desk[Box]) -> Answer:
    """What a box holds and may hold."""
    return desk.read(lambda reading: _room_of(reading, desk.input.address))


def _quota(desk: Desk[RoomOf]) -> Answer:
    """Change what a box may hold; what is not given stays."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, given.address)
        kept = writing.quota(bal.id)
        said = given.model_fields_set
        writing.set_quota(
            bal.id,
            given.octets if "octets" in said else kept[0],
            given.messages if "messages" in said else kept[1],
        )
        return _room_of(writing, given.address)

    return desk.write(job)


def _room_of(reading: Reading, address: str) -> Row:
    room = reading.room(finding.box(reading, address).id)
    return {
        "address": address,
        "octets": room.octets,
        "messages": room.messages,
        "most_octets": room.most_octets,
        "most_messages": room.most_messages,
    }


def _sent_copy(desk: Desk[SentCopy]) -> Answer:
    """Say whether what is sent from a box is filed in its Sent (CL-80)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        writing.set_sent_copy(finding.box(writing, given.address).id, on=given.on)
        return {"address": given.address, "sent_copy": given.on}

    return desk.write(job)


def _keeps_sent(desk: Desk[Box]) -> Answer:
    """Whether what is sent from a box is filed in its Sent."""

    def query(reading: Reading) -> Row:
        kept = finding.box(reading, desk.input.address).keeps_sent
        return {"address": desk.input.address, "sent_copy": kept}

    return desk.read(query)


def _readings(desk: Desk[Readings]) -> Answer:
    """Who fetched and who has seen which message of a box (DEF-06)."""

    def query(reading: Reading) -> list[Row]:
        since = desk.office.clock.now() - timedelta(days=desk.input.days - 1)
        bal = finding.box(reading, desk.input.address)
        return [
            {
                "at": _time(event.at),
                "kind": event.kind,
                "person": reading.account_login(event.account) or f"account {event.account}",
                "message": event.message,
                "queue_id": event.envelope,
            }
            for event in reading.reading_events(bal.id, since)
        ]

    return desk.read(query)


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _row(desk: Desk[I], bal: Bal) -> Row:
    return {
        "id": bal.id,
        "address": desk.shown(bal.address),
        "type": bal.type.value,
        "state": bal.state.value,
        "person": bal.person.value,
        "national_id": bal.national_id or "",
    }


_PLACES = {
    ("imap", "tls"): "imap_tls",
    ("imap", "starttls"): "imap_starttls",
    ("smtp", "tls"): "submission_tls",
    ("smtp", "starttls"): "submission_starttls",
}
_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE
_OPERATOR = AdminLevel.OPERATOR

OPERATIONS = (
    operation("bal.add", _OPERATOR, AddBox, _new, _add),
    operation("bal.list", _STRUCTURE, Page, finding.own, _list, changes=False, scoped=False),
    operation("bal.show", _STRUCTURE, Box, finding.of_box, _show, changes=False),
    operation("bal.suspend", _STRUCTURE, Box, finding.of_box, _suspend),
    operation("bal.room", _HOLDER, Box, finding.of_box, _room, changes=False),
    operation("bal.quota", _OPERATOR, RoomOf, finding.of_box, _quota),
    operation("bal.keeps-sent", _HOLDER, Box, finding.of_box, _keeps_sent, changes=False),
    operation("bal.sent-copy", _HOLDER, SentCopy, finding.of_box, _sent_copy),
    operation("bal.readings", _HOLDER, Readings, finding.of_box, _readings, changes=False),
)
