"""Who administers: level, scope, and by what a door knows them (MED-16, SEED-38).

Authority is read from what is sealed under the master key; the columns only find the row, and a
certificate or a user that stands in another row than its own opens nothing (ATT-19).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import Damaged, MailError, Reply
from mssmtp.mail import AccountId, Actor, Address, AdminLevel, StructureId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.schema import administrators, sql
from mssmtp.storage.view import Row, View, WritingView

ADMINISTRATOR = b"administrator"

_COLUMNS = select(
    administrators.c.id,
    administrators.c.sealed,
    administrators.c.created_at,
    administrators.c.removed_at,
)
_BY = {
    name: sql(_COLUMNS.where(administrators.c[name] == bindparam("value")))
    for name in ("digest", "certificate", "uid")
}
_EVERY = sql(_COLUMNS.order_by(administrators.c.id))
_NEW = sql(
    insert(administrators)
    .values(
        {
            name: bindparam(name)
            for name in (
                "level",
                "structure",
                "region",
                "digest",
                "certificate",
                "uid",
                "account",
                "sealed",
                "created_at",
            )
        }
    )
    .returning(administrators.c.id)
)
_SEAL = sql(
    update(administrators)
    .where(administrators.c.id == bindparam("administrator"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("sealed", "digest", "certificate", "uid", "removed_at")
        }
    )
)


class AdministratorExists(MailError):
    """The name, the certificate or the user is another administrator's."""

    smtp = Reply(
        550,
        "5.1.1",
        "Ce nom, ce certificat ou cet utilisateur a déjà un administrateur ; retirez-le d'abord.",
    )
    imap = "ALREADYEXISTS"


@dataclass(frozen=True, slots=True)
class Administrator:
    """One person who administers. `certificate`: SHA-256 in hex of what the TLS door is shown;
    `uid`: the user of this machine whom the socket door lets in; `address` for notices."""

    actor: Actor
    address: Address | None = None
    certificate: str | None = None
    uid: int | None = None
    id: int = 0
    created_at: datetime | None = None
    removed_at: datetime | None = None


class AdministratorReading(View):
    """Who they are."""

    def administrator(self, name: str) -> Administrator | None:
        """By name; None when removed."""
        for digest in self._master_digests(ADMINISTRATOR, name.casefold()):
            row = self._one(_BY["digest"], value=digest)
            if row is not None:
                found = self._opened_administrator(row)
                if found.actor.name.casefold() != name.casefold():
                    raise Damaged("an administrator stands under another name")
                return found if found.removed_at is None else None
        return None

    def administrator_of_certificate(self, sha256: str) -> Administrator | None:
        """Whose certificate it is; None: nobody's who is in office."""
        row = self._one(_BY["certificate"], value=bytes.fromhex(sha256))
        found = self._opened_administrator(row) if row else None
        return found if found is not None and found.certificate == sha256 else None

    def administrator_of_uid(self, uid: int) -> Administrator | None:
        """Whom the user of this machine is."""
        row = self._one(_BY["uid"], value=uid)
        found = self._opened_administrator(row) if row else None
        return found if found is not None and found.uid == uid else None

    def administrators(self) -> tuple[Administrator, ...]:
        """All in office that can be read, oldest first."""
        found = (
            self._opened_administrator(row)
            for row in self._all(_EVERY)
            if self._legible(self._master_open, administrator_purpose(row[0]), row[1]) is not None
        )
        return tuple(each for each in found if each.removed_at is None)

    def _opened_administrator(self, row: Row) -> Administrator:
        id, sealed, created_at, removed_at = row
        opened: dict[str, Any] = json.loads(self._master_open(administrator_purpose(id), sealed))
        structure, account = opened["structure"], opened["account"]
        actor = Actor(
            AdminLevel(opened["level"]),
            opened["name"],
            opened["region"],
            None if structure is None else StructureId(structure),
            None if account is None else AccountId(account),
        )
        address = opened["address"]
        is_out = removed_at is not None or opened["removed"]
        return Administrator(
            actor,
            None if address is None else Address.parse(address),
            opened["certificate"],
            opened["uid"],
            id,
            from_us(created_at),
            from_us(removed_at or created_at) if is_out else None,
        )


class AdministratorWriting(AdministratorReading, WritingView):
    """Taking office and leaving it."""

    def add_administrator(self, new: Administrator) -> Administrator:
        """`new` in office; its id is not looked at. Raises AdministratorExists."""
        actor = new.actor
        if (
            self.administrator(actor.name) is not None
            or (new.certificate and self._one(_BY["certificate"], value=_octets(new.certificate)))
            or (new.uid is not None and self._one(_BY["uid"], value=new.uid))
        ):
            raise AdministratorExists
        row = self._new(
            _NEW,
            level=actor.level.value,
            structure=actor.structure,
            region=actor.region,
            digest=self._master_digest(ADMINISTRATOR, actor.name.casefold()),
            certificate=_octets(new.certificate) if new.certificate else None,
            uid=new.uid,
            account=actor.account,
            sealed=b"",
            created_at=to_us(self._vault.clock.now()),
        )
        made = replace(new, id=row[0])
        self._seal_administrator(made, removed_at=None)
        return made

    def remove_administrator(self, gone: Administrator) -> None:
        """Out of office at once; the row stays for the traces, its name is free again."""
        left = replace(gone, certificate=None, uid=None)
        self._seal_administrator(left, removed_at=to_us(self._vault.clock.now()))

    def _seal_administrator(self, one: Administrator, *, removed_at: int | None) -> None:
        actor = one.actor
        octets = json.dumps(
            {
                "name": actor.name,
                "level": actor.level.value,
                "region": actor.region,
                "structure": actor.structure,
                "account": actor.account,
                "address": None if one.address is None else str(one.address),
                "certificate": one.certificate,
                "uid": one.uid,
                # Sealed too: who writes to the database alone brings nobody back.
                "removed": removed_at is not None,
                "id": one.id,
            }
        ).encode()
        self._run(
            _SEAL,
            administrator=one.id,
            new_sealed=self._master_seal(administrator_purpose(one.id), octets),
            new_digest=self._master_digest(ADMINISTRATOR, administrator_label(octets)),
            new_certificate=_octets(one.certificate) if one.certificate else None,
            new_uid=one.uid,
            new_removed_at=removed_at,
        )


def administrator_label(opened: bytes) -> str:
    """What the digest of a row is of: the name while in office, then a text nobody can bear."""
    found = json.loads(opened)
    name: str = found["name"].casefold()
    return f"\0{found['id']}" if found["removed"] else name


def _octets(fingerprint: str) -> bytes:
    return bytes.fromhex(fingerprint)


def administrator_purpose(administrator: int) -> bytes:
    """What the sealed part of a row of `administrators` is bound to."""
    return b"administrator\0%d" % administrator
