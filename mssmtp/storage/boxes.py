"""Boxes: address, type and what is known of each; addresses are sealed and found by keyed digest.

Type, state and dates are in clear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    PersonState,
    StructureId,
)
from mssmtp.storage.model import (
    BalExists,
    NationalIdRequired,
    NoSuchBal,
    to_us,
)
from mssmtp.storage.people_values import AddressRetired, BalDetails
from mssmtp.storage.schema import (
    bals,
    retired,
    sql,
    table_of,
)
from mssmtp.storage.suspensions import SuspensionReading
from mssmtp.storage.view import Row, WritingView

RETIRED = b"retired"
TOGETHER = 500
"""Rows of a list read at once."""
_MISSES = 64
"""Remembered of one table: those of one line, not of a whole file."""
NO_DETAILS = BalDetails()
_NATIONAL_ID = re.compile(r"(8\d{11}|0[0-9A-Z]{9})\Z")
_BAL = select(
    bals.c.id,
    bals.c.sealed,
    bals.c.type,
    bals.c.state,
    bals.c.person,
    bals.c.sent_copy,
    bals.c.red_listed,
    bals.c.reacts,
)
_BAL_BY_DIGEST = sql(_BAL.where(bals.c.digest == bindparam("digest")))
_BAL_BY_USUAL = sql(_BAL.where(bals.c.usual_digest == bindparam("digest")))
_BAL_BY_ID = sql(_BAL.where(bals.c.id == bindparam("id")))
_BALS = sql(_BAL.order_by(bals.c.id))
_BALS_AFTER = sql(_BAL.where(bals.c.id > bindparam("after")).order_by(bals.c.id))
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
                "structure",
                "red_listed",
            )
        }
    )
    .returning(bals.c.id)
)
_SEAL_BAL = sql(update(bals).where(bals.c.id == bindparam("bal")).values(sealed=bindparam("new")))
_SEALED_BAL = sql(select(bals.c.sealed).where(bals.c.id == bindparam("bal")))
_SET_USUAL = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(usual_digest=bindparam("new"))
)
_SET_STRUCTURE = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(structure=bindparam("new"))
)
_SET_RED_LISTED = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(red_listed=bindparam("new"))
)
_RETIRED = sql(select(retired.c.id).where(retired.c.digest == bindparam("digest")))
_NEW_RETIRED = sql(
    insert(retired)
    .values({name: bindparam(name) for name in ("digest", "at", "sealed")})
    .returning(retired.c.id)
)
_SEAL_RETIRED = sql(
    update(retired).where(retired.c.id == bindparam("retired")).values(sealed=bindparam("new"))
)
_OF_STRUCTURE = sql(
    _BAL.where(bals.c.structure == bindparam("structure"))
    .where(bals.c.id > bindparam("after"))
    .order_by(bals.c.id)
    .limit(bindparam("most"))
)
_WAITING = sql(
    _BAL.where(bals.c.structure == bindparam("structure"))
    .where(bals.c.type == bindparam("type"))
    .where(bals.c.state == bindparam("state"))
    .order_by(bals.c.id)
)
_COUNTED = select(func.count()).where(bals.c.structure == bindparam("structure"))
_COUNT = sql(_COUNTED)
_COUNT_OPEN = sql(_COUNTED.where(bals.c.state != bindparam("closed")))
_SET_STATE = sql(
    update(bals)
    .where(bals.c.id == bindparam("bal"))
    .values(state=bindparam("new"), closed_at=bindparam("closed"))
)
_SET_SENT_COPY = sql(
    update(bals).where(bals.c.id == bindparam("bal")).values(sent_copy=bindparam("new"))
)


class BoxReading(SuspensionReading):
    """Which boxes there are."""

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

    def each_bal(self, after: int = 0) -> Iterator[Bal]:
        """Every BAL behind the id `after` that can be read, one by one, oldest first."""
        for row in self._each(_BALS_AFTER, after=after):
            if self._legible(self._master_open, bal_purpose(row[0]), row[1]) is not None:
                yield self._opened_bal(row)

    def is_retired(self, address: Address) -> bool:
        """A box had this address and is gone: nobody is given it again (OP-51)."""
        return self._sought(_RETIRED, RETIRED, address.key) is not None

    def each_bal_of(self, structure: StructureId, after: int = 0) -> Iterator[Bal]:
        """Those of one structure behind the id `after` that can be read, one by one, oldest first:
        it may have fifty thousand. Between two of them something may be written."""
        while rows := self._all(_OF_STRUCTURE, structure=structure, after=after, most=TOGETHER):
            yield from self._legible_bals(structure, rows)
            after = rows[-1][0]

    def suspended_bals_of(self, structure: StructureId, type: BalType) -> tuple[Bal, ...]:
        """Those of one type that wait for something or were suspended, oldest first."""
        state = BalState.SUSPENDED.value
        rows = self._all(_WAITING, structure=structure, type=type.value, state=state)
        return tuple(self._legible_bals(structure, rows))

    def count_bals_of(self, structure: StructureId) -> int:
        """How many there are, in any state."""
        row = self._one(_COUNT, structure=structure)
        return 0 if row is None else int(row[0])

    def count_open_bals_of(self, structure: StructureId) -> int:
        """How many are not closed."""
        row = self._one(_COUNT_OPEN, structure=structure, closed=BalState.CLOSED.value)
        return 0 if row is None else int(row[0])

    def _legible_bals(self, structure: StructureId, rows: list[Row]) -> Iterator[Bal]:
        for row in rows:
            if self._legible(self._master_open, bal_purpose(row[0]), row[1]) is not None:
                bal = self._opened_bal(row)
                if bal.structure == structure:
                    yield bal

    def bal_details(self, bal: BalId) -> BalDetails:
        """Its attributes beside `Bal`. Raises NoSuchBal, Damaged."""
        details = dict(self._sealed_bal(bal).get("details", {}))
        holders = tuple(details.pop("national_ids", ()))
        return BalDetails(**details, national_ids=holders)

    def _sealed_bal(self, bal: BalId) -> dict[str, Any]:
        row = self._one(_SEALED_BAL, bal=bal)
        if row is None:
            raise NoSuchBal
        opened: dict[str, Any] = json.loads(self._master_open(bal_purpose(bal), row[0]))
        return opened

    def _sought(self, statement: str, purpose: bytes, text: str) -> Row | None:
        """The row under the digest of `text`, which a rotation may just have changed.

        Who is not there is asked for again and again by one line of a bulk file (DEF-10), before
        anything is changed: that is remembered.
        """
        absent = self._absent.setdefault(table_of(statement), set())
        if (statement, text) in absent:
            return None
        for _ in range(2):
            for digest in self._vault.keys.digests(purpose, text):
                if (row := self._one(statement, digest=digest)) is not None:
                    return row
            if not self._follow_masters():
                break
        if len(absent) >= _MISSES:
            absent.clear()
        absent.add((statement, text))
        return None

    def _opened_bal(self, row: Row) -> Bal:
        """As it is now: a box of a suspended domain is suspended (OP-79)."""
        return self._standing_bal(self._stored_bal(row))

    def _standing_bal(self, bal: Bal) -> Bal:
        if bal.state is BalState.ACTIVE and bal.address.domain in self._suspended_domains():
            return replace(bal, state=BalState.SUSPENDED)
        return bal

    def _stored_bal(self, row: Row) -> Bal:
        if (known := self._vault.known.bals.get(row)) is not None:
            return known
        id, sealed, type, state, person, sent_copy, red_listed, reacts = row
        opened = json.loads(self._master_open(bal_purpose(id), sealed))
        usual, structure = opened["usual"], opened.get("structure")
        bal = Bal(
            BalId(id),
            Address.parse(opened["address"]),
            BalType(type),
            BalState(state),
            PersonState(person),
            opened["national_id"],
            Address.parse(usual) if usual else None,
            sent_copy is None or bool(sent_copy),
            None if structure is None else StructureId(structure),
            bool(red_listed),
            bool(reacts),
            bool(opened.get("exchanges", True)),
        )
        self._vault.known.bals.keep(row, bal)
        return bal


class BoxWriting(BoxReading, WritingView):
    """Making and changing them."""

    def _add_bal(self, bal: Bal, details: BalDetails, last_uid_validity: int) -> Bal:
        """Rows of a BAL and its key; `bal.id` is not looked at. What `bal_by_id` would say of it.

        Raises BalExists, NationalIdRequired (OP-37, OP-38).
        """
        if bal.type is BalType.PER and not _NATIONAL_ID.match(bal.national_id or ""):
            raise NationalIdRequired
        usual = bal.usual_address
        taken = [bal.address] if usual is None else [bal.address, usual]
        if any(self.bal(address) or self.bal_by_usual(address) for address in taken):
            raise BalExists
        if any(self.is_retired(address) for address in taken):
            raise AddressRetired
        sealed: dict[str, Any] = {
            "address": str(bal.address),
            "national_id": bal.national_id,
            "usual": None if usual is None else str(usual),
        }
        if bal.structure is not None:
            sealed["structure"] = bal.structure
        if not bal.exchanges:
            sealed["exchanges"] = False
        if details != NO_DETAILS:
            sealed["details"] = asdict(details)
        row = self._new(
            _NEW_BAL,
            digest=self._master_digest(b"address", bal.address.key),
            sealed=b"",
            type=bal.type.value,
            state=bal.state.value,
            person=bal.person.value,
            usual_digest=None if usual is None else self._master_digest(b"address", usual.key),
            last_uid_validity=last_uid_validity,
            created_at=to_us(self._vault.clock.now()),
            structure=bal.structure,
            red_listed=bal.is_red_listed or None,
        )
        octets = json.dumps(sealed).encode()
        self._run(_SEAL_BAL, bal=row[0], new=self._master_seal(bal_purpose(row[0]), octets))
        self._add_owner(bal=BalId(row[0]), domain=None)
        made = replace(bal, id=BalId(row[0]), keeps_sent=True, reacts=False)
        return self._standing_bal(made)

    def set_bal_state(self, bal: BalId, state: BalState) -> None:
        """Suspend, close or reopen. Raises NoSuchBal."""
        closed = to_us(self._vault.clock.now()) if state is BalState.CLOSED else None
        if not self._run(_SET_STATE, bal=bal, new=state.value, closed=closed):
            raise NoSuchBal
        self.effects.first.append(self._vault.lately.changed)
        self._box_changed(bal)

    def ask_sessions_of(self, structure: StructureId, after: int = 0) -> int | None:
        """Sessions that wait in boxes of the structure ask whether they still may; so many boxes at
        a time, the last of which is answered while there are more."""
        rows = self._all(_OF_STRUCTURE, structure=structure, after=after, most=TOGETHER)
        for row in rows:
            self._box_changed(BalId(row[0]))
        return int(rows[-1][0]) if len(rows) == TOGETHER else None

    def _retire(self, address: Address) -> None:
        row = self._new(
            _NEW_RETIRED,
            digest=self._master_digest(RETIRED, address.key),
            at=to_us(self._vault.clock.now()),
            sealed=b"",
        )
        sealed = self._master_seal(retired_purpose(row[0]), str(address).encode())
        self._run(_SEAL_RETIRED, retired=row[0], new=sealed)

    def set_sent_copy(self, bal: BalId, *, on: bool) -> None:
        """Whether submission files a copy in Sent (CL-80). Raises NoSuchBal."""
        if not self._run(_SET_SENT_COPY, bal=bal, new=on):
            raise NoSuchBal
        self.effects.first.append(self._vault.lately.changed)

    def set_red_listed(self, bal: BalId, *, on: bool) -> None:
        """Whether it is kept out of publication (OP-54). Raises NoSuchBal."""
        if not self._run(_SET_RED_LISTED, bal=bal, new=on):
            raise NoSuchBal
        self.effects.first.append(self._vault.lately.changed)

    def set_bal_details(self, bal: BalId, details: BalDetails) -> None:
        """Other attributes; address and type never change (OP-41). Raises NoSuchBal."""
        self._reseal_bal(bal, details=asdict(details))

    def set_exchange(self, bal: BalId, *, on: bool) -> None:
        """Open or close exchange with other operators and patients (SEED-27). Raises NoSuchBal."""
        self._reseal_bal(bal, exchanges=on)
        self._box_changed(bal)

    def set_bal_structure(self, bal: BalId, structure: StructureId | None) -> None:
        """The structure it belongs to. Raises NoSuchBal."""
        self._reseal_bal(bal, structure=structure)
        self._run(_SET_STRUCTURE, bal=bal, new=structure)

    def _set_usual(self, bal: BalId, usual: Address) -> None:
        self._reseal_bal(bal, usual=str(usual))
        digest = self._master_digest(b"address", usual.key)
        self._run(_SET_USUAL, bal=bal, new=digest)

    def _reseal_bal(self, bal: BalId, **changes: object) -> None:
        octets = json.dumps(self._sealed_bal(bal) | changes).encode()
        self._run(_SEAL_BAL, bal=bal, new=self._master_seal(bal_purpose(bal), octets))
        self.effects.first.append(self._vault.lately.changed)


def bal_purpose(bal: int) -> bytes:
    """What the sealed part of a row of `bals` is bound to."""
    return b"bal\0%d" % bal


def retired_purpose(retired: int) -> bytes:
    """The same of `retired`."""
    return b"retired\0%d" % retired
