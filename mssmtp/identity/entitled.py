"""Which box the subject of a token opens (client-access.md 1 and 3; CL-13, CL-14).

The box is the one the client names, and never another. It is opened by the person's own identifier,
or by a right this person has there now: membership, delegation. Asked at each login and again
during a session (ATT-18, ATT-25).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from mssmtp.errors import BadAddress
from mssmtp.identity.standing import has_another
from mssmtp.identity.tokens import TokenRefused
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Person,
    PersonState,
    Principal,
)

OPENED_BY_PERSONS = frozenset({BalType.PER, BalType.ORG})
"""MED and INT have no MSSanté access of their own; an APP box is a system's (CL-15)."""


class AccountRow(Protocol):
    """What is read of an account."""

    @property
    def id(self) -> AccountId: ...
    @property
    def active(self) -> bool: ...


class EntitledReading(Protocol):
    """The part of `storage.Reading` a token needs."""

    def bal(self, address: Address) -> Bal | None: ...
    def account(self, login: str) -> AccountRow | None: ...
    def box_of(self, account: AccountId) -> Bal | None: ...
    def account_of(self, bal: BalId) -> AccountRow | None: ...
    def principal(self, account: AccountId) -> Principal: ...
    def person_by_national_id(self, national_id: str) -> Person | None: ...
    def person_by_account(self, account: AccountId) -> Person | None: ...
    def bound_account(self, kind: Literal["psc"], subject: str) -> AccountId | None: ...


def entitled(reading: EntitledReading, national_id: str, box: str) -> Principal:
    """Who acts in `box` as the person `national_id`. Raises TokenRefused, which says one thing."""
    bal = _named(reading, box)
    if bal is None or bal.state is not BalState.ACTIVE or bal.type not in OPENED_BY_PERSONS:
        raise TokenRefused("no box that a person opens")
    account = _account(reading, national_id, bal)
    if account is None:
        raise TokenRefused("subject unknown")
    principal = reading.principal(account)
    own = reading.box_of(account)
    if not _may_log_in(reading, principal, own):
        raise TokenRefused("account suspended or not finalised")
    if all(each.id != bal.id for each in principal.bals):
        raise TokenRefused("no right on the box")
    if own is not None and own.id == bal.id:
        return replace(principal, subject=national_id)
    return replace(principal, bals=(bal,), box=bal.id, subject=national_id)


def entitled_still(reading: EntitledReading, principal: Principal) -> Principal:
    """`principal` as of now, in the box that its token has opened. Raises TokenRefused."""
    if principal.subject is None or not principal.bals:
        raise TokenRefused("no token")
    return entitled(reading, principal.subject, str(principal.bals[0].address))


def _named(reading: EntitledReading, box: str) -> Bal | None:
    """By its MSSanté address, and by no other name."""
    try:
        return reading.bal(Address.parse(box))
    except BadAddress:
        return None


def _account(reading: EntitledReading, national_id: str, bal: Bal) -> AccountId | None:
    """Whose token it is: by the identifier of the directory, by the subject that the holder of the
    account has bound to it (SEED-12), or by the number that the box itself is stored with."""
    person = reading.person_by_national_id(national_id)
    if person is not None:
        return person.account
    bound = reading.bound_account("psc", national_id)
    if bound is None and bal.type is BalType.PER and bal.national_id == national_id:
        row = reading.account_of(bal.id)
        return None if row is None else row.id
    return bound


def _may_log_in(reading: EntitledReading, principal: Principal, own: Bal | None) -> bool:
    """Area E, OP-50: an active account of somebody who is not merely pre-registered."""
    row, person = reading.account(principal.login), reading.person_by_account(principal.account)
    if row is None or not row.active:
        return False
    if person is not None and person.state is PersonState.PRE_REGISTERED:
        return False
    return own is None or (
        (own.state is BalState.ACTIVE or has_another(own, principal))
        and own.person is not PersonState.PRE_REGISTERED
    )
