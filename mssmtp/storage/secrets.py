"""Passwords of the portal, one-time codes and links: what is needed to check them, never they.

A one-time secret is found by a keyed digest of its token's SHA-256, which is sealed beside it, so
that a rotation can make the digest anew. `content` is sealed too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import bindparam, delete, insert, select, update

from mssmtp.mail import AccountId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.schema import passwords, secrets, sql
from mssmtp.storage.view import Row, View, WritingView

SECRET = b"secret"
SecretKind = Literal[
    "code", "activation", "enrolment", "reset", "confirmation", "detour", "draft", "session"
]
NO_ACCOUNT = AccountId(0)
"""`subject` of a secret of somebody who has no account yet."""
_KEPT = timedelta(days=1)
"""After its end a secret still explains itself to who comes late."""

_PASSWORD = sql(select(passwords.c.sealed).where(passwords.c.account == bindparam("account")))
_CHANGED_AT = sql(select(passwords.c.changed_at).where(passwords.c.account == bindparam("account")))
_DROP_PASSWORD = sql(delete(passwords).where(passwords.c.account == bindparam("account")))
_NEW_PASSWORD = sql(insert(passwords))
_SECRET = select(
    secrets.c.id,
    secrets.c.sealed,
    secrets.c.kind,
    secrets.c.subject,
    secrets.c.created_at,
    secrets.c.expires_at,
    secrets.c.tries,
    secrets.c.spent_at,
)
_BY_DIGEST = sql(
    _SECRET.where(secrets.c.kind == bindparam("kind")).where(
        secrets.c.digest == bindparam("digest")
    )
)
_NEWEST = sql(
    _SECRET.where(secrets.c.subject == bindparam("subject"))
    .where(secrets.c.kind == bindparam("kind"))
    .order_by(secrets.c.created_at.desc(), secrets.c.id.desc())
    .limit(bindparam("most"))
)
_LIVE = sql(
    _SECRET.where(secrets.c.subject == bindparam("subject"))
    .where(secrets.c.kind == bindparam("kind"))
    .where(secrets.c.spent_at.is_(None))
    .where(secrets.c.expires_at > bindparam("now"))
    .order_by(secrets.c.created_at.desc(), secrets.c.id.desc())
    .limit(bindparam("most"))
)
_PROLONG = sql(
    update(secrets)
    .where(secrets.c.id == bindparam("secret"))
    .where(secrets.c.spent_at.is_(None))
    .values(expires_at=bindparam("until"))
)
_NEW = sql(
    insert(secrets)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "digest", "subject", "created_at", "expires_at", "tries", "sealed")
        }
    )
    .returning(secrets.c.id)
)
_SEAL = sql(
    update(secrets).where(secrets.c.id == bindparam("secret")).values(sealed=bindparam("new"))
)
_SPEND = sql(
    update(secrets)
    .where(secrets.c.id == bindparam("secret"))
    .where(secrets.c.spent_at.is_(None))
    .values(spent_at=bindparam("at"))
)
_VOID = sql(
    update(secrets)
    .where(secrets.c.subject == bindparam("subject"))
    .where(secrets.c.kind == bindparam("kind"))
    .where(secrets.c.spent_at.is_(None))
    .values(spent_at=bindparam("at"))
)
_MISS = sql(
    update(secrets)
    .where(secrets.c.id == bindparam("secret"))
    .values(tries=secrets.c.tries + bindparam("one"))
)
_FORGET = sql(delete(secrets).where(secrets.c.expires_at < bindparam("before")))


@dataclass(frozen=True, slots=True)
class Secret:
    """One code or link, in any state. `tries`: wrong ones so far."""

    id: int
    kind: str
    subject: AccountId
    created_at: datetime
    expires_at: datetime
    tries: int
    spent_at: datetime | None
    content: Mapping[str, str]


class SecretReading(View):
    """Looking them up."""

    def portal_password(self, account: AccountId) -> str | None:
        """The argon2id hash (SEED-11); None: no password was chosen yet. Raises Damaged."""
        row = self._one(_PASSWORD, account=account)
        return None if row is None else self._master_open(portal_purpose(account), row[0]).decode()

    def portal_password_since(self, account: AccountId) -> datetime | None:
        """When it was chosen; None: never."""
        row = self._one(_CHANGED_AT, account=account)
        return None if row is None else from_us(row[0])

    def secret(self, kind: SecretKind, token: str) -> Secret | None:
        """The one of `token`, spent or not."""
        sha256 = _sha256(token)
        for _ in range(2):
            for digest in self._vault.keys.digests(SECRET, digested_secret(kind, sha256)):
                row = self._one(_BY_DIGEST, kind=kind, digest=digest)
                found = None if row is None else self._opened_secret(row, sha256)
                if found is not None:
                    return found
            if not self._follow_masters():
                break
        return None

    def vouchers(self, text: str) -> tuple[bytes, ...]:
        """What shows that `text` is ours, in every process and after every start; by each key that
        is in force, the newest first."""
        return self._vault.keys.digests(b"voucher", text)

    def newest_secret(self, kind: SecretKind, subject: AccountId) -> Secret | None:
        """The last one of an account, spent or not."""
        return next(iter(self.newest_secrets(kind, subject, 1)), None)

    def newest_secrets(self, kind: SecretKind, subject: AccountId, most: int) -> tuple[Secret, ...]:
        """The last ones of an account, spent or not, the newest first; a day after their end they
        are forgotten."""
        rows = self._all(_NEWEST, kind=kind, subject=subject, most=most)
        opened = (self._opened_secret(row, None) for row in rows)
        return tuple(each for each in opened if each is not None)

    def live_secrets(self, kind: SecretKind, subject: AccountId, most: int) -> tuple[Secret, ...]:
        """Those of an account that are neither spent nor over, the newest first."""
        now = to_us(self._vault.clock.now())
        rows = self._all(_LIVE, kind=kind, subject=subject, now=now, most=most)
        opened = (self._opened_secret(row, None) for row in rows)
        return tuple(each for each in opened if each is not None)

    def _opened_secret(self, row: Row, sha256: str | None) -> Secret | None:
        id, sealed, kind, subject, created, expires, tries, spent = row
        octets = self._legible(self._master_open, secret_purpose(id, subject), sealed)
        if octets is None:
            return None
        opened = json.loads(octets)
        if opened["kind"] != kind or (sha256 is not None and opened["sha256"] != sha256):
            return None  # ATT-19: what is sealed decides, not where it stands
        return Secret(
            id,
            kind,
            AccountId(subject),
            from_us(created),
            from_us(expires),
            tries,
            None if spent is None else from_us(spent),
            opened["content"],
        )


class SecretWriting(SecretReading, WritingView):
    """Making and spending them."""

    def set_portal_password(self, account: AccountId, argon2: str) -> None:
        """In the place of the one before."""
        self._run(_DROP_PASSWORD, account=account)
        self._run(
            _NEW_PASSWORD,
            account=account,
            changed_at=to_us(self._vault.clock.now()),
            sealed=self._master_seal(portal_purpose(account), argon2.encode()),
        )

    def new_secret(
        self,
        kind: SecretKind,
        token: str,
        subject: AccountId,
        expires_at: datetime,
        content: Mapping[str, str] | None = None,
    ) -> int:
        """Remember that `token` is good once, until `expires_at`; its id."""
        sha256 = _sha256(token)
        row = self._new(
            _NEW,
            kind=kind,
            digest=self._master_digest(SECRET, digested_secret(kind, sha256)),
            subject=subject,
            created_at=to_us(self._vault.clock.now()),
            expires_at=to_us(expires_at),
            tries=0,
            sealed=b"",
        )
        opened = {"kind": kind, "sha256": sha256, "content": dict(content or {})}
        sealed = self._master_seal(secret_purpose(row[0], subject), json.dumps(opened).encode())
        self._run(_SEAL, secret=row[0], new=sealed)
        return int(row[0])

    def spend_secret(self, secret: int) -> bool:
        """Use it up; False when it was already: of several at once one is told True (ATT-21)."""
        return bool(self._run(_SPEND, secret=secret, at=to_us(self._vault.clock.now())))

    def void_secrets(self, kind: SecretKind, subject: AccountId) -> None:
        """None of an account's is good any more."""
        self._run(_VOID, kind=kind, subject=subject, at=to_us(self._vault.clock.now()))

    def prolong_secret(self, secret: int, until: datetime) -> None:
        """It is good for longer, if it was not spent meanwhile."""
        self._run(_PROLONG, secret=secret, until=to_us(until))

    def miss_secret(self, secret: int) -> None:
        """A wrong entry."""
        self._run(_MISS, secret=secret, one=1)

    def _forget_secrets(self, now: datetime) -> None:
        self._run(_FORGET, before=to_us(now - _KEPT))


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def digested_secret(kind: str, sha256: str) -> str:
    """What the digest of a row is made of."""
    return f"{kind}\0{sha256}"


def portal_purpose(account: int) -> bytes:
    """What a sealed portal password is bound to."""
    return b"portal-password\0%d" % account


def secret_purpose(secret: int, subject: int) -> bytes:
    """What the sealed part of a row of `secrets` is bound to."""
    return b"secret\0%d\0%d" % (secret, subject)
