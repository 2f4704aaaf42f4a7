"""Functional traces: who did what, when, and what was answered (OP-71, OP-72, SEED-48, SEED-90).

A trace is a row of the commit it tells of. Who, what and the answer are sealed under the master
key, so that they outlive the box; kind, date and ids are in clear. No content of a message, no
secret: callers give identifiers, addresses of ours and counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.mail import AccountId, BalId, StructureId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.schema import sql, traces
from mssmtp.storage.view import Row, View, WritingView

TraceKind = Literal[
    "login",
    "send",
    "read",
    "delete",
    "administration",
    "rights",
    "break-glass",
    "account",
    "cloud-relay",
]
"""The action of OP-72. `rights`: delegations, memberships; `account`: devices, codes, addresses."""

KEPT = timedelta(days=3 * 366)
"""OP-73: three years."""
MOST = 1_000
"""Of one look."""
_LOOKED_THROUGH = 200_000
_ENDLESS = 1 << 62
_AT_ONCE = 20_000
"""Forgotten in one commit."""

_COLUMNS = (
    traces.c.number,
    traces.c.at,
    traces.c.kind,
    traces.c.account,
    traces.c.bal,
    traces.c.structure,
    traces.c.sealed,
)
_NEW = sql(
    insert(traces).values(
        {name: bindparam(name) for name in ("at", "kind", "account", "bal", "structure", "sealed")}
    )
)
_PAGE = (
    select(*_COLUMNS)
    .where(traces.c.number < bindparam("before"))
    .where(traces.c.at >= bindparam("since"), traces.c.at < bindparam("until"))
    .order_by(traces.c.number.desc())
    .limit(bindparam("most"))
)
_EVERY = sql(_PAGE)
_OF = {
    name: sql(_PAGE.where(traces.c[name] == bindparam("id")))
    for name in ("account", "bal", "structure")
}
_OLDEST = sql(select(func.coalesce(func.min(traces.c.number), 0)))
_FIRST_KEPT = sql(
    select(traces.c.number)
    .where(traces.c.number >= bindparam("first"), traces.c.number < bindparam("end"))
    .where(traces.c.at >= bindparam("since"))
    .order_by(traces.c.number)
    .limit(1)
)
_NEWEST = sql(select(func.coalesce(func.max(traces.c.number), 0)))
_CLOUD = sql(
    select(traces.c.account)
    .distinct()
    .where(traces.c.number > bindparam("after"), traces.c.kind == bindparam("kind"))
    .where(traces.c.at >= bindparam("since"))
    .order_by(traces.c.account)
)
_FORGET = sql(delete(traces).where(traces.c.number < bindparam("end")))


@dataclass(frozen=True, slots=True)
class Trace:
    """One act. `author` is a login or an administrator's name; `action` is `kind`."""

    number: int
    at: datetime
    kind: str
    author: str
    request: str
    answer: str
    account: AccountId | None
    bal: BalId | None
    structure: StructureId | None


class TraceReading(View):
    """Looking at them, the newest first."""

    def traces(
        self,
        *,
        account: AccountId | None = None,
        bal: BalId | None = None,
        structure: StructureId | None = None,
        before: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        most: int = MOST,
    ) -> tuple[Trace, ...]:
        """Of an account, of a box, of a structure, or of everybody when none is given; from `since`
        on, up to `until`.

        `before`: the number of the last one of the page before. What is damaged is left out.
        """
        named = {"account": account, "bal": bal, "structure": structure}
        given = [(name, id) for name, id in named.items() if id is not None]
        page = {
            "before": _ENDLESS if before is None else before,
            "since": 0 if since is None else to_us(since),
            "until": _ENDLESS if until is None else to_us(until),
            "most": min(most, MOST),
        }
        if not given:
            return self._opened_traces(self._all(_EVERY, **page))
        if len(given) > 1:
            raise ValueError("traces are asked for of one thing at a time")
        name, id = given[0]
        return self._opened_traces(self._all(_OF[name], id=id, **page))

    def cloud_attempts(self, since: datetime) -> tuple[AccountId, ...]:
        """Whose logins came through a cloud relay (F2), among the newest 200,000 traces."""
        newest = self._one(_NEWEST)
        after = (0 if newest is None else newest[0]) - _LOOKED_THROUGH
        rows = self._all(_CLOUD, after=after, kind="cloud-relay", since=to_us(since))
        return tuple(AccountId(id) for (id,) in rows if id is not None)

    def _opened_traces(self, rows: Sequence[Row]) -> tuple[Trace, ...]:
        found = []
        for number, at, kind, account, bal, structure, sealed in rows:
            purpose = act_purpose(at, kind, account, bal, structure)
            octets = self._legible(self._master_open, purpose, sealed)
            if octets is not None:
                author, request, answer = json.loads(octets)
                found.append(
                    Trace(
                        number,
                        from_us(at),
                        kind,
                        author,
                        request,
                        answer,
                        None if account is None else AccountId(account),
                        None if bal is None else BalId(bal),
                        None if structure is None else StructureId(structure),
                    )
                )
        return tuple(found)


class TraceWriting(TraceReading, WritingView):
    """Leaving them."""

    def trace(
        self,
        kind: TraceKind,
        author: str,
        request: str,
        answer: str = "ok",
        *,
        account: AccountId | None = None,
        bal: BalId | None = None,
        structure: StructureId | None = None,
    ) -> None:
        """One act, in the commit of what it tells (OP-72).

        `account` is whose activity it is shown in (SEED-48); `bal` and `structure` are what was
        acted on. Never a secret, never content.
        """
        at = to_us(self._vault.clock.now())
        octets = json.dumps([author, request, answer], ensure_ascii=False).encode()
        self._later(
            _NEW,
            at=at,
            kind=kind,
            account=account,
            bal=bal,
            structure=structure,
            sealed=self._master_seal(act_purpose(at, kind, account, bal, structure), octets),
        )

    def forget_traces(self, now: datetime) -> bool:
        """Those older than three years (OP-73), some at a time; True while there may be more."""
        oldest = self._one(_OLDEST)
        first = 0 if oldest is None else oldest[0]
        end = first + _AT_ONCE
        kept = self._one(_FIRST_KEPT, first=first, end=end, since=to_us(now - KEPT))
        return self._run(_FORGET, end=end if kept is None else kept[0]) >= _AT_ONCE


def act_purpose(
    at: int, kind: str, account: int | None, bal: int | None, structure: int | None
) -> bytes:
    """What a sealed trace is bound to: everything that stands beside it in clear."""
    return b"act\0" + json.dumps([at, kind, account, bal, structure]).encode()
