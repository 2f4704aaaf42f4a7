"""What an account may do at this moment, in one snapshot of the store (ATT-18, ATT-25).

Every way to log in ends here, and so does the next command of every open session.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from mssmtp.errors import BadAddress
from mssmtp.identity.refusals import BadCredentials
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    PersonState,
    Principal,
    Structure,
    StructureId,
)

UNUSED_EXPIRES = timedelta(days=90)
"""CL-31: an application password ends after 90 days without use."""

LONGEST_BY_TOKEN = timedelta(hours=8)
"""OP-83: a session outlives the token it was opened with, and ends after so long all the same."""

NOBODY = AccountId(0)
"""No account has this id: its passwords are asked for an unknown login, to do the same work."""


class AccountRow(Protocol):
    """What is read of an account."""

    @property
    def id(self) -> AccountId: ...
    @property
    def active(self) -> bool: ...


class AppPasswordRow(Protocol):
    """What is read of an application password."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def argon2(self) -> str: ...
    @property
    def scram(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def last_used_at(self) -> datetime | None: ...
    @property
    def revoked_at(self) -> datetime | None: ...
    @property
    def account(self) -> AccountId: ...
    @property
    def box(self) -> BalId | None: ...
    @property
    def scope(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...


class AccountReading(Protocol):
    """The part of `storage.Reading` a login needs."""

    def account(self, login: str) -> AccountRow | None: ...
    def app_passwords(self, account: AccountId) -> tuple[AppPasswordRow, ...]: ...
    def box_passwords(self, bal: BalId) -> tuple[AppPasswordRow, ...]: ...
    def principal(self, account: AccountId) -> Principal: ...
    def bal(self, address: Address) -> Bal | None: ...
    def bal_by_usual(self, address: Address) -> Bal | None: ...
    def stand_in(self, login: str) -> bytes: ...
    def structure(self, id: StructureId) -> Structure | None: ...


@dataclass(frozen=True, slots=True)
class State:
    """One snapshot: the account with its live passwords, its own box, what it may act in."""

    account: AccountId
    active: bool
    passwords: tuple[AppPasswordRow, ...]
    own: Bal | None
    principal: Principal

    def may_log_in(self) -> bool:
        """Area E, OP-50: an active account that has a box, whose own box is not suspended or
        closed, of a person who is not merely pre-registered.
        """
        boxes = self.principal.bals if self.own is None else (self.own, *self.principal.bals)
        return (
            self.active
            and bool(self.principal.bals)
            # CL-15: an APP box is a system's, by certificate; a machine has a door of its own.
            and boxes[0].type is not BalType.APP
            and (boxes[0].state is BalState.ACTIVE or has_another(boxes[0], self.principal))
            and boxes[0].person is not PersonState.PRE_REGISTERED
        )

    def password(self, number: int | None) -> AppPasswordRow | None:
        """The live password with this id."""
        return next((row for row in self.passwords if row.id == number), None)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of a login as it was given: the box it is named after, and every password of both."""

    login: str
    own: Bal | None
    rows: tuple[AppPasswordRow, ...]


def has_another(own: Bal, principal: Principal) -> bool:
    """A box that one structure has suspended shuts its holder out of none of another structure:
    that stays open, if it is the holder's own too (OP-37, OP-50)."""
    return own.national_id is not None and any(
        bal.type is BalType.PER
        and bal.national_id == own.national_id
        and bal.structure != own.structure
        for bal in principal.bals
    )


def state_of(reading: AccountReading, login: str, now: datetime) -> State | None:
    """The account of `login`, None when there is none."""
    account = reading.account(login)
    return None if account is None else _state(reading, account, now)


def _state(
    reading: AccountReading, account: AccountRow, now: datetime, seen: _Seen | None = None
) -> State:
    """`seen`: what was read of the login already, in this snapshot."""
    principal = reading.principal(account.id)
    # By the login as stored: another spelling of it must not miss a suspended box.
    if seen is None or _key(seen.login) != _key(principal.login):
        own = _own(reading, principal.login)
        seen = _Seen(principal.login, own, _rows(reading, account.id, own))
    live = alive(seen.rows, now) if _may_have(reading, seen.own, principal) else ()
    return State(account.id, account.active, live, seen.own, principal)


def resolved(
    reading: AccountReading, login: str, number: int | None, now: datetime
) -> tuple[State | None, AppPasswordRow | None]:
    """Whom the live password `number` of `login` lets in: the account, or a member of its box."""
    if number is None:
        return None, None
    account, own = reading.account(login), _own(reading, login)
    seen = _Seen(login, own, _rows(reading, NOBODY if account is None else account.id, own))
    row = next((row for row in alive(seen.rows, now) if row.id == number), None)
    if row is not None and row.box is not None:  # the box need have no account of its own
        return _as_member(reading, row, now), row
    state = None if account is None else _state(reading, account, now, seen)
    return state, None if state is None else state.password(number)


def refreshed(reading: AccountReading, principal: Principal, now: datetime) -> Principal:
    """`principal` as of now, for a session that is open. Raises BadCredentials (ATT-18)."""
    if principal.box is not None:
        return _refreshed_member(reading, principal, now)
    state = state_of(reading, principal.login.casefold(), now)
    if state is None or state.account != principal.account or not state.may_log_in():
        raise BadCredentials
    if principal.app_password is not None and state.password(principal.app_password) is None:
        raise BadCredentials
    return replace(state.principal, app_password=principal.app_password)


def is_over(principal: Principal, for_s: float) -> bool:
    """Whether a session of `for_s` seconds must end: only one by a token does (OP-83)."""
    return principal.subject is not None and for_s >= LONGEST_BY_TOKEN.total_seconds()


def rows_of(reading: AccountReading, login: str) -> tuple[AppPasswordRow, ...]:
    """Every password of a login, dead ones too: the same reads whoever the login is (ATT-21)."""
    account = reading.account(login)
    return _rows(reading, NOBODY if account is None else account.id, _own(reading, login))


def alive(rows: Collection[AppPasswordRow], now: datetime) -> tuple[AppPasswordRow, ...]:
    """Those of `rows` that are neither revoked nor expired (CL-31)."""
    return tuple(
        row
        for row in rows
        if row.revoked_at is None
        and now - (row.last_used_at or row.created_at) < UNUSED_EXPIRES
        and (row.expires_at is None or now < row.expires_at)
    )


def _may_have(reading: AccountReading, own: Bal | None, principal: Principal) -> bool:
    """CL-31: a structure can switch application passwords off for its people."""
    box = own or next(iter(principal.bals), None)
    if box is None or box.structure is None:
        return True
    structure = reading.structure(box.structure)
    return structure is None or structure.has_app_passwords


def _rows(
    reading: AccountReading, account: AccountId, own: Bal | None
) -> tuple[AppPasswordRow, ...]:
    """Passwords of a login: its own, and for the box it is named after those of members.

    SEED-22: an ORG box has none of its own, whoever made one; its members' name the person.
    """
    rows = tuple(row for row in reading.app_passwords(account) if row.box is None)
    if own is None:
        return rows
    shared = reading.box_passwords(own.id)
    return shared if own.type is BalType.ORG else (*rows, *shared)


def _as_member(reading: AccountReading, row: AppPasswordRow, now: datetime) -> State | None:
    """The person of a password for one box: in that box alone, while he is a member and may
    log in himself. The trace names both (client-access.md 1)."""
    person = state_of(reading, reading.principal(row.account).login.casefold(), now)
    if person is None or person.account != row.account or not person.may_log_in():
        return None
    if not _may_have(reading, person.own, person.principal):
        return None
    boxes = tuple(bal for bal in person.principal.bals if bal.id == row.box)
    if not boxes:
        return None
    principal = replace(person.principal, bals=boxes, box=row.box)
    return State(row.account, person.active, (row,), boxes[0], principal)


def _refreshed_member(reading: AccountReading, principal: Principal, now: datetime) -> Principal:
    for row in alive(reading.app_passwords(principal.account), now):
        if row.id == principal.app_password and row.box == principal.box:
            state = _as_member(reading, row, now)
            if state is not None and state.may_log_in():
                return replace(state.principal, app_password=row.id)
    raise BadCredentials


def _own(reading: AccountReading, login: str) -> Bal | None:
    """The box a login is named after, by its address or its usual address (client-access.md 1)."""
    address = _address(login)
    if address is None:
        return None
    return reading.bal(address) or reading.bal_by_usual(address)


def _key(login: str) -> str | None:
    """By which the box of a login is looked for: two spellings of it that share one, share all."""
    address = _address(login)
    return None if address is None else address.key


def _address(login: str) -> Address | None:
    try:
        return Address.parse(login)
    except BadAddress:
        return None
