"""Operations on application passwords: one per device, named, revocable (CL-31)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from pydantic import Field

from mssmtp.accounts import hashes_beside
from mssmtp.admin import finding
from mssmtp.admin.authority import Place, unknown, within
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.admin.persons import Known, of_account, person_of
from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import new_password, verifiers
from mssmtp.identity.standing import alive
from mssmtp.mail import AccountId, Actor, AdminLevel, Bal, BalType, StructureId
from mssmtp.notices import Desk as Notices
from mssmtp.notices import Kind
from mssmtp.storage import Reading, Writing
from mssmtp.storage.model import AppPassword

MOST_DEVICES = 50
"""Live ones of one account."""


class NewDevice(Known):
    """A device that gets a password of its own. `days`: its end, used or not. `box`: the one box
    that it opens, by that box's address."""

    device: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    service: Literal["imap", "smtp", "both"] = "both"
    days: int | None = Field(None, ge=1, le=3_650)
    box: str | None = Field(None, max_length=finding.MOST_NAME)


class Device(Known):
    """One of them, by the number that the list prints."""

    number: int = Field(ge=1)


class Switch(Input):
    """Whether the people of a structure may have any."""

    structure: str = Field(max_length=20)
    on: bool


def _account(reading: Reading, text: str) -> AccountId:
    account = reading.account(text)
    return account.id if account is not None else person_of(reading, text).account


def _create(desk: Desk[NewDevice]) -> Answer:
    """Make the password of one more device; it is shown once, and opens the person's own box alone
    unless the operator or the holder asks. The person is told by mail."""
    given, now = desk.input, desk.office.clock.now()

    def beside(reading: Reading) -> list[str]:
        account = _account(reading, given.person)
        own = reading.box_of(account)
        _demand_allowed(reading, account, given.person)
        mine = reading.app_passwords(account)
        _demand_new(desk, reading, account)
        if len(alive(mine, now)) >= MOST_DEVICES:
            why = f"a déjà {MOST_DEVICES} appareils"
            raise ConfigError(given.person, why, "Révoquez ceux qui ne servent plus.")
        only = _only_box(desk, reading, account)
        if only is not None and only.type is BalType.ORG:
            return hashes_beside(reading, only)
        shared = reading.box_passwords(own.id) if own else ()
        return [row.argon2 for row in (*mine, *shared)]

    password = new_password(desk.office.entropy)
    made = verifiers(password, desk.office.entropy, beside=desk.read(beside))
    scope = "" if given.service == "both" else given.service
    expires_at = None if given.days is None else now + timedelta(days=given.days)

    def job(writing: Writing) -> Row:
        account = _account(writing, given.person)
        _demand_allowed(writing, account, given.person)
        _demand_new(desk, writing, account)
        box = _only_box(desk, writing, account)
        number = writing.add_app_password(
            account,
            given.device,
            made.argon2,
            made.scram,
            None if box is None else box.id,
            scope=scope,
            expires_at=expires_at,
        )
        _tell(desk, writing, account, given.device, _event(desk.actor, box))
        login = writing.account_login(account) if box is None else str(box.address)
        return {"login": login, "device": given.device, "number": number, "password": password}

    return desk.write(job)


def _event(actor: Actor, box: Bal | None) -> str:
    """What the mail says; `notices.phrases` has its English."""
    if box is None:
        return "Un appareil a reçu un mot de passe."
    if actor.level is AdminLevel.HOLDER:
        return f"Un appareil a reçu un mot de passe pour la boîte {box.address}."
    return f"Votre administrateur a donné un mot de passe à un appareil : {box.address}."


def _demand_new(desk: Desk[NewDevice], reading: Reading, account: AccountId) -> None:
    """A holder's form that comes twice makes one password, and shows it once."""
    if desk.actor.level is not AdminLevel.HOLDER:
        return
    name, now = desk.input.device.casefold(), desk.office.clock.now()
    if any(row.name.casefold() == name for row in alive(reading.app_passwords(account), now)):
        why = "un de vos appareils porte déjà ce nom"
        raise ConfigError(desk.input.device, why, "Donnez un autre nom, ou révoquez cet appareil.")


def _only_box(desk: Desk[NewDevice], reading: Reading, account: AccountId) -> Bal | None:
    """What the password opens; None: whatever the person opens, now or later.

    An administrator of a structure or region reads it from the screen: it is to open nothing that
    another structure has let the person into (SEED-38).
    """
    named, own = desk.input.box, reading.box_of(account)
    if desk.actor.level in (AdminLevel.OPERATOR, AdminLevel.HOLDER):
        return None if named is None else _opened(reading, account, named)
    if named is not None and (own is None or own.address != finding.address_of(named)):
        raise unknown(named)
    if own is None:
        raise ConfigError(
            desk.input.person,
            "n'a pas de boîte à son nom",
            "`mssmtp bal member password` donne un mot de passe pour une boîte ORG.",
        )
    return own


def _opened(reading: Reading, account: AccountId, named: str) -> Bal:
    """The box `named`, the person's own or one whose member the person is. Raises Unknown.

    What is lent to the person for a time gets no password of its own.
    """
    principal, wanted = reading.principal(account), finding.address_of(named)
    for bal in principal.bals:
        if bal.address == wanted and principal.lent(bal.id) is None:
            return bal
    raise unknown(named)


def _demand_allowed(reading: Reading, account: AccountId, named: str) -> None:
    person, own = reading.person_by_account(account), reading.box_of(account)
    of = person.structure if person is not None else own.structure if own is not None else None
    structure = finding.structure_of(reading, of)
    if structure is not None and not structure.has_app_passwords:
        raise ConfigError(
            named,
            "sa structure n'autorise pas les mots de passe d'application",
            "`mssmtp structure app-passwords … --on` les autorise.",
        )


def _tell(
    desk: Desk[NewDevice] | Desk[Device] | Desk[Known],
    writing: Writing,
    account: AccountId,
    device: str,
    event: str,
) -> None:
    """Whoever made or revoked it: the holder hears of it, if there is an address for it."""
    now, person = desk.office.clock.now(), writing.person_by_account(account)
    notices = Notices.of(desk.office.settings, desk.office.clock)
    if person is not None and notices.is_on:
        values = {"device": device, "event": event, "time": notices.moment(now, person.language)}
        notices.tell(writing, Kind.DEVICE, person, values)


def _list(desk: Desk[Known]) -> Answer:
    """The devices of an account: number, name, service, box, last use, end; revoked ones too."""
    now = desk.office.clock.now()

    def query(reading: Reading) -> list[Row]:
        rows = reading.app_passwords(_account(reading, desk.input.person))
        return [_row(reading, row, now) for row in rows]

    return desk.read(query)


def _row(reading: Reading, row: AppPassword, now: datetime) -> Row:
    box = None if row.box is None else reading.bal_by_id(row.box)
    state = "revoked" if row.revoked_at else "live" if alive((row,), now) else "expired"
    return {
        "number": row.id,
        "device": row.name,
        "service": row.scope or "both",
        "box": None if box is None else str(box.address),
        "state": state,
        "created": row.created_at.isoformat(),
        "last_used": row.last_used_at.isoformat() if row.last_used_at else None,
        "expires": row.expires_at.isoformat() if row.expires_at else None,
    }


def _revoke(desk: Desk[Device]) -> Answer:
    """End the password of a device; its sessions end at their next command."""
    given = desk.input

    def job(writing: Writing) -> Row:
        account = _account(writing, given.person)
        rows = {row.id: row for row in writing.app_passwords(account)}
        if given.number not in rows:
            raise unknown(f"appareil {given.number}")
        writing.revoke_app_password(given.number)
        name = rows[given.number].name
        _tell(desk, writing, account, name, "Un appareil a été révoqué.")
        return {"number": given.number, "device": name, "state": "revoked"}

    return desk.write(job)


def _revoke_all(desk: Desk[Known]) -> Answer:
    """End the passwords of all devices of a person at once; who has lost a bag, say."""
    now = desk.office.clock.now()

    def job(writing: Writing) -> Row:
        account = _account(writing, desk.input.person)
        live = alive(writing.app_passwords(account), now)
        for row in live:
            writing.revoke_app_password(row.id)
        if live:
            named = f"{len(live)} appareils" if len(live) > 1 else live[0].name
            _tell(desk, writing, account, named, "Tous les mots de passe ont été révoqués.")
        return {"person": desk.input.person, "revoked": len(live)}

    return desk.write(job)


def _of_switch(reading: Reading, actor: Actor, given: Switch) -> Place:
    return within(given.structure, finding.structure(reading, given.structure))


def _switch(desk: Desk[Switch]) -> Answer:
    """Allow the people of a structure application passwords, or end all of them at once."""
    given = desk.input

    def job(writing: Writing) -> tuple[Row, StructureId]:
        structure = finding.structure(writing, given.structure)
        writing.change_structure(replace(structure, has_app_passwords=given.on))
        return {"structure": structure.name, "app_passwords": given.on}, structure.id

    told, structure = desk.write(job)
    rest: int | None = None if given.on else 0
    while rest is not None:  # who idles hears it now, not at the next sign of life
        ask = partial(Writing.ask_sessions_of, structure=structure, after=rest)
        rest = desk.store.write(ask).result()
    return told


_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("person.app-password.create", _HOLDER, NewDevice, of_account, _create),
    operation("person.app-password.list", _HOLDER, Known, of_account, _list, changes=False),
    operation("person.app-password.revoke", _HOLDER, Device, of_account, _revoke),
    operation("person.app-password.revoke-all", _HOLDER, Known, of_account, _revoke_all),
    operation("structure.app-passwords", _STRUCTURE, Switch, _of_switch, _switch),
)
