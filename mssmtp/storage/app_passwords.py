"""Application passwords: one for each device, verifiers only (CL-31)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, or_, select, update

from mssmtp.mail import AccountId, BalId
from mssmtp.storage.model import AppPassword, from_us, to_us
from mssmtp.storage.schema import app_passwords, sql
from mssmtp.storage.view import Row, View
from mssmtp.storage.waking import WakingWriting

_PASSWORD = select(
    app_passwords.c.id,
    app_passwords.c.sealed,
    app_passwords.c.created_at,
    app_passwords.c.last_used_at,
    app_passwords.c.revoked_at,
    app_passwords.c.account,
    app_passwords.c.bal,
    app_passwords.c.expires_at,
).order_by(app_passwords.c.id)
_PASSWORDS = sql(_PASSWORD.where(app_passwords.c.account == bindparam("account")))
_PASSWORDS_OF_BOX = sql(_PASSWORD.where(app_passwords.c.bal == bindparam("bal")))
_NEW_PASSWORD = sql(
    insert(app_passwords)
    .values(
        {name: bindparam(name) for name in ("account", "sealed", "created_at", "bal", "expires_at")}
    )
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
    .where(
        or_(app_passwords.c.last_used_at.is_(None), app_passwords.c.last_used_at <= bindparam("by"))
    )
    .values(last_used_at=bindparam("at"))
)
_ACCOUNT_OF = sql(
    select(app_passwords.c.account).where(app_passwords.c.id == bindparam("password"))
)


class AppPasswordReading(View):
    """Which devices have one."""

    def stand_in(self, login: str) -> bytes:
        """Of an unknown login what a known one would show, the same in every process and after
        every start: who asks twice must not see that it is made up (ATT-21)."""
        return self._vault.keys.digest(b"stand-in", login.casefold())

    def app_passwords(self, account: AccountId) -> tuple[AppPassword, ...]:
        """Every application password that can be read, revoked ones too."""
        return self._opened_passwords(self._all(_PASSWORDS, account=account))

    def box_passwords(self, bal: BalId) -> tuple[AppPassword, ...]:
        """Those that members have for this box alone."""
        return self._opened_passwords(self._all(_PASSWORDS_OF_BOX, bal=bal))

    def _opened_passwords(self, rows: list[Row]) -> tuple[AppPassword, ...]:
        found = (self._vault.known.passwords.get(row) or self._opened_password(row) for row in rows)
        return tuple(password for password in found if password is not None)

    def _opened_password(self, row: Row) -> AppPassword | None:
        id, sealed, created_at, last_used_at, revoked_at, account, box, expires_at = row
        octets = self._legible(self._master_open, password_purpose(account, id), sealed)
        opened = {} if octets is None else json.loads(octets)
        if not opened or opened.get("box") != box:  # ATT-19: the database alone binds nothing
            return None
        password = AppPassword(
            id,
            opened["name"],
            opened["argon2"],
            opened["scram"],
            from_us(created_at),
            None if last_used_at is None else from_us(last_used_at),
            None if revoked_at is None else from_us(revoked_at),
            AccountId(account),
            None if box is None else BalId(box),
            opened.get("scope", ""),
            None if expires_at is None else from_us(expires_at),
        )
        self._vault.known.passwords.keep(row, password)
        return password


class AppPasswordWriting(AppPasswordReading, WakingWriting):
    """Giving and revoking them."""

    def add_app_password(
        self,
        account: AccountId,
        name: str,
        argon2: str,
        scram: str,
        box: BalId | None = None,
        *,
        scope: str = "",
        expires_at: datetime | None = None,
    ) -> int:
        """Store the verifiers of a new application password (CL-31); returns its id.

        `box`: it opens that box alone, by the box's address. `scope`: `imap`, `smtp`, or both.
        """
        opened = {"name": name, "argon2": argon2, "scram": scram, "box": box, "scope": scope}
        row = self._new(
            _NEW_PASSWORD,
            account=account,
            sealed=b"",
            created_at=to_us(self._vault.clock.now()),
            bal=box,
            expires_at=None if expires_at is None else to_us(expires_at),
        )
        octets = json.dumps(opened).encode()
        sealed = self._master_seal(password_purpose(account, row[0]), octets)
        self._run(_SEAL_PASSWORD, password=row[0], new=sealed)
        return int(row[0])

    def revoke_app_password(self, password: int) -> None:
        """End an application password; its first revocation date stays."""
        if self._run(_REVOKE, password=password, at=to_us(self._vault.clock.now())):
            row = self._one(_ACCOUNT_OF, password=password)
            if row is not None:
                self._login_changed(AccountId(row[0]))

    def touch_app_password(
        self, password: int, at: datetime, every: timedelta = timedelta()
    ) -> bool:
        """Remember when it was used last (CL-31: it expires unused); of several processes that come
        within `every` one is told True."""
        return bool(self._run(_TOUCH, password=password, at=to_us(at), by=to_us(at - every)))


def password_purpose(account: int, password: int) -> bytes:
    """What the sealed part of a row of `app_passwords` is bound to."""
    return b"app-password\0%d\0%d" % (account, password)
