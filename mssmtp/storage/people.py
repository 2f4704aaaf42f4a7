"""BALs, accounts, memberships, application passwords, correspondents.

Addresses, names and logins are sealed under the master key and looked up by keyed digest; type,
state and dates are in clear.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    PersonState,
    Principal,
)
from mssmtp.storage.model import (
    Account,
    AppPassword,
    BalExists,
    NationalIdRequired,
    NoSuchBal,
    from_us,
    to_us,
)
from mssmtp.storage.schema import (
    accounts,
    app_passwords,
    bals,
    correspondents,
    members,
    sql,
)
from mssmtp.storage.view import Row, View, WritingView

_NATIONAL_ID = re.compile(r"(8\d{11}|0[0-9A-Z]{9})\Z")

_BAL = select(bals.c.id, bals.c.sealed, bals.c.type, bals.c.state, bals.c.person)
_BAL_BY_DIGEST = sql(_BAL.where(bals.c.digest == bindparam("digest")))
_BAL_BY_USUAL = sql(_BAL.where(bals.c.usual_digest == bindparam("digest")))
_BAL_BY_ID = sql(_BAL.where(bals.c.id == bindparam("id")))
_BALS = sql(_BAL.order_by(bals.c.id))
_ACCOUNT = select(accounts.c.id, accounts.c.sealed, accounts.c.active, accounts.c.bal)
_ACCOUNT_BY_LOGIN = sql(_ACCOUNT.where(accounts.c.login_digest == bindparam("digest")))
_ACCOUNT_BY_ID = sql(_ACCOUNT.where(accounts.c.id == bindparam("id")))
_MEMBERSHIPS = sql(
    select(members.c.bal).where(members.c.account == bindparam("account")).order_by(members.c.bal)
)
_PASSWORDS = sql(
    select(
        app_passwords.c.id,
        app_passwords.c.sealed,
        app_passwords.c.created_at,
        app_passwords.c.last_used_at,
        app_passwords.c.revoked_at,
    )
    .where(app_passwords.c.account == bindparam("account"))
    .order_by(app_passwords.c.id)
)
_HAS_WRITTEN = sql(
    select(correspondents.c.bal)
    .where(correspondents.c.bal == bindparam("bal"))
    .where(correspondents.c.digest == bindparam("digest"))
)

_NEW_BAL = sql(
    insert(bals)
    .values(
        {
            name: bindparam(name)
            for name in (
                "digest",
                "sealed",
                "type",
                "state",
                "person",
                "usual_digest",
                "last_uid_validity",
                "created_at",
            )
        }
    )
    .returning(bals.c.id)
)
_SET_STATE = sql(update(bals).where(bals.c.id == bindparam("bal")).values(state=bindparam("new")))
_NEW_ACCOUNT = sql(
    insert(accounts)
    .values({name: bindparam(name) for name in ("login_digest", "sealed", "bal", "active")})
    .returning(accounts.c.id)
)
_SET_ACTIVE = sql(
    update(accounts).where(accounts.c.id == bindparam("account")).values(active=bindparam("new"))
)
_NEW_MEMBER = sql(insert(members))
_NEW_PASSWORD = sql(
    insert(app_passwords)
    .values({name: bindparam(name) for name in ("account", "sealed", "created_at")})
    .returning(app_passwords.c.id)
)
_REVOKE = sql(
    update(app_passwords)
    .where(app_passwords.c.id == bindparam("password"))
    .where(app_passwords.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_TOUCH = sql(
    update(app_passwords)
    .where(app_passwords.c.id == bindparam("password"))
    .values(last_used_at=bindparam("at"))
)
_NEW_CORRESPONDENT = sql(insert(correspondents))


class PeopleReading(View):
    """Who is who."""

    def bal(self, address: Address) -> Bal | None:
        """The BAL of exactly this address, in any state."""
        return self._bal_where(_BAL_BY_DIGEST, digest=self._address_digest(address))

    def bal_by_id(self, bal: BalId) -> Bal | None:
        """The BAL with this id."""
        return self._bal_where(_BAL_BY_ID, id=bal)

    def bal_by_usual(self, address: Address) -> Bal | None:
        """The BAL whose holder registered `address` as usual address (SEED-29)."""
        return self._bal_where(_BAL_BY_USUAL, digest=self._address_digest(address))

    def bals(self) -> tuple[Bal, ...]:
        """Every BAL, oldest first."""
        return tuple(self._opened_bal(row) for row in self._all(_BALS))

    def account(self, login: str) -> Account | None:
        """The account of a login name; case does not matter."""
        row = self._one(_ACCOUNT_BY_LOGIN, digest=self._login_digest(login))
        return self._opened_account(row) if row else None

    def app_passwords(self, account: AccountId) -> tuple[AppPassword, ...]:
        """Every application password, revoked ones too."""
        found = []
        for id, sealed, created_at, last_used_at, revoked_at in self._all(
            _PASSWORDS, account=account
        ):
            opened = json.loads(self._vault.keys.open(_password_purpose(account), sealed))
            found.append(
                AppPassword(
                    id,
                    opened["name"],
                    opened["argon2"],
                    opened["scram"],
                    from_us(created_at),
                    None if last_used_at is None else from_us(last_used_at),
                    None if revoked_at is None else from_us(revoked_at),
                )
            )
        return tuple(found)

    def principal(self, account: AccountId) -> Principal:
        """Who the account is: own BAL first, then memberships; only active ones.

        Raises NoSuchBal when there is no such account.
        """
        row = self._one(_ACCOUNT_BY_ID, id=account)
        if row is None:
            raise NoSuchBal
        ids = [] if row[3] is None else [row[3]]
        ids += [member[0] for member in self._all(_MEMBERSHIPS, account=account)]
        found = (self.bal_by_id(BalId(id)) for id in ids)
        active = tuple(bal for bal in found if bal and bal.state is BalState.ACTIVE)
        return Principal(account, self._opened_account(row).login, active)

    def has_written(self, bal: BalId, address: Address) -> bool:
        """True when mail from `address` was stored in `bal` before (SEED-37)."""
        digest = self._bal_key(bal).digest(b"correspondent", address.key)
        return self._one(_HAS_WRITTEN, bal=bal, digest=digest) is not None

    def _bal_where(self, statement: str, **values: object) -> Bal | None:
        row = self._one(statement, **values)
        return self._opened_bal(row) if row else None

    def _opened_bal(self, row: Row) -> Bal:
        id, sealed, type, state, person = row
        opened = json.loads(self._vault.keys.open(b"bal", sealed))
        usual = opened["usual"]
        return Bal(
            BalId(id),
            Address.parse(opened["address"]),
            BalType(type),
            BalState(state),
            PersonState(person),
            opened["national_id"],
            Address.parse(usual) if usual else None,
        )

    def _opened_account(self, row: Row) -> Account:
        login = self._vault.keys.open(b"login", row[1]).decode()
        return Account(AccountId(row[0]), login, bool(row[2]))

    def _address_digest(self, address: Address) -> bytes:
        return self._vault.keys.digest(b"address", address.key)

    def _login_digest(self, login: str) -> bytes:
        return self._vault.keys.digest(b"login", login.casefold())


class PeopleWriting(PeopleReading, WritingView):
    """Changes of people."""

    def _add_bal(self, bal: Bal) -> BalId:
        """Rows of a BAL and its key; `bal.id` is not looked at.

        Raises BalExists, NationalIdRequired (OP-37, OP-38).
        """
        if bal.type is BalType.PER and not _NATIONAL_ID.match(bal.national_id or ""):
            raise NationalIdRequired
        usual = bal.usual_address
        taken = [bal.address] if usual is None else [bal.address, usual]
        if any(self.bal(address) or self.bal_by_usual(address) for address in taken):
            raise BalExists
        sealed = {
            "address": str(bal.address),
            "national_id": bal.national_id,
            "usual": None if usual is None else str(usual),
        }
        row = self._new(
            _NEW_BAL,
            digest=self._address_digest(bal.address),
            sealed=self._vault.keys.seal(b"bal", json.dumps(sealed).encode()),
            type=bal.type.value,
            state=bal.state.value,
            person=bal.person.value,
            usual_digest=None if usual is None else self._address_digest(usual),
            last_uid_validity=0,
            created_at=to_us(self._vault.clock.now()),
        )
        self._add_owner(bal=BalId(row[0]), domain=None)
        return BalId(row[0])

    def set_bal_state(self, bal: BalId, state: BalState) -> None:
        """Suspend, close or reopen. Raises NoSuchBal."""
        if not self._run(_SET_STATE, bal=bal, new=state.value):
            raise NoSuchBal

    def create_account(self, login: str, bal: BalId | None = None) -> Account:
        """A new account; `bal` is its own. Raises BalExists when the login is taken."""
        if self.account(login) is not None:
            raise BalExists
        row = self._new(
            _NEW_ACCOUNT,
            login_digest=self._login_digest(login),
            sealed=self._vault.keys.seal(b"login", login.encode()),
            bal=bal,
            active=True,
        )
        return Account(AccountId(row[0]), login, True)

    def set_account_active(self, account: AccountId, *, active: bool) -> None:
        """Allow or forbid to log in. Raises NoSuchBal when there is no such account."""
        if not self._run(_SET_ACTIVE, account=account, new=active):
            raise NoSuchBal

    def add_member(self, org: BalId, account: AccountId) -> None:
        """Let `account` act in the BAL `org`; nothing happens when it may already."""
        if not any(row[0] == org for row in self._all(_MEMBERSHIPS, account=account)):
            self._run(_NEW_MEMBER, account=account, bal=org)

    def add_app_password(self, account: AccountId, name: str, argon2: str, scram: str) -> int:
        """Store the verifiers of a new application password (CL-31); returns its id."""
        opened = {"name": name, "argon2": argon2, "scram": scram}
        row = self._new(
            _NEW_PASSWORD,
            account=account,
            sealed=self._vault.keys.seal(_password_purpose(account), json.dumps(opened).encode()),
            created_at=to_us(self._vault.clock.now()),
        )
        return int(row[0])

    def revoke_app_password(self, password: int) -> None:
        """End an application password; its first revocation date stays."""
        self._run(_REVOKE, password=password, at=to_us(self._vault.clock.now()))

    def touch_app_password(self, password: int, at: datetime) -> None:
        """Remember when it was used last (CL-31: it expires unused)."""
        self._run(_TOUCH, password=password, at=to_us(at))

    def _remember_correspondent(self, bal: BalId, sender: Address) -> None:
        digest = self._bal_key(bal).digest(b"correspondent", sender.key)
        if self._one(_HAS_WRITTEN, bal=bal, digest=digest) is None:
            self._run(_NEW_CORRESPONDENT, bal=bal, digest=digest)


def _password_purpose(account: AccountId) -> bytes:
    return b"app-password\0" + str(account).encode()
