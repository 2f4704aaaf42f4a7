"""Who or what an outside identity is here: subjects of tokens, cards, certificates, directories.

The identity is sealed under the master key together with what it opens: the columns only find the
row (ATT-19).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import MailError, Reply
from mssmtp.mail import AccountId, BalId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.schema import bindings, sql
from mssmtp.storage.view import Row, View
from mssmtp.storage.waking import WakingWriting

BINDING = b"binding"

BindingKind = Literal["psc", "card", "certificate", "name", "oidc", "ldap"]
"""Subject of Pro Santé Connect; holder of a CPx card; SHA-256 of a system's certificate; its
distinguished name; subject of a hospital's OIDC provider; entry of its directory."""
KINDS: tuple[BindingKind, ...] = get_args(BindingKind)

_BINDING = select(
    bindings.c.id,
    bindings.c.sealed,
    bindings.c.account,
    bindings.c.bal,
    bindings.c.created_at,
    bindings.c.last_used_at,
    bindings.c.revoked_at,
).order_by(bindings.c.id)
_FOUND = sql(
    _BINDING.where(bindings.c.kind == bindparam("kind")).where(
        bindings.c.digest == bindparam("digest")
    )
)
_OF_ACCOUNT = sql(_BINDING.where(bindings.c.account == bindparam("account")))
_OF_BAL = sql(_BINDING.where(bindings.c.bal == bindparam("bal")))
_NEW = sql(
    insert(bindings)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "digest", "account", "bal", "sealed", "created_at")
        }
    )
    .returning(bindings.c.id)
)
_SEAL = sql(
    update(bindings)
    .where(bindings.c.id == bindparam("binding"))
    .values(sealed=bindparam("new"), created_at=bindparam("at"), revoked_at=None)
)
_WHOSE = sql(
    select(bindings.c.account, bindings.c.bal).where(bindings.c.id == bindparam("binding"))
)
_REVOKE = sql(
    update(bindings)
    .where(bindings.c.id == bindparam("binding"))
    .where(bindings.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


class BindingTaken(MailError):
    """The identity is bound to another account; one person has one account (SEED-12)."""

    smtp = Reply(
        550, "5.7.1", "Cette identité est déjà liée à un autre compte ; déliez-la d'abord."
    )
    imap = "ALREADYEXISTS"


@dataclass(frozen=True, slots=True)
class Binding:
    """One identity and the one account or box it opens. `label`: as an administrator reads it.

    `holder`: the name in the certificate; "" of other kinds, and of certificates bound before it
    was kept.
    """

    id: int
    kind: BindingKind
    subject: str
    label: str
    holder: str
    account: AccountId | None
    bal: BalId | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class BindingReading(View):
    """Looking identities up."""

    def bound_account(self, kind: BindingKind, subject: str) -> AccountId | None:
        """The account of an identity."""
        return next(
            (b.account for b in self._bound_now(kind, subject) if b.account is not None), None
        )

    def demand_unbound(self, kind: BindingKind, subject: str, account: AccountId) -> None:
        """Raises BindingTaken when it is another account's."""
        if any(each.account != account for each in self._bound_now(kind, subject)):
            raise BindingTaken

    def bound_boxes(self, kind: BindingKind, subject: str) -> tuple[BalId, ...]:
        """The boxes a system opens (CL-15)."""
        return tuple(b.bal for b in self._bound_now(kind, subject) if b.bal is not None)

    def bindings(
        self, *, account: AccountId | None = None, bal: BalId | None = None
    ) -> tuple[Binding, ...]:
        """Those of an account or of a box, ended ones too, oldest first."""
        rows = (
            self._all(_OF_ACCOUNT, account=account)
            if account is not None
            else self._all(_OF_BAL, bal=bal)
        )
        found = (self._opened_binding(row) for row in rows)
        return tuple(each for each in found if each is not None)

    def _bound_now(self, kind: BindingKind, subject: str) -> list[Binding]:
        return [each for each in self._bound_rows(kind, subject) if each.revoked_at is None]

    def _bound_rows(self, kind: BindingKind, subject: str) -> list[Binding]:
        """What is sealed decides, not under which digest it stands."""
        for _ in range(2):
            rows: list[Row] = []
            for digest in self._vault.keys.digests(BINDING, digested(kind, subject)):
                rows += self._all(_FOUND, kind=kind, digest=digest)
            opened = [self._opened_binding(row) for row in rows]
            found = [b for b in opened if b and (b.kind, b.subject) == (kind, subject)]
            if found or not self._follow_masters():
                return found
        return []

    def _opened_binding(self, row: Row) -> Binding | None:
        id, sealed, account, bal, created, used, revoked = row
        octets = self._legible(self._master_open, binding_purpose(id, account, bal), sealed)
        if octets is None:
            return None
        opened = json.loads(octets)
        return Binding(
            id,
            opened["kind"],
            opened["subject"],
            opened["label"],
            opened.get("holder", ""),
            None if account is None else AccountId(account),
            None if bal is None else BalId(bal),
            from_us(created),
            None if used is None else from_us(used),
            None if revoked is None else from_us(revoked),
        )


class BindingWriting(BindingReading, WakingWriting):
    """Binding and undoing it."""

    def bind_account(
        self, kind: BindingKind, subject: str, account: AccountId, label: str = ""
    ) -> int:
        """`subject` is `account` from now on; its id. Raises BindingTaken."""
        self.demand_unbound(kind, subject, account)
        return self._put_binding(kind, subject, account, None, {"label": label})

    def bind_box(
        self, kind: BindingKind, subject: str, bal: BalId, label: str = "", holder: str = ""
    ) -> int:
        """The system `subject` opens `bal` from now on, beside the boxes it opens already."""
        return self._put_binding(kind, subject, None, bal, {"label": label, "holder": holder})

    def unbind(self, binding: int) -> None:
        """End it; its date stays. Sessions that came in by it and wait ask again (ATT-18)."""
        if not self._run(_REVOKE, binding=binding, at=to_us(self._vault.clock.now())):
            return
        row = self._one(_WHOSE, binding=binding)
        if row is not None and row[0] is not None:
            self._login_changed(AccountId(row[0]))
        if row is not None and row[1] is not None:
            self._box_changed(BalId(row[1]))

    def _put_binding(
        self,
        kind: BindingKind,
        subject: str,
        account: AccountId | None,
        bal: BalId | None,
        told: Mapping[str, str],
    ) -> int:
        before = [
            b for b in self._bound_rows(kind, subject) if (b.account, b.bal) == (account, bal)
        ]
        now = to_us(self._vault.clock.now())
        id = before[0].id if before else self._new_binding(kind, subject, account, bal)
        octets = json.dumps({"kind": kind, "subject": subject, **told}).encode()
        sealed = self._master_seal(binding_purpose(id, account, bal), octets)
        self._run(_SEAL, binding=id, new=sealed, at=now)
        return id

    def _new_binding(
        self, kind: BindingKind, subject: str, account: AccountId | None, bal: BalId | None
    ) -> int:
        row = self._new(
            _NEW,
            kind=kind,
            digest=self._master_digest(BINDING, digested(kind, subject)),
            account=account,
            bal=bal,
            sealed=b"",
            created_at=0,
        )
        return int(row[0])


def digested(kind: str, subject: str) -> str:
    """What the digest of a row is made of."""
    return f"{kind}\0{subject}"


def binding_purpose(id: int, account: int | None, bal: int | None) -> bytes:
    """What the sealed part of a row is bound to: whom it opens above all."""
    return b"binding\0%d\0%d\0%d" % (id, account or 0, bal or 0)
