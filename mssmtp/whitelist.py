"""The national list as it is looked up. No network, no file, no XML (whitelist.md §1, §5).

`whitelist_signature` makes one from a signed file, in a child process of the server.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Literal

import idna

from mssmtp import pki
from mssmtp.errors import BadAddress, NonAsciiAddress
from mssmtp.mail import DnKey, Domain, domain
from mssmtp.revocation import Revocation

NAMESPACE = "https://listeblanche.mssante.fr/schema"
DS = "http://www.w3.org/2000/09/xmldsig#"

# ---------------------------------------------------------------- the list in memory


@dataclass(frozen=True, slots=True)
class Row:
    """One `Domaine` as the list prints it, in the order of its six columns (OP-35)."""

    domain: str
    description: str
    dn: str
    responsible: str
    support: str
    updated: str


_cells = attrgetter(*(column.name for column in fields(Row)))


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to call when delivery to a domain fails (OP-80)."""

    responsible: str
    support: str


@dataclass(frozen=True, eq=False)
class Whitelist:
    """One accepted list: domain -> names and back, compared as RDN sequences (OP-30 to OP-33).

    `date` is DateDeGeneration, `sha256` the digest of the signed file, `signer` the printed subject
    and serial of its signer. Entries that can never match are in `unusable`, by row number.
    `graced` are rows of earlier lists that are still valid though this one leaves them out (OP-34).
    """

    date: datetime
    sha256: str
    signer: str
    rows: tuple[Row, ...]
    graced: tuple[Row, ...] = ()
    domains: frozenset[Domain] = field(init=False, repr=False)
    """Every domain the signed file lists."""
    unusable: tuple[int, ...] = field(init=False)
    _rows: Mapping[Domain, Mapping[DnKey, Row]] = field(init=False, repr=False)
    _names: Mapping[Domain, frozenset[DnKey]] = field(init=False, repr=False)
    _domains: Mapping[DnKey, frozenset[Domain]] = field(init=False, repr=False)
    _graced: frozenset[tuple[Domain, DnKey]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_domain: dict[Domain, dict[DnKey, Row]] = {}
        by_name: dict[DnKey, set[Domain]] = defaultdict(set)
        unusable, graced = [], []
        for number, (row, pair) in enumerate(zip(self.rows, _pairs(self.rows), strict=True), 1):
            if pair is None:
                unusable.append(number)
                continue
            name, key = pair
            by_domain.setdefault(name, {}).setdefault(key, row)
            by_name[key].add(name)
        object.__setattr__(self, "domains", frozenset(by_domain))
        for row, pair in zip(self.graced, _pairs(self.graced), strict=True):
            if pair is not None and pair[1] not in by_domain.get(pair[0], {}):
                by_domain.setdefault(pair[0], {})[pair[1]] = row
                by_name[pair[1]].add(pair[0])
                graced.append(pair)
        object.__setattr__(self, "unusable", tuple(unusable))
        object.__setattr__(self, "_rows", by_domain)
        object.__setattr__(self, "_names", {d: frozenset(by_domain[d]) for d in by_domain})
        object.__setattr__(self, "_domains", {n: frozenset(d) for n, d in by_name.items()})
        object.__setattr__(self, "_graced", frozenset(graced))

    def lists(self, name: Domain) -> bool:
        """Is exactly this domain listed? A listed parent says nothing (OP-30, OP-31)."""
        return name in self._rows

    def names(self, name: Domain) -> frozenset[DnKey]:
        """The names that may speak for this domain; empty when it is not listed."""
        return self._names.get(name, frozenset())

    def domains_of(self, dn: DnKey) -> frozenset[Domain]:
        """The domains this name may speak for; empty when it is nowhere in the list (OP-14)."""
        return self._domains.get(dn, frozenset())

    def row(self, name: Domain, dn: DnKey) -> Row | None:
        """The first row that binds the two, for proofs."""
        return self._rows.get(name, {}).get(dn)

    def rows_of(self, name: Domain) -> tuple[Row, ...]:
        """The rows of this domain, one per name; empty when it is not listed."""
        return tuple(self._rows.get(name, {}).values())

    def contact(self, name: Domain) -> Contact | None:
        """Contacts of all rows of the domain, each text once; None when it is not listed."""
        rows = self.rows_of(name)
        if not rows:
            return None
        texts = ((row.responsible for row in rows), (row.support for row in rows))
        return Contact(*(" / ".join(dict.fromkeys(each)) for each in texts))

    def is_graced(self, name: Domain, dn: DnKey) -> bool:
        """Do the two belong together only because an earlier list said so (OP-34)?"""
        return (name, dn) in self._graced

    def with_grace(self, earlier: Iterable[Whitelist]) -> Whitelist:
        """This list, in which what `earlier` ones bound is valid too (OP-34)."""
        gone = {
            pair: row
            for listed in earlier
            for pair, row in listed.bindings()
            if pair[1] not in self.names(pair[0])
        }
        return replace(self, graced=tuple(gone.values())) if gone else self

    def without_grace(self) -> Whitelist:
        """The signed file alone."""
        return replace(self, graced=()) if self.graced else self

    def bindings(self) -> Iterator[tuple[tuple[Domain, DnKey], Row]]:
        """Every (domain, name) of the signed file once, with its first row."""
        for name in self.domains:
            for key, row in self._rows[name].items():
                if (name, key) not in self._graced:
                    yield (name, key), row

    def to_table(self) -> bytes:
        """Compact form for a pipe between our own processes."""
        rows = [_cells(row) for row in self.rows]
        table = [self.date.isoformat(), self.sha256, self.signer, rows]
        return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_table(cls, octets: bytes) -> Whitelist:
        """Of `to_table`; texts that repeat are kept once."""
        date, digest, signer, rows = json.loads(octets)
        seen: dict[str, str] = {}
        return cls(
            datetime.fromisoformat(date),
            digest,
            signer,
            tuple(Row(*(seen.setdefault(cell, cell) for cell in row)) for row in rows),
        )


def _pairs(rows: Iterable[Row]) -> Iterator[tuple[Domain, DnKey] | None]:
    """What each row binds; None where it can never match."""
    keys: dict[str, DnKey | None] = {}  # 8,655 rows share some 400 names
    for row in rows:
        if row.dn not in keys:
            keys[row.dn] = pki.listed_name(row.dn)
        name, key = _domain_key(row.domain), keys[row.dn]
        yield None if name is None or key is None else (name, key)


def _domain_key(text: str) -> Domain | None:
    """Trim, IDNA, case folding (OP-30); None when it is no domain at all."""
    try:
        return domain(text)
    except NonAsciiAddress:
        try:
            return domain(idna.encode(text.strip(), uts46=True).decode("ascii"))
        except (idna.IDNAError, BadAddress):
            return None
    except BadAddress:
        return None


# ---------------------------------------------------------------- what verification may say

RefusalReason = Literal[
    "too big",
    "not XML",
    "DTD or entity",
    "root",
    "signature count",
    "signature profile",
    "signature",
    "signer",
    "signer certificate",
    "shape",
    "older than the list in force",
    "same date, other content",
    "dated in the future",
    "no verification",
]


class ListRefused(Exception):
    """The list is not used and the previous one stays (OP-28). `reason` is for log and alarm."""

    def __init__(self, reason: RefusalReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: RefusalReason = reason
        self.detail = detail


@dataclass(frozen=True)
class ListRules:
    """What a list is checked against: pinned signer (OP-25), authorities, CRLs, size."""

    pin: str
    anchors: pki.Anchors
    revocation: Revocation | None
    max_octets: int
