"""The national list as it is looked up. No network, no file, no XML.

`whitelist_signature` makes one from a signed file, in a child process of the server.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields, replace
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Literal, overload

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


_SLICE = 64
"""Rows or texts between two breaths: well under a millisecond of work."""
_COLUMNS = 6


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
    rows: Sequence[Row]
    graced: tuple[Row, ...] = ()
    breathe: InitVar[Callable[[], None] | None] = None
    """Called again and again while the index is built: others may want the processor."""
    unusable: tuple[int, ...] = field(init=False)
    _numbers: Mapping[Domain, tuple[int, ...]] = field(init=False, repr=False)
    """Of the rows of each domain, one per name; those of `graced` follow those of `rows`."""
    _keys: tuple[DnKey | None, ...] = field(init=False, repr=False)
    """Of each row, those of `graced` behind the others."""
    _domains: Mapping[DnKey, frozenset[Domain]] = field(init=False, repr=False)
    _graced: frozenset[tuple[Domain, DnKey]] = field(init=False, repr=False)

    def __post_init__(self, breathe: Callable[[], None] | None) -> None:
        numbers: dict[Domain, tuple[int, ...]] = {}
        by_name: dict[DnKey, set[Domain]] = defaultdict(set)
        keys: dict[str, DnKey | None] = {}  # 8,655 rows share some 400 names
        unusable, graced, of_rows = [], [], []
        bound = chain(_compact(self.rows).bound(), _compact(self.graced).bound())
        for number, (printed, dn) in enumerate(bound):
            if breathe is not None and number % _SLICE == 0:
                breathe()
            if dn not in keys:
                keys[dn] = pki.listed_name(dn)
            name, key = _domain_key(printed), keys[dn]
            of_rows.append(key)
            if name is None or key is None:
                if number < len(self.rows):
                    unusable.append(number + 1)
            elif name not in by_name[key]:
                numbers[name] = (*numbers.get(name, ()), number)
                by_name[key].add(name)
                if number >= len(self.rows):
                    graced.append((name, key))
        object.__setattr__(self, "unusable", tuple(unusable))
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_keys", tuple(of_rows))
        object.__setattr__(self, "_domains", {n: frozenset(d) for n, d in by_name.items() if d})
        object.__setattr__(self, "_graced", frozenset(graced))

    @property
    def domains(self) -> frozenset[Domain]:
        """Every domain the signed file lists; made at each call."""
        return frozenset(d for d, rows in self._numbers.items() if rows[0] < len(self.rows))

    def _of(self, name: Domain) -> Iterator[tuple[DnKey, Row]]:
        for number in self._numbers.get(name, ()):
            signed = number < len(self.rows)
            key = self._keys[number]
            if key is not None:
                yield key, self.rows[number] if signed else self.graced[number - len(self.rows)]

    def lists(self, name: Domain) -> bool:
        """Is exactly this domain listed? A listed parent says nothing (OP-30, OP-31)."""
        return name in self._numbers

    def names(self, name: Domain) -> frozenset[DnKey]:
        """The names that may speak for this domain; empty when it is not listed."""
        keys = (self._keys[number] for number in self._numbers.get(name, ()))
        return frozenset(key for key in keys if key is not None)

    def domains_of(self, dn: DnKey) -> frozenset[Domain]:
        """The domains this name may speak for; empty when it is nowhere in the list (OP-14)."""
        return self._domains.get(dn, frozenset())

    def row(self, name: Domain, dn: DnKey) -> Row | None:
        """The first row that binds the two, for proofs."""
        return next((row for key, row in self._of(name) if key == dn), None)

    def rows_of(self, name: Domain) -> tuple[Row, ...]:
        """The rows of this domain, one per name; empty when it is not listed."""
        return tuple(row for _, row in self._of(name))

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
        """Every (domain, name) of the signed file once, with its first row, in its order."""
        for name in self._numbers:
            for key, row in self._of(name):
                if (name, key) not in self._graced:
                    yield (name, key), row


@dataclass(frozen=True)
class SignedList:
    """What one verified file says, before it is indexed. Fields as in Whitelist.

    The child that verifies hands it on as it is: who looks things up indexes it, once.
    """

    date: datetime
    sha256: str
    signer: str
    rows: Sequence[Row]

    def indexed(self, breathe: Callable[[], None] | None = None) -> Whitelist:
        """Ready to be looked things up in."""
        return Whitelist(self.date, self.sha256, self.signer, self.rows, breathe=breathe)

    def to_table(self) -> bytes:
        """Compact form for a pipe between our own processes: a head, each text once, numbers."""
        rows = _compact(self.rows)
        texts = rows.texts
        parts = [texts[at : at + _SLICE] for at in range(0, len(texts), _SLICE)]
        head = [self.date.isoformat(), self.sha256, self.signer, len(parts)]
        lines = [json.dumps(part, ensure_ascii=False).encode() for part in (head, *parts)]
        return b"\n".join([*lines, rows.numbers.tobytes()])

    @classmethod
    def from_table(cls, octets: bytes, breathe: Callable[[], None] | None = None) -> SignedList:
        """Of `to_table`, in small steps: a server has other things to do at the same time."""
        at = octets.index(b"\n")
        date, digest, signer, parts = json.loads(octets[:at])
        texts: list[str] = []
        for _ in range(parts):
            if breathe is not None:
                breathe()
            end = octets.index(b"\n", at + 1)
            texts += json.loads(octets[at + 1 : end])
            at = end
        rows = Rows(tuple(texts), array("I", octets[at + 1 :]))
        return cls(datetime.fromisoformat(date), digest, signer, rows)


class Rows(Sequence[Row]):
    """Rows made when they are looked at: each text is kept once, a row is six numbers."""

    def __init__(self, texts: tuple[str, ...], numbers: array[int]) -> None:
        self.texts, self.numbers = texts, numbers

    @classmethod
    def of(cls, cells: Iterable[str]) -> Rows:
        """Of the cells of all rows, one row after the other."""
        seen: dict[str, int] = {}
        numbers = array("I", (seen.setdefault(cell, len(seen)) for cell in cells))
        return cls(tuple(seen), numbers)

    def bound(self) -> Iterator[tuple[str, str]]:
        """Domain and name of each row, as they are printed."""
        texts, numbers = self.texts, self.numbers
        of_rows = zip(numbers[0::_COLUMNS], numbers[2::_COLUMNS], strict=True)
        return ((texts[name], texts[dn]) for name, dn in of_rows)

    def __len__(self) -> int:
        return len(self.numbers) // _COLUMNS

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        at, texts = range(len(self))[index] * _COLUMNS, self.texts
        a, b, c, d, e, f = self.numbers[at : at + _COLUMNS]
        return Row(texts[a], texts[b], texts[c], texts[d], texts[e], texts[f])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as every sequence that is compared by content


def _compact(rows: Sequence[Row]) -> Rows:
    return rows if isinstance(rows, Rows) else Rows.of(chain.from_iterable(map(_cells, rows)))


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
