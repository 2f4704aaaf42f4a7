"""Operations on suspensions: domains, certificates, accounts, stopped in less than a minute and
started again by one call (OP-79)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from pydantic import Field, field_validator

from mssmtp import suspending
from mssmtp.admin import finding
from mssmtp.admin.authority import Place, unknown
from mssmtp.admin.finding import Nothing
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.errors import BadAddress
from mssmtp.mail import AccountId, Actor, AdminLevel, domain
from mssmtp.storage import Reading, Writing
from mssmtp.storage.suspensions import SuspendedKind, Suspension

S = TypeVar("S", bound=Input)
_REASON = Field("", max_length=500)


class Account(Input):
    """An account by its login."""

    login: str = Field(max_length=finding.MOST_NAME)


class StoppedAccount(Account):
    """`reason` is for who looks at the list later."""

    reason: str = _REASON


class Certificate(Input):
    """A certificate by its SHA-256, with or without colons."""

    sha256: str = Field(pattern=r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$")

    @field_validator("sha256")
    @classmethod
    def _bare(cls, text: str) -> str:
        return text.replace(":", "").lower()


class StoppedCertificate(Certificate):
    """A partner's, a system's, a gateway's, an administrator's, or that of a CPx card."""

    reason: str = _REASON


class Domain(Input):
    """A domain, ours or a partner's."""

    domain: str = Field(max_length=255)

    @field_validator("domain")
    @classmethod
    def _is_domain(cls, text: str) -> str:
        try:
            return domain(text)
        except BadAddress as error:
            raise ValueError("ce n'est pas un nom de domaine") from error


class StoppedDomain(Domain):
    """Nothing comes from it, and nothing goes to it."""

    reason: str = _REASON


def _of_account(reading: Reading, actor: Actor, named: Account) -> Place:
    account = reading.account(named.login)
    if account is None:
        return finding.nobody(reading, actor, named)
    # Whoever's account it is: what the operator has stopped, no structure starts again.
    return replace(finding.nobody(reading, actor, named), account=account.id)


def _named_id(reading: Reading, login: str) -> str:
    account = reading.account(login)
    if account is None:
        raise unknown(login)
    return str(account.id)


class _Reasoned(Protocol):
    @property
    def reason(self) -> str: ...


def _stop(
    desk: Desk[S], kind: SuspendedKind, name: Callable[[Reading], str], given: _Reasoned
) -> Answer:
    now, by = desk.office.clock.now(), desk.actor.name

    def job(writing: Writing) -> Row:
        found = name(writing)
        suspending.suspend(writing, Suspension(kind, found, now, by, given.reason))
        return {"kind": kind, "name": _shown(writing, kind, found), "suspended": True}

    return desk.write(job)


def _start(desk: Desk[S], kind: SuspendedKind, name: Callable[[Reading], str]) -> Answer:
    def job(writing: Writing) -> Row:
        found = name(writing)
        suspending.resume(writing, kind, found)
        return {"kind": kind, "name": _shown(writing, kind, found), "suspended": False}

    return desk.write(job)


def _stop_account(desk: Desk[StoppedAccount]) -> Answer:
    """Refuse a login and suspend its own box; open sessions end, what it had queued waits."""
    return _stop(desk, "account", lambda r: _named_id(r, desk.input.login), desk.input)


def _stop_certificate(desk: Desk[StoppedCertificate]) -> Answer:
    """Refuse a certificate: of a partner, gateway, system or administrator, or of a CPx card."""
    return _stop(desk, "certificate", lambda r: desk.input.sha256, desk.input)


def _stop_domain(desk: Desk[StoppedDomain]) -> Answer:
    """Stop all exchanges with a domain; of one of ours no box is opened either."""
    return _stop(desk, "domain", lambda r: desk.input.domain, desk.input)


def _start_account(desk: Desk[Account]) -> Answer:
    """End the suspension of an account; its box is active again if it was before."""
    return _start(desk, "account", lambda r: _named_id(r, desk.input.login))


def _start_certificate(desk: Desk[Certificate]) -> Answer:
    """End the suspension of a certificate."""
    return _start(desk, "certificate", lambda r: desk.input.sha256)


def _start_domain(desk: Desk[Domain]) -> Answer:
    """End the suspension of a domain; what waits leaves at its next attempt."""
    return _start(desk, "domain", lambda r: desk.input.domain)


def _list(desk: Desk[Nothing]) -> Answer:
    """What is suspended now, since when, by whom and why; of accounts the login is shown."""

    def row(reading: Reading, each: Suspension) -> Row:
        return {
            "kind": each.kind,
            "name": _shown(reading, each.kind, each.name),
            "since": each.at.isoformat(),
            "by": each.by,
            "reason": each.reason,
        }

    return desk.read(lambda reading: [row(reading, each) for each in reading.suspensions()])


def _shown(reading: Reading, kind: SuspendedKind, name: str) -> str:
    """As who asked named it: accounts are kept by their number."""
    login = reading.account_login(AccountId(int(name))) if kind == "account" else None
    return login or name


_OPERATOR = AdminLevel.OPERATOR
_ALONE = finding.nobody

OPERATIONS: tuple[Operation, ...] = (
    operation("suspend.account", _OPERATOR, StoppedAccount, _of_account, _stop_account),
    operation("suspend.certificate", _OPERATOR, StoppedCertificate, _ALONE, _stop_certificate),
    operation("suspend.domain", _OPERATOR, StoppedDomain, _ALONE, _stop_domain),
    operation("suspend.end-account", _OPERATOR, Account, _of_account, _start_account),
    operation("suspend.end-certificate", _OPERATOR, Certificate, _ALONE, _start_certificate),
    operation("suspend.end-domain", _OPERATOR, Domain, _ALONE, _start_domain),
    operation("suspend.list", _OPERATOR, Nothing, _ALONE, _list, changes=False),
)
