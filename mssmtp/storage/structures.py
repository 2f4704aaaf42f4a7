"""Structures, the domains they control, and the dated records of everybody.

What an index needs stands in clear; what is believed is sealed under the master key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import Domain, Structure, StructureId
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.people_values import (
    NoSuchStructure,
    Record,
    ServedDomain,
    StructureExists,
    Subject,
)
from mssmtp.storage.schema import domains, records, sql, structures
from mssmtp.storage.view import Row, View, WritingView

FINESS, SIRET = b"finess", b"siret"

_STRUCTURE = select(structures.c.id, structures.c.sealed, structures.c.closed_at)
_BY_ID = sql(_STRUCTURE.where(structures.c.id == bindparam("id")))
_BY_NUMBER = {
    FINESS: sql(_STRUCTURE.where(structures.c.finess_digest == bindparam("digest"))),
    SIRET: sql(_STRUCTURE.where(structures.c.siret_digest == bindparam("digest"))),
}
_ALL = sql(_STRUCTURE.order_by(structures.c.id))
_OF_REGION = sql(
    _STRUCTURE.where(structures.c.region == bindparam("region")).order_by(structures.c.id)
)
_NEW = sql(
    insert(structures)
    .values({name: bindparam(name) for name in ("region", "sealed", "created_at")})
    .returning(structures.c.id)
)
_SEAL = sql(
    update(structures)
    .where(structures.c.id == bindparam("structure"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("sealed", "region", "domain", "finess_digest", "siret_digest", "closed_at")
        }
    )
)
_DOMAIN = select(domains.c.domain, domains.c.requested_at, domains.c.sealed)
_A_DOMAIN = sql(_DOMAIN.where(domains.c.domain == bindparam("domain")))
_DOMAINS = sql(_DOMAIN.order_by(domains.c.domain))
_DOMAINS_OF = sql(
    _DOMAIN.where(domains.c.structure == bindparam("structure")).order_by(domains.c.domain)
)
_NEW_DOMAIN = sql(insert(domains))
_SEAL_DOMAIN = sql(
    update(domains)
    .where(domains.c.domain == bindparam("name"))
    .values(structure=bindparam("new_structure"), sealed=bindparam("new"))
)
_RECORDS = sql(
    select(records.c.id, records.c.sealed)
    .where(records.c.subject == bindparam("subject"))
    .where(records.c.subject_id == bindparam("subject_id"))
    .order_by(records.c.id)
)
_NEW_RECORD = sql(
    insert(records)
    .values(
        {
            name: bindparam(name)
            for name in ("subject", "subject_id", "kind", "at", "ends_at", "created_at", "sealed")
        }
    )
    .returning(records.c.id)
)
_SEAL_RECORD = sql(
    update(records).where(records.c.id == bindparam("record")).values(sealed=bindparam("new"))
)


class StructureReading(View):
    """Which structures there are, what they control, what was declared."""

    def structure(self, id: StructureId) -> Structure | None:
        """The structure with this id, closed or not. Raises Damaged."""
        row = self._one(_BY_ID, id=id)
        return self._opened_structure(row) if row else None

    def structure_by_number(self, number: str) -> Structure | None:
        """The structure with this FINESS, SIRET or SIREN."""
        kind = FINESS if len(number) == 9 else SIRET
        return self._structure_under(kind, number) or (
            self._structure_under(SIRET, number) if kind is FINESS else None
        )

    def structures(self, region: str | None = None) -> tuple[Structure, ...]:
        """All that can be read, or those of one region, oldest first."""
        rows = self._all(_ALL) if region is None else self._all(_OF_REGION, region=region)
        found = (
            self._opened_structure(row)
            for row in rows
            if self._legible(self._master_open, structure_purpose(row[0]), row[1]) is not None
        )
        return tuple(each for each in found if region in (None, each.region))

    def served_domain(self, domain: Domain) -> ServedDomain | None:
        """Who controls `domain`; None: nobody was recorded, so the operator does."""
        row = self._one(_A_DOMAIN, domain=domain)
        return self._opened_domain(row) if row else None

    def served_domains(self, structure: StructureId | None = None) -> tuple[ServedDomain, ...]:
        """Every recorded domain, or those that a structure controls."""
        if structure is None:
            return tuple(self._opened_domain(row) for row in self._all(_DOMAINS))
        found = (self._opened_domain(row) for row in self._all(_DOMAINS_OF, structure=structure))
        return tuple(each for each in found if each.structure == structure)

    def records(self, subject: Subject, id: int) -> dict[str, Record]:
        """By kind, the newest of each; what is damaged is left out, and a line in the log."""
        found: dict[str, Record] = {}
        for number, sealed in self._all(_RECORDS, subject=subject, subject_id=id):
            purpose = record_purpose(number, subject, id)
            octets = self._legible(self._master_open, purpose, sealed)
            if octets is not None:
                record = _record(json.loads(octets))
                found[record.kind] = record
        return found

    def _structure_under(self, kind: bytes, number: str) -> Structure | None:
        for digest in self._master_digests(kind, number):
            if (row := self._one(_BY_NUMBER[kind], digest=digest)) is not None:
                found = self._opened_structure(row)
                if number not in (found.finess, found.siret):
                    raise Damaged("a structure stands under another number")
                return found
        return None

    def _opened_structure(self, row: Row) -> Structure:
        if (known := self._vault.known.structures.get(row)) is not None:
            return known
        id, sealed, closed_at = row
        opened = json.loads(self._master_open(structure_purpose(id), sealed))
        domain = opened.pop("domain")
        structure = Structure(
            StructureId(id),
            domain=None if domain is None else Domain(domain),
            is_closed=closed_at is not None,
            **opened,
        )
        self._vault.known.structures.keep(row, structure)
        return structure

    def _opened_domain(self, row: Row) -> ServedDomain:
        name, requested_at, sealed = row
        opened = json.loads(self._master_open(domain_purpose(name), sealed))
        structure = opened["structure"]
        return ServedDomain(
            Domain(name),
            None if structure is None else StructureId(structure),
            opened["generic"],
            opened["purpose"],
            from_us(requested_at),
        )


class StructureWriting(StructureReading, WritingView):
    """Changes of them."""

    def create_structure(self, new: Structure) -> Structure:
        """`new` with its own id; the id it comes with is not looked at. Raises StructureExists."""
        self._require_free(new, None)
        now = to_us(self._vault.clock.now())
        row = self._new(_NEW, region=new.region, sealed=b"", created_at=now)
        self._seal_structure(StructureId(row[0]), new, None)
        made = self.structure(StructureId(row[0]))
        if made is None:
            raise NoSuchStructure
        return made

    def change_structure(self, structure: Structure) -> None:
        """Everything about it but its id. Raises NoSuchStructure, StructureExists."""
        before = self._one(_BY_ID, id=structure.id)
        if before is None:
            raise NoSuchStructure
        self._require_free(structure, structure.id)
        now = to_us(self._vault.clock.now())
        closed_at = (before[2] or now) if structure.is_closed else None
        self._seal_structure(structure.id, structure, closed_at)

    def put_domain(self, served: ServedDomain) -> None:
        """Record who controls a domain, in the place of what was recorded before."""
        octets = json.dumps(
            {
                "structure": served.structure,
                "generic": served.is_generic,
                "purpose": served.purpose,
            }
        ).encode()
        sealed = self._master_seal(domain_purpose(served.domain), octets)
        changed = self._run(
            _SEAL_DOMAIN, name=served.domain, new_structure=served.structure, new=sealed
        )
        if not changed:
            self._run(
                _NEW_DOMAIN,
                domain=served.domain,
                structure=served.structure,
                requested_at=to_us(served.requested_at or self._vault.clock.now()),
                sealed=sealed,
            )

    def add_record(self, subject: Subject, id: int, record: Record) -> None:
        """One more; from now on it is the one of its kind that counts."""
        row = self._new(
            _NEW_RECORD,
            subject=subject,
            subject_id=id,
            kind=record.kind,
            at=to_us(record.at),
            ends_at=None if record.ends_at is None else to_us(record.ends_at),
            created_at=to_us(self._vault.clock.now()),
            sealed=b"",
        )
        octets = json.dumps(
            {
                "kind": record.kind,
                "at": to_us(record.at),
                "ends_at": None if record.ends_at is None else to_us(record.ends_at),
                "values": dict(record.values),
            }
        ).encode()
        sealed = self._master_seal(record_purpose(row[0], subject, id), octets)
        self._run(_SEAL_RECORD, record=row[0], new=sealed)

    def _require_free(self, wanted: Structure, own: StructureId | None) -> None:
        for kind, number in _numbers(wanted):
            found = self._structure_under(kind, number)
            if found is not None and found.id != own:
                raise StructureExists

    def _seal_structure(self, id: StructureId, wanted: Structure, closed_at: int | None) -> None:
        octets = json.dumps(
            {
                "name": wanted.name,
                "finess": wanted.finess,
                "siret": wanted.siret,
                "region": wanted.region,
                "domain": wanted.domain,
                "is_health_establishment": wanted.is_health_establishment,
                "invites": wanted.invites,
                "has_app_passwords": wanted.has_app_passwords,
            }
        ).encode()
        digests = {kind: self._master_digest(kind, text) for kind, text in _numbers(wanted)}
        self._run(
            _SEAL,
            structure=id,
            new_sealed=self._master_seal(structure_purpose(id), octets),
            new_region=wanted.region,
            new_domain=wanted.domain,
            new_finess_digest=digests.get(FINESS),
            new_siret_digest=digests.get(SIRET),
            new_closed_at=closed_at,
        )


def _numbers(structure: Structure) -> Iterable[tuple[bytes, str]]:
    if structure.finess:
        yield FINESS, structure.finess
    if structure.siret:
        yield SIRET, structure.siret


def _record(opened: dict[str, Any]) -> Record:
    ends_at = opened["ends_at"]
    at: datetime = from_us(opened["at"])
    return Record(
        opened["kind"], at, opened["values"], None if ends_at is None else from_us(ends_at)
    )


def structure_purpose(structure: int) -> bytes:
    """What the sealed part of a row of `structures` is bound to."""
    return b"structure\0%d" % structure


def domain_purpose(domain: str) -> bytes:
    """The same of `domains`."""
    return b"served\0" + domain.encode()


def record_purpose(record: int, subject: str, id: int) -> bytes:
    """The same of `records`: about whom it is, is bound too."""
    return b"record\0%d\0%b\0%d" % (record, subject.encode(), id)
