"""Accounts, what they may act in, correspondents.

Logins are sealed under the master key and looked up by keyed digest; dates are in clear.
"""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import BadAddress, Damaged
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    DelegateRight,
    Principal,
    Role,
)
from mssmtp.storage.app_passwords import AppPasswordReading, AppPasswordWriting
from mssmtp.storage.boxes import BoxReading, BoxWriting
from mssmtp.storage.delegations import Delegation, DelegationKind, DelegationReading
from mssmtp.storage.model import (
    Account,
    BalExists,
    NoSuchBal,
)
from mssmtp.storage.schema import (
    accounts,
    correspondents,
    members,
    sql,
)
from mssmtp.storage.view import Row

CORRESPONDENT = b"correspondent\0"
_ACCOUNT = select(accounts.c.id, accounts.c.sealed, accounts.c.active, accounts.c.bal)
_ACCOUNT_BY_LOGIN = sql(_ACCOUNT.where(accounts.c.login_digest == bindparam("digest")))
_ACCOUNT_BY_ID = sql(_ACCOUNT.where(accounts.c.id == bindparam("id")))
_ACCOUNT_OF_BAL = sql(_ACCOUNT.where(accounts.c.bal == bindparam("bal")))
_MEMBERSHIPS = sql(
    select(members.c.bal, members.c.sealed)
    .where(members.c.account == bindparam("account"))
    .order_by(members.c.bal)
)
_HAS_WRITTEN = sql(
    select(correspondents.c.digest)
    .where(correspondents.c.bal == bindparam("bal"))
    .where(correspondents.c.digest == bindparam("digest"))
)
_NEW_ACCOUNT = sql(
    insert(accounts)
    .values({name: bindparam(name) for name in ("login_digest", "sealed", "bal", "active")})
    .returning(accounts.c.id)
)
_SEAL_ACCOUNT = sql(
    update(accounts).where(accounts.c.id == bindparam("account")).values(sealed=bindparam("new"))
)
_RENAME_ACCOUNT = sql(
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(login_digest=bindparam("new_digest"), sealed=bindparam("new"), bal=bindparam("new_bal"))
)
_SET_ACTIVE = sql(
    update(accounts).where(accounts.c.id == bindparam("account")).values(active=bindparam("new"))
)
_NEW_CORRESPONDENT = sql(insert(correspondents))


class PeopleReading(BoxReading, AppPasswordReading, DelegationReading):
    """Who is who."""

    def account_of(self, bal: BalId) -> Account | None:
        """The account whose own box it is."""
        row = self._one(_ACCOUNT_OF_BAL, bal=bal)
        return self._opened_account(row) if row else None

    def account(self, login: str) -> Account | None:
        """The account of a login name, or the one whose own box has this address; case does not
        matter. A person logs in by either: mail clients know the address of the box alone."""
        row = self._sought(_ACCOUNT_BY_LOGIN, b"login", login.casefold())
        found = self._opened_account(row) if row else None
        if found is not None and found.login.casefold() != login.casefold():
            raise Damaged("an account stands under another login")
        return found or self._holder(login)

    def _holder(self, login: str) -> Account | None:
        try:
            box = self.bal(Address.parse(login))
        except BadAddress:
            return None
        return None if box is None else self.account_of(box.id)

    def account_login(self, account: AccountId) -> str | None:
        """The login name of an account, None when there is no such account."""
        row = self._one(_ACCOUNT_BY_ID, id=account)
        return self._opened_account(row).login if row else None

    def principal(self, account: AccountId) -> Principal:
        """Who the account is: own BAL first, then memberships, then boxes lent to it; only active
        ones, but for a handover, which is of a box that was closed (DEF-23): of that a part, unless
        somebody lends the whole. Of a domain that is suspended none (OP-79).

        Raises NoSuchBal when there is no such account.
        """
        row = self._one(_ACCOUNT_BY_ID, id=account)
        if row is None:
            raise NoSuchBal
        own = [] if row[3] is None else [row[3]]
        roles: dict[BalId, Role | DelegateRight] = {}
        for bal, sealed in self._all(_MEMBERSHIPS, account=account):
            role = self._proved(account, bal, sealed)
            if role is not None and bal not in own:
                roles[BalId(bal)] = role
        handed: dict[BalId, Delegation] = {}
        whole: dict[BalId, DelegateRight] = {}
        for each in self._lent(account):
            if each.bal in own or isinstance(roles.get(each.bal), Role):
                continue
            roles[each.bal] = each.right
            if each.kind is DelegationKind.HANDOVER:
                handed[each.bal] = each
            else:
                whole[each.bal] = each.right
        found = [self.bal_by_id(BalId(id)) for id in (*own, *roles)]
        open = {bal for bal in handed if not self._is_of_suspended_domain(bal)}
        active = tuple(
            bal for bal in found if bal and (bal.state is BalState.ACTIVE or bal.id in open)
        )
        for bal in active:
            if bal.id in handed and bal.state is not BalState.ACTIVE:
                whole.pop(bal.id, None)
                roles[bal.id] = handed[bal.id].right
        mine = next((bal.address for bal in active if bal.id in own), None)
        parts = {bal: one.id for bal, one in handed.items() if bal not in whole}
        seen = {bal: right for bal, right in whole.items() if bal in handed}
        login = self._opened_account(row).login
        return Principal(account, login, active, roles=roles, own=mine, handed=parts, seen=seen)

    def own_bal(self, account: AccountId) -> Bal | None:
        """The account's own box, if it is active: what `principal` puts first, for a quarter of its
        statements. Raises NoSuchBal when there is no such account."""
        row = self._one(_ACCOUNT_BY_ID, id=account)
        if row is None:
            raise NoSuchBal
        found = None if row[3] is None else self.bal_by_id(BalId(row[3]))
        return found if found is not None and found.state is BalState.ACTIVE else None

    def memberships(self, account: AccountId) -> tuple[BalId, ...]:
        """Boxes of others that it was let into, whatever their state."""
        return tuple(BalId(bal) for bal, _ in self._all(_MEMBERSHIPS, account=account))

    def _is_of_suspended_domain(self, id: BalId) -> bool:
        bal = self.bal_by_id(id)
        return bal is not None and bal.address.domain in self._suspended_domains()

    def has_written(self, bal: BalId, address: Address) -> bool:
        """True when mail from `address` was stored in `bal` before (SEED-37)."""
        digests = self._bal_key(bal).digests(CORRESPONDENT, address.key)
        return any(self._one(_HAS_WRITTEN, bal=bal, digest=digest) for digest in digests)

    def _opened_account(self, row: Row) -> Account:
        if (known := self._vault.known.accounts.get(row)) is not None:
            return known
        login = self._master_open(account_purpose(row[0], row[3]), row[1]).decode()
        account = Account(AccountId(row[0]), login, bool(row[2]))
        self._vault.known.accounts.keep(row, account)
        return account


class PeopleWriting(PeopleReading, BoxWriting, AppPasswordWriting):
    """Changes of people."""

    def create_account(self, login: str, bal: BalId | None = None) -> Account:
        """A new account; `bal` is its own. Raises BalExists when the login is taken."""
        if self.account(login) is not None:
            raise BalExists
        row = self._new(
            _NEW_ACCOUNT,
            login_digest=self._master_digest(b"login", login.casefold()),
            sealed=b"",
            bal=bal,
            active=True,
        )
        sealed = self._master_seal(account_purpose(row[0], bal), login.encode())
        self._run(_SEAL_ACCOUNT, account=row[0], new=sealed)
        return Account(AccountId(row[0]), login, True)

    def give_box(self, account: AccountId, bal: BalId) -> None:
        """Make `bal` the account's own box. Raises NoSuchBal when there is no such account, or it
        has another one."""
        row = self._one(_ACCOUNT_BY_ID, id=account)
        if row is None or row[3] not in (None, bal):
            raise NoSuchBal
        self._seal_account(account, self._opened_account(row).login, bal)

    def _rename_account(self, account: AccountId, login: str) -> None:
        row = self._one(_ACCOUNT_BY_ID, id=account)
        if row is None:
            raise NoSuchBal
        self._seal_account(account, login, row[3])

    def _seal_account(self, account: AccountId, login: str, bal: int | None) -> None:
        self._run(
            _RENAME_ACCOUNT,
            account=account,
            new_digest=self._master_digest(b"login", login.casefold()),
            new=self._master_seal(account_purpose(account, bal), login.encode()),
            new_bal=bal,
        )

    def set_account_active(self, account: AccountId, *, active: bool) -> None:
        """Allow or forbid to log in. Raises NoSuchBal when there is no such account."""
        if not self._run(_SET_ACTIVE, account=account, new=active):
            raise NoSuchBal
        if not active:
            self._login_changed(account)

    def _remember_correspondent(self, bal: BalId, sender: Address) -> None:
        if self._vault.known.correspondents.get((bal, sender.key)):
            return
        self._vault.known.correspondents.keep((bal, sender.key), True)
        if not self.has_written(bal, sender):
            key = self._bal_key(bal)
            digest = key.digest(CORRESPONDENT, sender.key)
            sealed = key.seal(CORRESPONDENT + digest, sender.key.encode())
            self._run(_NEW_CORRESPONDENT, bal=bal, digest=digest, sealed=sealed)


def account_purpose(account: int, bal: int | None) -> bytes:
    """What the sealed part of a row of `accounts` is bound to, its own box too."""
    return b"login\0%d\0%d" % (account, bal or 0)
