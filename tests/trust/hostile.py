"""What is done with hostile octets, by target: judged or refused by the room's own exception.

Signed things are changed below their signature and signed again with the right key: otherwise
nothing behind the signature would ever see a changed octet.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as x509_ocsp

from mssmtp import ocsp, whitelist_signature
from mssmtp.demo.authority import Authority, render, row, sign
from mssmtp.mail import domain
from mssmtp.pki import DER, UNREADABLE, Anchors, CertificateRefused, certificate_name, listed_name
from mssmtp.revocation import BadRevocationList, Revocation, read_crls
from mssmtp.trust import PeerRefused, Snapshot, identify, judge_server
from mssmtp.whitelist import ListRefused, ListRules
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT, shared_keys, unsigned_whitelist
from tests.trust import spoiling
from tests.trust.forging import element, sealed
from tests.trust.names import population, second_reading

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")


class Found(AssertionError):
    """Something passed that should not have."""


@dataclass(frozen=True)
class Target:
    """`play` takes any octets, and raises only when it has found something."""

    play: Callable[[bytes], None]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes]


@cache
def _space() -> tuple[Authority, Snapshot]:
    authority = Authority(NOW, make_key=shared_keys(10))
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(authority, (A_DOMAIN, A_SUBJECT.text))
    return authority, Snapshot(listed, Revocation.of(authority.crls(), anchors), anchors)


# ---------------------------------------------------------------- the list

_TEXTS = ("plain", "CH <de> Valmont & fils", "LA\u00a0MUSE\t", "é e\u0301 𝔐 ]]>")


def _unsigned() -> list[bytes]:
    return [
        render([row(A_DOMAIN, who.text, updated=NOW, description=text)], NOW)
        for text in _TEXTS
        for who in (A_SUBJECT, B_SUBJECT)
    ]


def signed_list() -> Target:
    """The file as it is fetched. Accepted: it says what one that was signed says."""
    authority, snapshot = _space()
    rules = ListRules(authority.pin, snapshot.anchors, snapshot.revocation, 65_536)
    seeds = [sign(octets, authority.signer) for octets in _unsigned()]
    said = {tuple(whitelist_signature.verify(octets, rules, NOW).rows) for octets in seeds}

    def play(octets: bytes) -> None:
        with suppress(ListRefused):
            listed = whitelist_signature.verify(octets, rules, NOW)
            if tuple(listed.rows) not in said:
                raise Found("a list that nobody signed")

    return Target(play, seeds, spoiling.TOKENS)


def signed_rows() -> Target:
    """What is read once the signature holds, and the profile before it: any tree."""

    def play(octets: bytes) -> None:
        with suppress(ListRefused):
            root = whitelist_signature._parse(octets)
            with suppress(ListRefused):
                whitelist_signature._check_profile(whitelist_signature._only_signature(root))
            for _, dn in whitelist_signature._rows(root).bound():
                listed_name(dn)

    authority, _ = _space()
    seeds = [*_unsigned(), sign(_unsigned()[0], authority.signer)]
    return Target(play, seeds, [*spoiling.TOKENS, b"<Domaine>", b"</Domaine>", b"<Nom>"])


# ---------------------------------------------------------------- names


def name() -> Target:
    """Any text is a name or unusable, and read as the second reading reads it."""

    def play(octets: bytes) -> None:
        text = octets.decode("utf-8", "ignore")
        if listed_name(text) != second_reading(text):
            raise Found(f"read in two ways: {ascii(text)}")

    seeds = [text.encode() for text, _ in population()[::10]]
    return Target(play, seeds, [b'"', b",", b"\\", b"=", b"\\2C", b"\\c3\\a9", b" ", b"+", b"OID."])


# ---------------------------------------------------------------- certificates, CRLs, answers


def certificate() -> Target:
    """A peer's leaf, its signed part changed and signed again; whoever passes has the one name."""
    authority, snapshot = _space()
    expected = listed_name(A_SUBJECT.text)

    def judge(leaf: x509.Certificate) -> None:
        for is_server in (False, True):
            with suppress(CertificateRefused, PeerRefused):
                if is_server:
                    who = judge_server((leaf,), domain(A_DOMAIN), snapshot, NOW)
                else:
                    who = identify((leaf,), snapshot, NOW)
                if who.dn != expected or certificate_name(leaf.subject) != expected:
                    raise Found("another name passes")

    def play(octets: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns of what a peer may well send
            for der in (sealed(octets, authority._key), octets):
                with suppress(*UNREADABLE):
                    leaf = x509.load_der_x509_certificate(der)
                    judge(leaf)

    leaf = authority.issue(A_SUBJECT).certificate
    return Target(play, [leaf.tbs_certificate_bytes, leaf.public_bytes(DER)], _DER_TOKENS)


_DER_TOKENS = [
    *(bytes.fromhex(f"0603551d{last:02x}") for last in (0x0F, 0x11, 0x13, 0x15, 0x1C, 0x25)),
    *(element(tag) for tag in (0x05, 0x0C, 0x30, 0x31)),
    b"\x30\x80",
    b"\x30\x84\x00\xff\xff\xff",
    b"\x01\x01\xff",
    b"\x02\x01\x00",
    b"\x17\x0d260301090000Z",
    b"\x18\x0f99991231235959Z",
    b"\x03\x02\x07\x80",
    b"\xff",
    b"\x00",
    b"\x80",
]


def crl() -> Target:
    """A CRL, its signed part changed and signed again: refused, or kept and handed on whole."""
    authority, snapshot = _space()

    def play(octets: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for der in (sealed(octets, authority._key), octets):
                with suppress(BadRevocationList):
                    known = Revocation.newest(read_crls(der, snapshot.anchors))
                    table = known.to_table(snapshot.anchors)
                    again = Revocation.from_table(table, snapshot.anchors)
                    if [c.serials for c in again.crls] != [c.serials for c in known.crls]:
                        raise Found("a CRL that a child reads otherwise")

    authority.revoke(authority.issue(A_SUBJECT))
    octets = authority.crls()[1]
    whole = x509.load_der_x509_crl(octets)
    return Target(play, [whole.tbs_certlist_bytes, octets], _DER_TOKENS)


def answer() -> Target:
    """An OCSP answer, its signed part changed and signed again by the issuer."""
    authority, _ = _space()
    leaf = authority.issue(A_SUBJECT).certificate

    def play(octets: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for der in (_responded(octets, authority), octets):
                with suppress(ocsp.BadAnswer):
                    ocsp.read(der, leaf, authority.intermediate, NOW)

    builder = x509_ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=authority.intermediate,
        algorithm=hashes.SHA1(),  # noqa: S303  # names, proves nothing
        cert_status=x509_ocsp.OCSPCertStatus.GOOD,
        this_update=NOW - timedelta(hours=1),
        next_update=NOW + timedelta(hours=1),
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(x509_ocsp.OCSPResponderEncoding.HASH, authority.intermediate)
    good = builder.sign(authority._key, hashes.SHA256())
    seeds = [good.tbs_response_bytes, good.public_bytes(DER)]
    assert ocsp.read(_responded(seeds[0], authority), leaf, authority.intermediate, NOW)
    return Target(play, seeds, _DER_TOKENS)


def _responded(to_be_signed: bytes, authority: Authority) -> bytes:
    basic = sealed(to_be_signed, authority._key)
    kind = element(0x06, bytes.fromhex("2b0601050507300101"))
    octets = element(0x30, kind, element(0x04, basic))
    return element(0x30, element(0x0A, b"\0"), element(0xA0, octets))


TARGETS: dict[str, Callable[[], Target]] = {
    "list": signed_list,
    "rows": signed_rows,
    "name": name,
    "certificate": certificate,
    "crl": crl,
    "answer": answer,
}
