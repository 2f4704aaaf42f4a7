"""Operations on administrators: who is in office, at which level, known by what (MED-16)."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from mssmtp.admin import finding
from mssmtp.admin.authority import OPERATOR_ONLY, Denied, Place, has_level, unknown, within
from mssmtp.admin.finding import Nothing
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel
from mssmtp.storage import Administrator, Reading, Writing

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}\Z")


class Named(Input):
    """An administrator by name."""

    name: str = Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")


class Known(Named):
    """By what the doors know an administrator, and where notices go."""

    certificate_sha256: str | None = None
    user: int | None = Field(None, ge=1, lt=1 << 31)
    address: str | None = Field(None, max_length=finding.MOST_NAME)

    @field_validator("certificate_sha256")
    @classmethod
    def _is_fingerprint(cls, text: str | None) -> str | None:
        if text is not None and not _FINGERPRINT.match(text):
            raise ValueError("une empreinte SHA-256 a 64 chiffres hexadécimaux")
        return None if text is None else text.replace(":", "").lower()


class NewAdministrator(Known):
    """Who takes office. `structure` is a FINESS or SIRET, for level structure."""

    level: AdminLevel
    structure: str | None = Field(None, max_length=20)
    region: str | None = Field(None, min_length=1, max_length=40)
    login: str | None = Field(None, max_length=finding.MOST_NAME)

    @field_validator("level")
    @classmethod
    def _administers(cls, level: AdminLevel) -> AdminLevel:
        if level is AdminLevel.HOLDER:
            raise ValueError("choisissez parmi 'operator', 'region' ou 'structure'")
        return level


def _of_new(reading: Reading, actor: Actor, given: NewAdministrator) -> Place:
    """The scope that is given away: nobody gives more than they have."""
    if not has_level(actor, given.level):
        raise Denied(
            given.name,
            "nul ne nomme au-dessus de son propre niveau",
            "Demandez-le à votre opérateur.",
        )
    if given.login is not None:
        finding.demand_login(reading, actor, given.login)
    if given.level is AdminLevel.STRUCTURE:
        if given.structure is None:
            raise ConfigError("structure", "manque", "Donnez son FINESS ou son SIRET.")
        return within(given.structure, finding.structure(reading, given.structure))
    if given.level is AdminLevel.REGION and given.region is None:
        raise ConfigError("region", "manque", "Donnez le code de la région.")
    # A region's administrators are named and removed by the operator, not by one another.
    return OPERATOR_ONLY


def _of_one(reading: Reading, actor: Actor, named: Named) -> Place:
    return _place(reading, _present(reading, named.name))


def _place(reading: Reading, one: Administrator) -> Place:
    actor = one.actor
    if actor.level is AdminLevel.STRUCTURE:
        of = finding.structure_of(reading, actor.structure)
        return within(actor.name, of, account=actor.account)
    return Place(actor.name, account=actor.account)


def _present(reading: Reading, name: str) -> Administrator:
    found = reading.administrator(name)
    if found is None:
        raise unknown(name)
    return found


def _add(desk: Desk[NewAdministrator]) -> Answer:
    """Name an administrator of one's own scope or below, known by a certificate or a user."""
    given = desk.input
    if given.certificate_sha256 is None and given.user is None and given.login is None:
        raise ConfigError(
            given.name,
            "rien ne permettrait de reconnaître cette personne",
            "Donnez certificate_sha256, user ou login.",
        )

    def job(writing: Writing) -> Row:
        account = None
        if given.login is not None:
            found = writing.account(given.login)
            if found is None:
                raise unknown(given.login)
            account = found.id
        of = given.structure
        structure = finding.structure(writing, of) if of and _is_local(given) else None
        actor = Actor(
            given.level,
            given.name,
            given.region if given.level is AdminLevel.REGION else None,
            structure.id if structure else None,
            account,
        )
        address = finding.address_of(given.address) if given.address else None
        new = Administrator(actor, address, given.certificate_sha256, given.user)
        made = writing.add_administrator(new)
        desk.concerns(_place(writing, made))
        return _row(writing, made)

    return desk.write(job)


def _is_local(given: NewAdministrator) -> bool:
    return given.level is AdminLevel.STRUCTURE


def _list(desk: Desk[Nothing]) -> Answer:
    """Administrators within one's scope."""

    def query(reading: Reading) -> list[Row]:
        return [
            _row(reading, one)
            for one in reading.administrators()
            if desk.reaches(_place(reading, one))
        ]

    return desk.read(query)


def _remove(desk: Desk[Named]) -> Answer:
    """End an administrator's office; the next call of theirs is refused."""

    def job(writing: Writing) -> Row:
        one = _present(writing, desk.input.name)
        writing.remove_administrator(one)
        return {"name": one.actor.name, "removed": True}

    return desk.write(job)


def _row(reading: Reading, one: Administrator) -> Row:
    structure = finding.structure_of(reading, one.actor.structure)
    account = one.actor.account
    return {
        "name": one.actor.name,
        "level": one.actor.level.value,
        "region": one.actor.region or "",
        "structure": (structure.finess or structure.siret or "") if structure else "",
        "certificate_sha256": one.certificate or "",
        "user": one.uid,
        "login": "" if account is None else reading.account_login(account),
        "address": str(one.address) if one.address else "",
    }


_STRUCTURE = AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("admin.add", _STRUCTURE, NewAdministrator, _of_new, _add),
    operation("admin.list", _STRUCTURE, Nothing, finding.own, _list, changes=False, scoped=False),
    operation("admin.remove", _STRUCTURE, Named, _of_one, _remove),
)
