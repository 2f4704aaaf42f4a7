"""Boxes of one person that another may open: delegation, handover, break-glass (DEF-12, F10).

Kind, right and dates are sealed under the master key, beside whose box it is and who the delegate
is: whoever writes to the database alone gives nobody a right nor a day more (ATT-19).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import bindparam, delete, insert, select, update

from mssmtp.mail import AccountId, BalId, DelegateRight
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.rights import RightsReading, RightsWriting
from mssmtp.storage.schema import delegations, sql
from mssmtp.storage.view import Row

KEPT = timedelta(days=3 * 366)
"""After its end, as long as the traces about it (OP-73)."""

_COLUMNS = select(
    delegations.c.id,
    delegations.c.bal,
    delegations.c.account,
    delegations.c.sealed,
    delegations.c.created_at,
    delegations.c.ended_at,
)
_TO = sql(
    _COLUMNS.where(delegations.c.account == bindparam("account"))
    .where(delegations.c.ended_at.is_(None))
    .order_by(delegations.c.id)
)
_OF = sql(_COLUMNS.where(delegations.c.bal == bindparam("bal")).order_by(delegations.c.id))
_BY_ID = sql(_COLUMNS.where(delegations.c.id == bindparam("id")))
_NEW = sql(
    insert(delegations)
    .values(
        {
            name: bindparam(name)
            for name in ("bal", "account", "kind", "begins_at", "ends_at", "created_at", "sealed")
        }
    )
    .returning(delegations.c.id)
)
_SEAL = sql(
    update(delegations)
    .where(delegations.c.id == bindparam("delegation"))
    .values(sealed=bindparam("new"), ended_at=bindparam("at"))
)
_FORGET = sql(
    delete(delegations).where(
        (delegations.c.ended_at < bindparam("before"))
        | (delegations.c.ends_at < bindparam("before"))
    )
)


class DelegationKind(StrEnum):
    """Why somebody opens another's box: named by the holder; an absence, a departure or a death
    (DEF-23); an emergency (F10)."""

    DELEGATION = "delegation"
    HANDOVER = "handover"
    BREAK_GLASS = "break-glass"


@dataclass(frozen=True, slots=True)
class Delegation:
    """`account` may do `right` in `bal` from `begins_at` until `ends_at`; None: until taken back.

    `by`: who gave it, `reason`: why, as traces and the holder read them. `handed`: which messages a
    handover is about, in the writing of `handed.py`.
    """

    bal: BalId
    account: AccountId
    right: DelegateRight
    begins_at: datetime
    ends_at: datetime | None = None
    kind: DelegationKind = DelegationKind.DELEGATION
    reason: str = ""
    by: str = ""
    id: int = 0
    created_at: datetime | None = None
    ended_at: datetime | None = None
    handed: str = ""

    def is_in_force(self, now: datetime) -> bool:
        """It has begun, has not ended and was not taken back."""
        is_over = self.ends_at is not None and now >= self.ends_at
        return self.ended_at is None and self.begins_at <= now and not is_over


class DelegationReading(RightsReading):
    """Who may open whose box."""

    def delegations_of(self, bal: BalId) -> tuple[Delegation, ...]:
        """Of a box, those that are over too, oldest first."""
        return self._opened_delegations(self._all(_OF, bal=bal))

    def delegations_to(self, account: AccountId) -> tuple[Delegation, ...]:
        """What an account was given and nobody has taken back; it may be over, or still to come."""
        return self._opened_delegations(self._all(_TO, account=account))

    def delegation(self, id: int) -> Delegation | None:
        """By its number."""
        return next(iter(self._opened_delegations(self._all(_BY_ID, id=id))), None)

    def _lent(self, account: AccountId) -> tuple[Delegation, ...]:
        """In force now, the strongest right last: it is the one that counts."""
        now = self._vault.clock.now()
        found = (each for each in self.delegations_to(account) if each.is_in_force(now))
        return tuple(sorted(found, key=lambda each: each.right.strength))

    def _opened_delegations(self, rows: Iterable[Row]) -> tuple[Delegation, ...]:
        found = []
        for id, bal, account, sealed, created_at, ended_at in rows:
            purpose = delegation_purpose(id, bal, account)
            octets = self._legible(self._master_open, purpose, sealed)
            if not octets:
                continue
            opened = json.loads(octets)
            ends = opened["ends"]
            is_over = ended_at is not None or opened["ended"]
            found.append(
                Delegation(
                    BalId(bal),
                    AccountId(account),
                    DelegateRight(opened["right"]),
                    from_us(opened["begins"]),
                    None if ends is None else from_us(ends),
                    DelegationKind(opened["kind"]),
                    opened["reason"],
                    opened["by"],
                    id,
                    from_us(created_at),
                    from_us(ended_at or created_at) if is_over else None,
                    opened.get("handed", ""),
                )
            )
        return tuple(found)


class DelegationWriting(DelegationReading, RightsWriting):
    """Giving them, and taking them back."""

    def add_delegation(self, new: Delegation) -> Delegation:
        """Let the delegate in; sessions that are open show the box at their next command."""
        row = self._new(
            _NEW,
            bal=new.bal,
            account=new.account,
            kind=new.kind.value,
            begins_at=to_us(new.begins_at),
            ends_at=None if new.ends_at is None else to_us(new.ends_at),
            created_at=to_us(self._vault.clock.now()),
            sealed=b"",
        )
        made = replace(new, id=row[0])
        self._seal_delegation(made, None)
        return made

    def end_delegation(self, given: Delegation) -> None:
        """Take it back: at the next command of an open session nothing of the box is left."""
        self._seal_delegation(given, to_us(self._vault.clock.now()))

    def _seal_delegation(self, one: Delegation, ended_at: int | None) -> None:
        octets = json.dumps(
            {
                "kind": one.kind.value,
                "right": one.right.value,
                "begins": to_us(one.begins_at),
                "ends": None if one.ends_at is None else to_us(one.ends_at),
                "reason": one.reason,
                "by": one.by,
                "handed": one.handed,
                # Sealed too: who writes to the database alone brings nothing back.
                "ended": ended_at is not None,
            }
        ).encode()
        purpose = delegation_purpose(one.id, one.bal, one.account)
        self._run(_SEAL, delegation=one.id, new=self._master_seal(purpose, octets), at=ended_at)
        self._rights_changed(one.bal, one.account)

    def _forget_delegations(self, now: datetime) -> None:
        """Those that ended three years ago."""
        self._run(_FORGET, before=to_us(now - KEPT))


def delegation_purpose(delegation: int, bal: int, account: int) -> bytes:
    """What the sealed part of a row of `delegations` is bound to."""
    return b"delegation\0%d\0%d\0%d" % (delegation, bal, account)
