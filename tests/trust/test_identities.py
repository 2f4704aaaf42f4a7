"""ATT-15: only the exact name passes, whatever a certificate holds beside, around or instead."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mssmtp import pki
from mssmtp.demo.authority import Authority, Identity, Make
from mssmtp.mail import domain
from mssmtp.pki import CertificateRefused
from mssmtp.revocation import Revocation
from mssmtp.trust import PeerRefused, Snapshot, identify, judge_server
from tests.authority import A_DOMAIN, A_SUBJECT, unsigned_whitelist
from tests.trust.forging import forged
from tests.trust.names import ALTERATIONS, OIDS, Name, subject

HONEST: Name = (
    ("CN", A_SUBJECT.cn),
    ("OU", A_SUBJECT.ou),
    ("O", A_SUBJECT.o),
    ("ST", A_SUBJECT.st),
    ("C", "FR"),
)
OF_EACH_ALTERATION = 14


@dataclass(frozen=True)
class Case:
    """A subject, in the order of ASN.1, and what is wrong with it."""

    what: str
    name: x509.Name


def attribute(
    oid: x509.ObjectIdentifier, value: str, kind: _ASN1Type = _ASN1Type.UTF8String
) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value, kind, _validate=False)


def rdns(*parts: tuple[x509.NameAttribute[str], ...]) -> x509.Name:
    """One RDN per tuple; two attributes in it make it multi-valued."""
    return x509.Name([x509.RelativeDistinguishedName(part) for part in parts])


def honest_rdns() -> list[tuple[x509.NameAttribute[str], ...]]:
    return [(attribute(OIDS[t], v),) for t, v in reversed(HONEST)]


def by_hand() -> Iterator[Case]:
    """What an alteration of text does not reach."""
    *above, (cn,) = honest_rdns()
    evil = attribute(NameOID.COMMON_NAME, "mx.evil.test")
    yield Case("no CN", rdns(*above))
    yield Case("only the CN", rdns((cn,)))
    yield Case("no name at all", rdns())
    yield Case("evil CN after ours", rdns(*above, (cn,), (evil,)))
    yield Case("evil CN before ours", rdns(*above, (evil,), (cn,)))
    yield Case("our CN twice", rdns(*above, (cn,), (cn,)))
    yield Case("evil CN beside ours in one RDN", rdns(*above, (cn, evil)))
    serial = attribute(NameOID.SERIAL_NUMBER, "1")
    yield Case("serial number beside the CN (V20)", rdns(*above, (cn, serial)))
    yield Case("everything in one RDN", rdns(tuple(a for (a,) in (*above, (cn,)))))
    yield Case("OU and O in one RDN", rdns(*above[:2], (*above[2], *above[3]), (cn,)))
    yield Case("ours only in the alternative name", rdns(*above, (evil,)))
    for oid in (NameOID.USER_ID, NameOID.EMAIL_ADDRESS, NameOID.SURNAME, NameOID.TITLE):
        yield Case(f"CN as {oid._name}", rdns(*above, (attribute(oid, A_SUBJECT.cn),)))
    unknown = x509.ObjectIdentifier("1.2.250.1.71.99.1")
    yield Case("an unknown attribute more", rdns(*above, (attribute(unknown, "x"),), (cn,)))
    yield Case("empty O", rdns(*above[:2], (attribute(OIDS["O"], ""),), above[3], (cn,)))
    yield Case("O of spaces", rdns(*above[:2], (attribute(OIDS["O"], " \u00a0"),), above[3], (cn,)))
    wide = attribute(NameOID.COMMON_NAME, A_SUBJECT.cn + "\x00", _ASN1Type.BMPString)
    yield Case("NUL at the end of a BMPString", rdns(*above, (wide,)))
    yield Case("the order of the printed form", rdns(*reversed(honest_rdns())))


def by_alteration() -> Iterator[Case]:
    chance = random.Random(15)  # noqa: S311 - repeatable, not secret
    for kind, alter in ALTERATIONS.items():
        for number in range(OF_EACH_ALTERATION):
            yield Case(f"{kind} {number}", subject(alter(chance, HONEST)))


def issued(authority: Authority, name: x509.Name) -> Identity:
    """With the honest host as alternative name: it must not help."""
    return authority.issue(A_SUBJECT, Make(name=name))


def passes(identity: Identity, snapshot: Snapshot, authority: Authority) -> list[str]:
    """The directions in which the identity is somebody."""
    passed = []
    try:
        identify(identity.chain, snapshot, authority.now)
        passed.append("client")
    except (CertificateRefused, PeerRefused):
        pass
    try:
        judge_server(identity.chain, domain(A_DOMAIN), snapshot, authority.now)
        passed.append("server")
    except (CertificateRefused, PeerRefused):
        pass
    return passed


@pytest.mark.attack
@pytest.mark.requirement("OP-32", "OP-12")
def test_att_15_of_two_hundred_certificates_only_the_exact_name_passes(
    authority: Authority, snapshot: Snapshot
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of what a careless authority signs
        cases = [*by_alteration(), *by_hand()]
        assert len(cases) >= 200
        passed = {
            case.what: found
            for case in cases
            if (found := passes(issued(authority, case.name), snapshot, authority))
        }
        assert passed == {}
        honest = issued(authority, subject(HONEST))
        assert passes(honest, snapshot, authority) == ["client", "server"]


@pytest.mark.attack
def test_att_15_most_of_them_would_pass_where_names_are_contained(authority: Authority) -> None:
    """The detector of the test above: compared by containment, or by the CN alone, many pass."""
    contained = by_cn = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in (*by_alteration(), *by_hand()):
            contained += A_SUBJECT.cn in case.name.rfc4514_string()
            found = case.name.get_attributes_for_oid(NameOID.COMMON_NAME)
            by_cn += bool(found) and found[0].value == A_SUBJECT.cn
    assert contained > 100
    assert by_cn > 100


ACCENTED = (_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.UniversalString)
ASCII_ONLY = (_ASN1Type.PrintableString, _ASN1Type.T61String, _ASN1Type.IA5String)


@pytest.mark.attack
@pytest.mark.parametrize("kind", [*ACCENTED, *ASCII_ONLY], ids=lambda kind: kind.name)
def test_att_15_one_name_in_another_type_of_string_is_the_same(
    authority: Authority, kind: _ASN1Type
) -> None:
    """The type says how characters were written down, not which: the CA may change it."""
    who = A_SUBJECT if kind in ACCENTED else replace(A_SUBJECT, st="Paris (75)")
    printed = (("CN", who.cn), ("OU", who.ou), ("O", who.o), ("ST", who.st), ("C", "FR"))
    name = rdns(*[(attribute(OIDS[t], v, kind),) for t, v in reversed(printed)])
    anchors = pki.Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(authority, (A_DOMAIN, who.text))
    space = Snapshot(listed, Revocation.of(authority.crls(), anchors), anchors)
    identity = issued(authority, name)
    leaf = x509.load_der_x509_certificate(identity.certificate.public_bytes(pki.DER))
    again = replace(identity, certificate=leaf)
    assert passes(again, space, authority) == ["client", "server"]


@pytest.mark.attack
@pytest.mark.parametrize("tag", [0x0C, 0x13, 0x14], ids=["UTF8", "Printable", "T61"])
def test_att_15_octets_that_are_no_text_of_their_type_are_nobody(
    authority: Authority, snapshot: Snapshot, tag: int
) -> None:
    """Latin-1 within a T61String, say: what it spells is a guess, so it spells nothing."""
    utf8, latin = "Rhône (69)".encode(), b"Rh\xf4nne (69)"
    healthy = issued(authority, subject(HONEST))
    octets = forged(
        healthy.certificate,
        authority._key,
        lambda der: der.replace(
            bytes([0x0C, len(utf8)]) + utf8, bytes([tag, len(latin)]) + latin, 1
        ),
    )
    try:
        leaf = x509.load_der_x509_certificate(octets)
    except pki.UNREADABLE:
        return  # the handshake would not have passed it on
    assert passes(replace(healthy, certificate=leaf), snapshot, authority) == []
