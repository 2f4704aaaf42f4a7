"""BALs, accounts, memberships, application passwords, correspondents.

Addresses, names and logins are sealed under the master key and looked up by keyed digest; type,
state and dates are in clear.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Change,
    ChangeKind,
    MailboxId,
    ModSeq,
    PersonState,
    Principal,
    Role,
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
from mssmtp.storage.rights import RightsReading
from mssmtp.storage.schema import (
    accounts,
    app_passwords,
    bals,
    correspondents,
    members,
    sql,
)
from mssmtp.storage.view import Row, WritingView

CORRESPONDENT = b"correspondent\0"
_NATIONAL_ID = re.compile(r"(8\d{11}|0[0-9A-Z]{9})\Z")

_BAL = select(bals.c.id, bals.c.sealed, bals.c.type, bals.c.state, bals.c.person, bals.c.sent_copy)
_BAL_BY_DIGEST = sql(_BAL.where(bals.c.digest == bindparam("digest")))
_BAL_BY_USUAL = sql(_BAL.where(bals.c.usual_digest == bindparam("digest")))
_BAL_BY_ID = sql(_BAL.where(bals.c.id == bindparam("id")))
_BALS = sql(_BAL.order_by(bals.c.id))
_ACCOUNT = select(accounts.c.id, accounts.c.sealed, accounts.c.active, accounts.c.bal)
_ACCOUNT_BY_LOGIN = sql(_ACCOUNT.where(accounts.c.login_digest == bindparam("digest")))
_ACCOUNT_BY_ID = sql(_ACCOUNT.where(accounts.c.id == bindparam("id")))
_MEMBERSHIPS = sql(
    select(members.c.bal, members.c.sealed)
    .where(members.c.account == bindparam("account"))
    .order_by(members.c.bal)
)
_PASSWORD = select(
    app_passwords.c.id,
    app_passwords.c.sealed,
    app_passwords.c.created_at,
    app_passwords.c.last_used_at,
    app_passwords.c.revoked_at,
    app_passwords.c.account,
    app_passwords.c.bal,
).order_by(app_passwords.c.id)
_PASSWORDS = sql(_PASSWORD.where(app_passwords.c.account == bindparam("account")))
_PASSWORDS_OF_BOX = sql(_PASSWORD.where(app_passwords.c.bal == bindparam("bal")))
_HAS_WRITTEN = sql(
    select(correspondents.c.digest)
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
_SEAL_BAL = sql(update(bals).where(bals.c.id == bindparam("bal")).values(sealed=bindparam("new")))
_SET_STATE = sql(update(bals).where(bals.c.id == bindparam("bal")).values(state=bindparam("new")))
_SET_SENT_COPY = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(sent_copy=bindparam("new"))
)
_NEW_ACCOUNT = sql(
    insert(accounts)
    .values({name: bindparam(name) for name in ("login_digest", "sealed", "bal", "active")})
    .returning(accounts.c.id)
)
_SEAL_ACCOUNT = sql(
    update(accounts).where(accounts.c.id == bindparam("account")).values(sealed=bindparam("new"))
)
_SET_ACTIVE = sql(
    update(accounts).where(accounts.c.id == bindparam("account")).values(active=bindparam("new"))
)
_NEW_PASSWORD = sql(
    insert(app_passwords)
    .values({name: bindparam(name) for name in ("account", "sealed", "created_at", "bal")})
    .returning(app_passwords.c.id)
)
_SEAL_PASSWORD = sql(
    update(app_passwords)
    .where(app_passwords.c.id == bindparam("password"))
    .values(sealed=bindparam("new"))
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


class PeopleReading(RightsReading):
    """Who is who."""

    def bal(self, address: Address) -> Bal | None:
        """The BAL of exactly this address, in any state. Raises Damaged."""
        row = self._sought(_BAL_BY_DIGEST, b"address", address.key)
        found = self._opened_bal(row) if row else None
        if found is not None and found.address.key != address.key:
            raise Damaged("a BAL stands under another address")
        return found

    def bal_by_id(self, bal: BalId) -> Bal | None:
        """The BAL with this id."""
        row = self._one(_BAL_BY_ID, id=bal)
        return self._opened_bal(row) if row else None

    def bal_by_usual(self, address: Address) -> Bal | None:
        """The BAL whose holder registered `address` as usual address (SEED-29)."""
        row = self._sought(_BAL_BY_USUAL, b"address", address.key)
        found = self._opened_bal(row) if row else None
        usual = None if found is None else found.usual_address
        if found is not None and (usual is None or usual.key != address.key):
            raise Damaged("a BAL stands under another usual address")
        return found

    def bals(self) -> tuple[Bal, ...]:
        """Every BAL that can be read, oldest first."""
        return tuple(
            self._opened_bal(row)
            for row in self._all(_BALS)
            if self._legible(self._master_open, bal_purpose(row[0]), row[1]) is not None
        )

    def account(self, login: str) -> Account | None:
        """The account of a login name; case does not matter."""
        row = self._sought(_ACCOUNT_BY_LOGIN, b"login", login.casefold())
        found = self._opened_account(row) if row else None
        if found is not None and found.login.casefold() != login.casefold():
            raise Damaged("an account stands under another login")
        return found

    def account_login(self, account: AccountId) -> str | None:
        """The login name of an account, None when there is no such account."""
        row = self._one(_ACCOUNT_BY_ID, id=account)
        return self._opened_account(row).login if row else None

    def app_passwords(self, account: AccountId) -> tuple[AppPassword, ...]:
        """Every application password that can be read, revoked ones too."""
        return self._opened_passwords(self._all(_PASSWORDS, account=account))

    def box_passwords(self, bal: BalId) -> tuple[AppPassword, ...]:
        """Those that members have for this box alone."""
        return self._opened_passwords(self._all(_PASSWORDS_OF_BOX, bal=bal))

    def _opened_passwords(self, rows: list[Row]) -> tuple[AppPassword, ...]:
        found = []
        for id, sealed, created_at, last_used_at, revoked_at, account, box in rows:
            octets = self._legible(self._master_open, password_purpose(account, id), sealed)
            opened = {} if octets is None else json.loads(octets)
            if not opened or opened.get("box") != box:  # ATT-19: the database alone binds nothing
                continue
            found.append(
                AppPassword(
                    id,
                    opened["name"],
                    opened["argon2"],
                    opened["scram"],
                    from_us(created_at),
                    None if last_used_at is None else from_us(last_used_at),
                    None if revoked_at is None else from_us(revoked_at),
                    AccountId(account),
                    None if box is None else BalId(box),
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
        own = [] if row[3] is None else [row[3]]
        roles: dict[BalId, Role] = {}
        for bal, sealed in self._all(_MEMBERSHIPS, account=account):
            role = self._proved(account, bal, sealed)
            if role is not None and bal not in own:
                roles[BalId(bal)] = role
        found = (self.bal_by_id(BalId(id)) for id in (*own, *roles))
        active = tuple(bal for bal in found if bal and bal.state is BalState.ACTIVE)
        return Principal(account, self._opened_account(row).login, active, roles=roles)

    def has_written(self, bal: BalId, address: Address) -> bool:
        """True when mail from `address` was stored in `bal` before (SEED-37)."""
        digests = self._bal_key(bal).digests(CORRESPONDENT, address.key)
        return any(self._apart(_HAS_WRITTEN, bal=bal, digest=digest) for digest in digests)

    def _sought(self, statement: str, purpose: bytes, text: str) -> Row | None:
        """The row under the digest of `text`, which a rotation may just have changed."""
        for _ in range(2):
            for digest in self._vault.keys.digests(purpose, text):
                if (row := self._one(statement, digest=digest)) is not None:
                    return row
            if not self._follow_masters():
                break
        return None

    def _opened_bal(self, row: Row) -> Bal:
        if (known := self._vault.known.bal(row)) is not None:
            return known
        id, sealed, type, state, person, sent_copy = row
        opened = json.loads(self._master_open(bal_purpose(id), sealed))
        usual = opened["usual"]
        bal = Bal(
            BalId(id),
            Address.parse(opened["address"]),
            BalType(type),
            BalState(state),
            PersonState(person),
            opened["national_id"],
            Address.parse(usual) if usual else None,
            sent_copy is None or bool(sent_copy),
        )
        self._vault.known.keep_bal(row, bal)
        return bal

    def _opened_account(self, row: Row) -> Account:
        login = self._master_open(account_purpose(row[0], row[3]), row[1]).decode()
        return Account(AccountId(row[0]), login, bool(row[2]))


class PeopleWriting(PeopleReading, WritingView):
    """Changes of people."""

    def _add_bal(self, bal: Bal) -> BalId:
        """Rows of a BAL and its key; `bal.id` is not looked at.

        Raises BalExists, NationalIdRequired (OP-37, OP-38).
        """
        if bal.type is BalType.PER and not _NATIONAL_ID.match(bal.national_id or ""):
            raise NationalIdRequired
        self._follow_masters()
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
            digest=self._vault.keys.digest(b"address", bal.address.key),
            sealed=b"",
            type=bal.type.value,
            state=bal.state.value,
            person=bal.person.value,
            usual_digest=None if usual is None else self._vault.keys.digest(b"address", usual.key),
            last_uid_validity=0,
            created_at=to_us(self._vault.clock.now()),
        )
        octets = json.dumps(sealed).encode()
        self._run(_SEAL_BAL, bal=row[0], new=self._master_seal(bal_purpose(row[0]), octets))
        self._add_owner(bal=BalId(row[0]), domain=None)
        return BalId(row[0])

    def set_bal_state(self, bal: BalId, state: BalState) -> None:
        """Suspend, close or reopen. Raises NoSuchBal."""
        if not self._run(_SET_STATE, bal=bal, new=state.value):
            raise NoSuchBal
        self.effects.first.append(self._vault.lately.changed)
        self.effects.changes.append(Change(ChangeKind.MAILBOX, bal, MailboxId(0), ModSeq(0)))

    def set_sent_copy(self, bal: BalId, *, on: bool) -> None:
        """Whether submission files a copy in Sent (CL-80). Raises NoSuchBal."""
        if not self._run(_SET_SENT_COPY, bal=bal, new=on):
            raise NoSuchBal
        self.effects.first.append(self._vault.lately.changed)

    def create_account(self, login: str, bal: BalId | None = None) -> Account:
        """A new account; `bal` is its own. Raises BalExists when the login is taken."""
        self._follow_masters()
        if self.account(login) is not None:
            raise BalExists
        row = self._new(
            _NEW_ACCOUNT,
            login_digest=self._vault.keys.digest(b"login", login.casefold()),
            sealed=b"",
            bal=bal,
            active=True,
        )
        sealed = self._master_seal(account_purpose(row[0], bal), login.encode())
        self._run(_SEAL_ACCOUNT, account=row[0], new=sealed)
        return Account(AccountId(row[0]), login, True)

    def set_account_active(self, account: AccountId, *, active: bool) -> None:
        """Allow or forbid to log in. Raises NoSuchBal when there is no such account."""
        if not self._run(_SET_ACTIVE, account=account, new=active):
            raise NoSuchBal

    def add_app_password(
        self, account: AccountId, name: str, argon2: str, scram: str, box: BalId | None = None
    ) -> int:
        """Store the verifiers of a new application password (CL-31); returns its id.

        `box`: it opens that box alone, by the box's address.
        """
        opened = {"name": name, "argon2": argon2, "scram": scram, "box": box}
        row = self._new(
            _NEW_PASSWORD,
            account=account,
            sealed=b"",
            created_at=to_us(self._vault.clock.now()),
            bal=box,
        )
        octets = json.dumps(opened).encode()
        sealed = self._master_seal(password_purpose(account, row[0]), octets)
        self._run(_SEAL_PASSWORD, password=row[0], new=sealed)
        return int(row[0])

    def revoke_app_password(self, password: int) -> None:
        """End an application password; its first revocation date stays."""
        self._run(_REVOKE, password=password, at=to_us(self._vault.clock.now()))

    def touch_app_password(self, password: int, at: datetime) -> None:
        """Remember when it was used last (CL-31: it expires unused)."""
        self._run(_TOUCH, password=password, at=to_us(at))

    def _remember_correspondent(self, bal: BalId, sender: Address) -> None:
        if self._vault.known.wrote(bal, sender.key):
            return
        self._vault.known.keep_correspondent(bal, sender.key)
        if not self.has_written(bal, sender):
            key = self._bal_key(bal)
            digest = key.digest(CORRESPONDENT, sender.key)
            sealed = key.seal(CORRESPONDENT + digest, sender.key.encode())
            self._run(_NEW_CORRESPONDENT, bal=bal, digest=digest, sealed=sealed)


def bal_purpose(bal: int) -> bytes:
    """What the sealed part of a row of `bals` is bound to."""
    return b"bal\0%d" % bal


def account_purpose(account: int, bal: int | None) -> bytes:
    """The same of `accounts`: whose mail the account reads is bound too."""
    return b"login\0%d\0%d" % (account, bal or 0)


def password_purpose(account: int, password: int) -> bytes:
    """The same of `app_passwords`."""
    return b"app-password\0%d\0%d" % (account, password)
