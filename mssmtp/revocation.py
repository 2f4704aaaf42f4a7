"""What is known of revocations: CRLs and OCSP answers, checked, small and quick to ask (OP-09).

A CRL is read once. What stays of it is its dates, its scope and the serial numbers: 100,000
entries are 2 MB here, and 20 MB or more as OpenSSL keeps them. No network; time is a parameter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mssmtp import ocsp, pki
from mssmtp.ocsp import BadAnswer, Verdict
from mssmtp.pki import DER, HASHES, UNREADABLE, Anchors, CertificateRefused, Role, serial_text

MAX_ANSWERS = 4_096
_MAX_PATH = 8

Span = tuple[datetime, datetime]
"""From the first moment to, not including, the second."""


class BadRevocationList(Exception):
    """A CRL that is not one of our authorities', or not readable, or without an end."""


# ---------------------------------------------------------------- one CRL


@dataclass(frozen=True, slots=True)
class Scope:
    """Which certificates of its authority a CRL speaks of (RFC 5280 5.2.5); usually all."""

    only_users: bool = False
    only_authorities: bool = False
    points: frozenset[str] = frozenset()

    def covers(self, certificate: x509.Certificate) -> bool:
        """Is `certificate` one it would list, were it revoked?"""
        if self.only_users or self.only_authorities:
            basic = pki.extension(certificate, x509.BasicConstraints)
            is_authority = basic is not None and basic.ca
            if self.only_authorities != is_authority:
                return False
        return not self.points or not self.points.isdisjoint(_points_of(certificate))


@dataclass(frozen=True, slots=True, eq=False)
class Crl:
    """One CRL as it is looked up; its signature, by `authority`, was checked."""

    authority: x509.Certificate
    number: int
    this_update: datetime
    next_update: datetime
    scope: Scope
    width: int
    serials: bytes
    """Sorted as octets; each in `width` octets, signed, big end first."""

    @property
    def issuer(self) -> x509.Name:
        """Name of the authority."""
        return self.authority.subject

    @property
    def count(self) -> int:
        """How many certificates it lists."""
        return len(self.serials) // self.width

    def lists(self, serial: int) -> bool:
        """Is it revoked?"""
        width, serials = self.width, self.serials
        if _octets_of(serial) > width:
            return False
        wanted = serial.to_bytes(width, "big", signed=True)
        low, high = 0, len(serials) // width
        while low < high:
            middle = (low + high) // 2
            if serials[middle * width : (middle + 1) * width] < wanted:
                low = middle + 1
            else:
                high = middle
        return serials[low * width : (low + 1) * width] == wanted

    @property
    def order(self) -> tuple[int, datetime]:
        """Sorts CRLs of one authority from old to new (RFC 5280 5.2.3)."""
        return self.number, self.this_update

    def is_in_date(self, now: datetime) -> bool:
        """It has begun and not ended: what it does not list is good."""
        return self.this_update <= now < self.next_update


def read_crls(octets: bytes, anchors: Anchors) -> tuple[Crl, ...]:
    """The CRLs of one file, PEM (one or more) or DER (one), signed by `anchors`.

    A delta CRL (RFC 5280 5.2.4) is left out: the whole one beside it holds until its own end. So
    is the address of deltas in a whole one (5.2.6). Raises BadRevocationList: not readable, of
    another authority, without end or number, weak, indirect, of a part only, or nothing left.
    """
    try:
        if octets.lstrip().startswith(b"-----BEGIN"):
            loaded = [x509.load_pem_x509_crl(part) for part in _pem_parts(octets)]
        else:
            loaded = [x509.load_der_x509_crl(octets)]
        if not loaded:
            raise BadRevocationList("empty")
        crls = tuple(_checked(crl, anchors) for crl in loaded if not _is_delta(crl))
    except UNREADABLE as error:
        raise BadRevocationList("not readable") from error
    if not crls:
        raise BadRevocationList("delta without the whole")
    return crls


def _pem_parts(octets: bytes) -> list[bytes]:
    end = b"-----END X509 CRL-----"
    return [part + end for part in octets.split(end)[:-1]]


def _is_delta(crl: x509.CertificateRevocationList) -> bool:
    # Critical or not: what is meant as a delta and taken as the whole would pardon everybody.
    return any(isinstance(each.value, x509.DeltaCRLIndicator) for each in crl.extensions)


def _checked(crl: x509.CertificateRevocationList, anchors: Anchors) -> Crl:
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    if crl.next_update_utc is None:
        raise BadRevocationList("without an end")
    if not isinstance(crl.signature_hash_algorithm, HASHES):
        raise BadRevocationList("weak signature")
    if not crl.public_bytes(DER).endswith(b"\0" + crl.signature):
        # The one octet no signature covers counts unused bits. OpenSSL takes only 0, and so do we:
        # whoever sits on the way must not make two files of one (OP-09).
        raise BadRevocationList("unused bits in the signature")
    authority = _signer(crl, anchors)
    # What it lists is revoked, whatever an extension of the entry adds to it.
    numbers = [entry.serial_number for entry in crl]
    width = max(map(_octets_of, numbers), default=1)
    serials = b"".join(sorted(n.to_bytes(width, "big", signed=True) for n in numbers))
    begins, ends = crl.last_update_utc, crl.next_update_utc
    return Crl(authority, number, begins, ends, _scope(crl), width, serials)


def _octets_of(serial: int) -> int:
    # Of either sign: RFC 5280 4.1.2.2 asks to cope with what some authority has let slip.
    return serial.bit_length() // 8 + 1


def _scope(crl: x509.CertificateRevocationList) -> Scope:
    found = Scope()
    for each in crl.extensions:
        scope = each.value
        if isinstance(scope, x509.IssuingDistributionPoint):
            if (
                scope.indirect_crl
                or scope.only_some_reasons
                or scope.only_contains_attribute_certs
                or scope.relative_name is not None
            ):
                raise BadRevocationList("indirect or of a part only")
            users, authorities = scope.only_contains_user_certs, scope.only_contains_ca_certs
            found = Scope(users, authorities, _texts(scope.full_name))
        elif each.critical:
            raise BadRevocationList("of an unknown kind")
    return found


def _texts(names: Iterable[x509.GeneralName] | None) -> frozenset[str]:
    return frozenset(f"{type(name).__name__}:{name.value}" for name in names or ())


def _points_of(certificate: x509.Certificate) -> frozenset[str]:
    """Where the certificate says that its whole revocation status is published."""
    points = pki.extension(certificate, x509.CRLDistributionPoints) or ()
    whole = [p for p in points if not p.reasons and not p.crl_issuer]
    return frozenset[str]().union(*(_texts(point.full_name) for point in whole))


def _signer(crl: x509.CertificateRevocationList, anchors: Anchors) -> x509.Certificate:
    for authority in anchors.certificates:
        key = authority.public_key()
        usage = pki.extension(authority, x509.KeyUsage)
        if (
            authority.subject == crl.issuer
            and (usage is None or usage.crl_sign)
            and isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
            and crl.is_signature_valid(key)
        ):
            return authority
    raise BadRevocationList("not signed by our authorities")


# ---------------------------------------------------------------- all that is known


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one certificate now, and how long that holds."""

    verdict: Verdict
    holds: Span | None = None


_UNKNOWN = Status("unknown")


@dataclass(frozen=True, eq=False)
class Revocation:
    """The CRLs in force, of each authority and scope the newest, and answers of responders.

    Whichever says revoked wins, even past its end.
    """

    crls: tuple[Crl, ...]
    answers: Mapping[x509.Certificate, ocsp.Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[bytes], anchors: Anchors) -> Revocation:
        """CRLs from PEM or DER octets. Raises BadRevocationList."""
        return cls.newest(crl for octets in files for crl in read_crls(octets, anchors))

    @classmethod
    def newest(cls, crls: Iterable[Crl]) -> Revocation:
        """Of one authority and scope the highest number counts."""
        newest: dict[tuple[x509.Certificate, Scope], Crl] = {}
        for crl in crls:
            known = newest.get((crl.authority, crl.scope))
            if known is None or crl.order > known.order:
                newest[(crl.authority, crl.scope)] = crl
        return cls(tuple(newest.values()))

    @cached_property
    def next_update(self) -> datetime | None:
        """When the first of the CRLs ends; None without any."""
        return min((crl.next_update for crl in self.crls), default=None)

    def number(self, issuer: x509.Name) -> int | None:
        """The CRL number of `issuer`, for the trace (OP-74)."""
        return max((crl.number for crl in self.crls if crl.issuer == issuer), default=None)

    def held(self, like: Crl) -> Crl | None:
        """The CRL in force of the same authority and scope."""
        for crl in self.crls:
            if (crl.authority, crl.scope) == (like.authority, like.scope):
                return crl
        return None

    def status(
        self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime
    ) -> Status:
        """What CRLs and answers say of a certificate of `issuer`."""
        answer = self.answers.get(certificate) if self.answers else None
        if answer is not None and answer.verdict == "revoked":
            return Status("revoked")
        found = _UNKNOWN
        for crl in self.crls:
            if crl.authority != issuer:
                continue
            if crl.lists(certificate.serial_number):
                return Status("revoked")
            if crl.is_in_date(now) and crl.scope.covers(certificate):
                found = Status("good", (crl.this_update, crl.next_update))
        if found is _UNKNOWN and answer is not None and answer.verdict == "good":
            span = (answer.this_update, answer.next_update)
            if span[0] <= now < span[1]:
                found = Status("good", span)
        return found

    def learn(
        self,
        octets: bytes,
        path: tuple[x509.Certificate, x509.Certificate],
        now: datetime,
        *,
        nonce: bytes | None = None,
    ) -> Revocation:
        """With an OCSP answer about `path[0]`, a certificate of `path[1]`. Raises BadAnswer.

        The same object when nothing is new: a revocation is never taken back by an answer.
        """
        certificate, issuer = path
        answer = ocsp.read(octets, certificate, issuer, now, nonce=nonce)
        signer = answer.delegate
        if signer is not None and self.status(signer, issuer, now).verdict != "good":
            raise BadAnswer("signer revoked, or nobody knows")
        known = self.answers.get(certificate)
        if known is not None and (
            known.verdict == "revoked"
            or (answer.verdict != "revoked" and known.this_update >= answer.this_update)
        ):
            return self
        kept = dict(self.answers)
        if len(kept) >= MAX_ANSWERS:
            kept = {c: a for c, a in kept.items() if a.verdict == "revoked"}
        return Revocation(self.crls, kept | {certificate: answer})

    def with_answers_of(self, other: Revocation | None) -> Revocation:
        """These CRLs, and the answers `other` has learnt."""
        if other is None or not other.answers:
            return self
        return Revocation(self.crls, other.answers)

    def to_table(self, anchors: Anchors) -> tuple[bytes, bytes]:
        """The CRLs for a child process of ours: a line of JSON, and the serial numbers."""
        head = [
            [
                anchors.certificates.index(crl.authority),
                crl.number,
                crl.this_update.isoformat(),
                crl.next_update.isoformat(),
                [crl.scope.only_users, crl.scope.only_authorities, sorted(crl.scope.points)],
                crl.width,
                len(crl.serials),
            ]
            for crl in self.crls
        ]
        return json.dumps(head).encode(), b"".join(crl.serials for crl in self.crls)

    @classmethod
    def from_table(cls, table: tuple[bytes, bytes], anchors: Anchors) -> Revocation:
        """Of `to_table`."""
        crls, at = [], 0
        for index, number, begins, ends, (users, authorities, points), width, size in json.loads(
            table[0]
        ):
            scope = Scope(users, authorities, frozenset(points))
            dates = datetime.fromisoformat(begins), datetime.fromisoformat(ends)
            serials = table[1][at : at + size]
            at += size
            crls.append(Crl(anchors.certificates[index], number, *dates, scope, width, serials))
        return cls(tuple(crls))


# ---------------------------------------------------------------- the judgement


def judge_chain(
    chain: Sequence[x509.Certificate],
    anchors: Anchors,
    revocation: Revocation | None,
    role: Role,
    now: datetime,
    *,
    require_eku: bool = False,
) -> Span:
    """Accept the peer's certificate `chain[0]` or raise CertificateRefused (OP-08).

    The order is that of docs/trust.md: no certificate, then chain, dates, usages, revoked, and
    only then an unusable CRL, which defers. Issuers sent by the peer are never used: the only
    path is from the leaf to our own intermediate and root (OP-07). Returns when this holds.
    """
    if not chain:
        raise CertificateRefused("no certificate")
    leaf = chain[0]
    try:
        pki.certificate_name(leaf.subject)  # must be readable: the caller compares it
        pki.judge_certificate(leaf, anchors, role, now, require_eku=require_eku)
        return judge_revocation(leaf, anchors, revocation, now)
    except UNREADABLE as error:
        # The certificate parses lazily: what cannot be read is refused, never skipped.
        raise CertificateRefused("chain", serial_text(leaf)) from error


def judge_revocation(
    leaf: x509.Certificate, anchors: Anchors, revocation: Revocation | None, now: datetime
) -> Span:
    """Refuse a revoked certificate; defer when the status of one of the path is not known.

    Returns the span in which all of the path is in date and known to be good.
    """
    serial = serial_text(leaf)
    if revocation is None:
        raise CertificateRefused("revocation unknown", serial)
    path = path_of(leaf, anchors)
    statuses = [revocation.status(each, issuer, now) for each, issuer in path]
    if any(status.verdict == "revoked" for status in statuses):
        raise CertificateRefused("revoked", serial)
    spans = [status.holds for status in statuses if status.holds is not None]
    if not path or len(spans) < len(path):
        raise CertificateRefused("revocation unknown", serial)
    certificates = [leaf, *(issuer for _, issuer in path)]
    return (
        max(*(c.not_valid_before_utc for c in certificates), *(begins for begins, _ in spans)),
        min(*(c.not_valid_after_utc for c in certificates), *(ends for _, ends in spans)),
    )


def path_of(
    leaf: x509.Certificate, anchors: Anchors
) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
    """Each certificate whose status counts, with its issuer, from the leaf to below the root.

    Empty when it leads to no root of ours.
    """
    path: list[tuple[x509.Certificate, x509.Certificate]] = []
    for _ in range(_MAX_PATH):
        issuer = anchors.issuer_of(leaf)
        if issuer is None:
            break
        if issuer == leaf:
            return tuple(path)
        path.append((leaf, issuer))
        leaf = issuer
    return ()
