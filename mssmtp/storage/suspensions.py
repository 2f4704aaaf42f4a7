"""What an operator has suspended: domains, certificates, accounts (OP-79).

A row is in force as long as it stands there. Names are in clear, as domains and ids are everywhere;
why and by whom is sealed. A box of a suspended domain reads as suspended, so that every rule about
suspended boxes holds for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, delete, insert, select

from mssmtp.mail import AccountId, BalId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.schema import sql, suspensions
from mssmtp.storage.view import View, WritingView

SuspendedKind = Literal["domain", "certificate", "account"]
"""`name` of each: domain in A-labels, SHA-256 of the certificate in hex, id of the account."""

FRESH_S = 2.0
"""A process asks for the suspended domains this often; no hot path asks more."""

_ALL = sql(
    select(suspensions.c.kind, suspensions.c.name, suspensions.c.at, suspensions.c.sealed).order_by(
        suspensions.c.at
    )
)
_NAMES = sql(select(suspensions.c.name).where(suspensions.c.kind == bindparam("kind")))
_DROP = sql(
    delete(suspensions)
    .where(suspensions.c.kind == bindparam("kind"))
    .where(suspensions.c.name == bindparam("name"))
)
_NEW = sql(insert(suspensions))


@dataclass(frozen=True, slots=True)
class Suspension:
    """One row. `boxes`: those that were active, and are again when it ends; so is the account, if
    it `was_active`. With `is_shared` somebody else has stopped it too, and nothing is given back.
    """

    kind: SuspendedKind
    name: str
    at: datetime
    by: str = ""
    reason: str = ""
    boxes: tuple[BalId, ...] = ()
    was_active: bool = True
    is_shared: bool = False


class SuspensionReading(View):
    """Looking at them."""

    def suspensions(self) -> tuple[Suspension, ...]:
        """All in force, oldest first; one that cannot be opened too, without its reason."""
        found = []
        for kind, name, at, sealed in self._all(_ALL):
            octets = self._legible(self._master_open, suspension_purpose(kind, name), sealed)
            # A row of before says nothing of the account.
            opened: list[Any] = ["", "", []] if octets is None else json.loads(octets)
            by, reason, boxes, *rest = opened
            kept = tuple(BalId(bal) for bal in boxes)
            found.append(Suspension(kind, name, from_us(at), by, reason, kept, *rest))
        return tuple(found)

    def is_suspended(self, kind: SuspendedKind, name: str) -> bool:
        """At this moment."""
        return any(row[0] == name for row in self._all(_NAMES, kind=kind))

    def _suspended_domains(self) -> frozenset[str]:
        """As of the last two seconds."""
        now = self._vault.clock.monotonic()
        known = self._vault.known.suspended(now)
        if known is None:
            known = self._all_suspended_domains()
            self._vault.known.keep_suspended(known, now + FRESH_S)
        return known

    def _all_suspended_domains(self) -> frozenset[str]:
        return frozenset(str(row[0]) for row in self._all(_NAMES, kind="domain"))


class SuspensionWriting(SuspensionReading, WritingView):
    """Suspending, and undoing it."""

    def _suspended_domains(self) -> frozenset[str]:
        """As of this moment: between the jobs of a transaction nobody else writes."""
        if self._rows.suspended is None:
            self._rows.suspended = self._all_suspended_domains()
        return self._rows.suspended

    def put_suspension(self, new: Suspension) -> None:
        """In force from this commit on; in the place of one of the same name."""
        self._run(_DROP, kind=new.kind, name=new.name)
        told = [new.by, new.reason, new.boxes, new.was_active, new.is_shared]
        octets = json.dumps(told, ensure_ascii=False).encode()
        self._run(
            _NEW,
            kind=new.kind,
            name=new.name,
            at=to_us(new.at),
            sealed=self._master_seal(suspension_purpose(new.kind, new.name), octets),
        )
        self._suspended_anew()

    def drop_suspension(self, kind: SuspendedKind, name: str) -> bool:
        """End one; False: there was none."""
        self._suspended_anew()
        return bool(self._run(_DROP, kind=kind, name=name))

    def keep_stopped(self, account: AccountId) -> None:
        """Somebody else has stopped the account too: the end of a suspension does not start it.
        What it has queued goes on waiting."""
        for each in self.suspensions():
            if (each.kind, each.name) == ("account", str(account)):
                self.put_suspension(replace(each, is_shared=True))

    def _suspended_anew(self) -> None:
        self.effects.first.append(self._vault.known.forget_suspended)
        self.effects.first.append(self._vault.lately.changed)


def suspension_purpose(kind: str, name: str) -> bytes:
    """What the sealed part of a row is bound to."""
    return b"suspension\0" + kind.encode() + b"\0" + name.encode()
