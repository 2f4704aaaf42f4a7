"""Operations on the members of an ORG box: who may open it, and as what (SEED-22)."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mssmtp.accounts import hashes_beside
from mssmtp.admin import finding
from mssmtp.admin.authority import Place, demand_reach, unknown
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import new_password, verifiers
from mssmtp.mail import AccountId, Actor, AdminLevel, Bal, BalType, Role
from mssmtp.people import boxes, persons
from mssmtp.storage import Reading, Writing


class Org(Input):
    """An ORG box by its address."""

    org: str = Field(max_length=finding.MOST_NAME)


class Member(Org):
    """A person, by login, in an ORG box."""

    person: str = Field(max_length=finding.MOST_NAME)


class MemberRole(Member):
    """What the person is there."""

    role: Role


class Device(Member):
    """The program a password is for."""

    device: str = Field("programme", max_length=100)


def _of_org(reading: Reading, actor: Actor, named: Org) -> Place:
    bal = finding.box(reading, named.org)
    return replace(finding.place_of(reading, bal), what=named.org)


def _of_member(reading: Reading, actor: Actor, named: Member) -> Place:
    account = reading.account(named.person)
    return replace(_of_org(reading, actor, named), account=account.id if account else None)


def _of_both(reading: Reading, actor: Actor, named: Member) -> Place:
    """The person is to be within reach too."""
    place = _of_member(reading, actor, named)
    demand_reach(actor, place)
    finding.demand_login(reading, actor, named.person)
    return place


def _add(desk: Desk[MemberRole]) -> Answer:
    """Let a person open an ORG box, as reader, secretary or responsible."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal, account, now = _found(writing, given)
        if now is not None:
            remedy = f"`mssmtp bal member set {given.org} {given.person} --role …`"
            why = f"est déjà membre de {given.org}, comme {now.value}"
            raise ConfigError(given.person, why, f"{remedy} donne un autre rôle.")
        persons.require_attested_account(writing, account)
        boxes.require_inside(writing, account, bal)
        writing.add_member(bal.id, account, given.role)
        return _given(given)

    return desk.write(job)


def _set(desk: Desk[MemberRole]) -> Answer:
    """Give a member another role; open sessions feel it at their next command."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal, account, now = _found(writing, given)
        if now is None:
            remedy = f"`mssmtp bal member add {given.org} {given.person} --role {given.role.value}`"
            raise ConfigError(given.person, f"n'est pas membre de {given.org}", remedy)
        writing.add_member(bal.id, account, given.role)
        return _given(given)

    return desk.write(job)


def _given(given: MemberRole) -> Row:
    role = given.role
    return {"box": given.org, "person": given.person, "role": role.value, "rights": role.rights}


def _remove(desk: Desk[Member]) -> Answer:
    """End a membership, with everything single mailboxes gave the person."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal, account = _member(writing, given)
        writing.remove_member(bal.id, account)
        return {"box": given.org, "person": given.person, "role": None}

    return desk.write(job)


def _password(desk: Desk[Device]) -> Answer:
    """A password of a member's own that opens the one box, by its address."""
    given = desk.input

    def beside(reading: Reading) -> list[str]:
        return hashes_beside(reading, _member(reading, given)[0])

    password = new_password(desk.office.entropy)
    made = verifiers(password, desk.office.entropy, beside=desk.read(beside))

    def job(writing: Writing) -> Row:
        bal, account = _member(writing, given)
        writing.add_app_password(account, given.device, made.argon2, made.scram, bal.id)
        return {"login": given.org, "person": given.person, "password": password}

    return desk.write(job)


def _list(desk: Desk[Org]) -> Answer:
    """Members of an ORG box, and folders where one has other rights than by the role."""

    def query(reading: Reading) -> list[Row]:
        bal = _box(reading, desk.input)
        return [_row(reading, bal, *member) for member in reading.members(bal.id)]

    return desk.read(query)


def _row(reading: Reading, bal: Bal, account: AccountId, role: Role) -> Row:
    names = {mailbox.id: mailbox.name for mailbox in reading.mailboxes(bal.id)}
    exceptions = reading.exceptions(account, bal.id).items()
    return {
        "person": reading.account_login(account),
        "role": role.value,
        "rights": role.rights,
        "mailboxes": {names.get(id, str(id)): rights for id, rights in exceptions},
    }


def _box(reading: Reading, named: Org) -> Bal:
    bal = finding.box(reading, named.org)
    if bal.type is not BalType.ORG:
        why = f"est une boîte de type {bal.type}"
        raise ConfigError(named.org, why, "Seule la boîte d'une organisation a des membres.")
    return bal


def _found(reading: Reading, named: Member) -> tuple[Bal, AccountId, Role | None]:
    bal = _box(reading, named)
    account = reading.account(named.person)
    if account is None:
        raise unknown(named.person)
    if account.login.casefold() == str(bal.address).casefold():
        raise ConfigError(named.person, "est la boîte elle-même", "Nommez la personne.")
    return bal, account.id, reading.role(account.id, bal.id)


def _member(reading: Reading, named: Member) -> tuple[Bal, AccountId]:
    bal, account, role = _found(reading, named)
    if role is None:
        remedy = f"`mssmtp bal member list {named.org}` les affiche."
        raise ConfigError(named.person, f"n'est pas membre de {named.org}", remedy)
    return bal, account


_STRUCTURE = AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("bal.member.add", _STRUCTURE, MemberRole, _of_both, _add),
    operation("bal.member.set", _STRUCTURE, MemberRole, _of_both, _set),
    operation("bal.member.remove", _STRUCTURE, Member, _of_member, _remove),
    operation("bal.member.password", _STRUCTURE, Device, _of_both, _password),
    operation("bal.member.list", _STRUCTURE, Org, _of_org, _list, changes=False),
)
