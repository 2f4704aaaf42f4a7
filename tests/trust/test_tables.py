"""Tables of the trust rooms, said once more: each entry decides something."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.name import _ASN1Type

from mssmtp.demo.authority import Authority, Subject
from mssmtp.errors import ConfigError
from mssmtp.pki import (
    PEM,
    REPLIES,
    Anchors,
    CertificateRefused,
    Reason,
    certificate_name,
    is_weak,
    listed_name,
    space_of,
)
from mssmtp.trust import REPLIES as PEER_REPLIES
from mssmtp.trust import PeerReason
from tests.keys import key
from tests.trust.answering import delegate_with

TYPES = {
    # RFC 4519 and X.520: short name, what it is also called, object identifier
    "CN": ((), "2.5.4.3"),
    "SN": ((), "2.5.4.4"),
    "SERIALNUMBER": ((), "2.5.4.5"),
    "C": ((), "2.5.4.6"),
    "L": ((), "2.5.4.7"),
    "ST": (("S",), "2.5.4.8"),
    "STREET": ((), "2.5.4.9"),
    "O": ((), "2.5.4.10"),
    "OU": ((), "2.5.4.11"),
    "TITLE": (("T",), "2.5.4.12"),
    "POSTALCODE": ((), "2.5.4.17"),
    "GIVENNAME": (("GN",), "2.5.4.42"),
    "ORGANIZATIONIDENTIFIER": ((), "2.5.4.97"),
    "UID": ((), "0.9.2342.19200300.100.1.1"),
    "DC": ((), "0.9.2342.19200300.100.1.25"),
    "EMAILADDRESS": (("E",), "1.2.840.113549.1.9.1"),
}


@pytest.mark.requirement("OP-32")
@pytest.mark.parametrize("kind", TYPES)
def test_a_type_is_one_whatever_it_is_called(kind: str) -> None:
    others, oid = TYPES[kind]
    attribute = x509.NameAttribute(x509.ObjectIdentifier(oid), "FR")
    found = certificate_name(x509.Name([attribute]))
    assert found is not None
    assert found[0].type == kind
    for name in (kind, kind.lower(), *others, oid, f"OID.{oid}", f"oid.{oid}"):
        assert listed_name(f"{name}=FR") == found
    assert [other for other in TYPES if other != kind and listed_name(f"{other}=FR") == found] == []


def test_an_unknown_type_is_its_object_identifier() -> None:
    attribute = x509.NameAttribute(x509.ObjectIdentifier("1.2.250.1.71.99.1"), "x")
    found = certificate_name(x509.Name([attribute]))
    assert found == listed_name("1.2.250.1.71.99.1=x") == listed_name("OID.1.2.250.1.71.99.1=X")


@pytest.mark.parametrize(
    "white", "\t\n\v\f\r \x85\xa0\u1680\u2000\u2005\u200a\u2028\u2029\u202f\u205f\u3000"
)
def test_every_white_space_of_unicode_is_a_space(white: str) -> None:
    assert listed_name(f"CN=a{white}b") == listed_name("CN=a b") == listed_name("CN=a \u00a0 b")
    assert listed_name(f"{white}CN{white}={white}a{white}") == listed_name("CN=a")


@pytest.mark.parametrize("other", "\u1fff\u200b\u2010\x1f\x1c\x00\u180e\ufeff")
def test_nothing_else_is_a_space(other: str) -> None:
    assert listed_name(f"CN=a{other}b") != listed_name("CN=a b")
    assert listed_name(f"CN=a{other}") != listed_name("CN=a")
    assert listed_name(f"CN=a{other}b") != listed_name("CN=ab")


CERTIFICATE: dict[Reason, tuple[int, str]] = {
    "no certificate": (554, "5.7.0"),
    "chain": (554, "5.7.5"),
    "expired": (554, "5.7.5"),
    "not yet valid": (554, "5.7.5"),
    "revoked": (554, "5.7.5"),
    "usage": (554, "5.7.5"),
    "weak": (554, "5.7.5"),
    "revocation unknown": (451, "4.7.5"),
}
PEER: dict[PeerReason, tuple[int, str]] = {
    "no list": (451, "4.7.5"),
    "name not listed": (554, "5.7.1"),
    "domain not listed": (550, "5.7.1"),
    "name not of domain": (550, "5.7.1"),
}


@pytest.mark.requirement("OP-08")
def test_every_reason_has_the_reply_of_the_specification() -> None:
    """docs/trust.md; the word of IMAP is RFC 5530's."""
    assert {r: (a.code, a.enhanced) for r, a in REPLIES.items()} == CERTIFICATE
    found = {r: (a.code, a.enhanced) for r, a in PEER_REPLIES.items() if r in PEER}
    assert found == PEER
    assert len({a.text for a in (*REPLIES.values(), *PEER_REPLIES.values())}) == len(REPLIES) + len(
        PEER_REPLIES
    )
    refused = CertificateRefused("revoked", "5EED", reply=REPLIES["chain"])
    assert (refused.reply, refused.reason, refused.serial) == (REPLIES["chain"], "revoked", "5EED")
    assert CertificateRefused("revoked").reply == REPLIES["revoked"]
    assert refused.imap == "AUTHENTICATIONFAILED"


def test_a_name_without_text_is_nobody() -> None:
    assert certificate_name(x509.Name([])) is None
    for empty in ('""', " ", "\u00a0"):
        named = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, empty)
        assert certificate_name(x509.Name([named])) is None
    bits = x509.NameAttribute(x509.NameOID.X500_UNIQUE_IDENTIFIER, b"\x01", _ASN1Type.BitString)
    assert certificate_name(x509.Name([bits])) is None
    assert listed_name("CN=a+OU=b") == listed_name("CN=A+ou=B")


def test_half_a_character_is_unusable_and_no_error() -> None:
    for half in (0xD800, 0xDFFF, 0xFFFD):
        for odd in (chr(half), "\\" + chr(half)):
            assert listed_name(f"CN=a{odd}") is None
            assert listed_name(f"CN=a,O={odd}b") is None


SPACES = [
    # common name, units, the space: OP-100
    ("TEST AC RACINE IGC-SANTE ELEMENTAIRE", ("IGC-SANTE TEST", "0002 187512751"), "test"),
    ("TEST AC RACINE IGC-SANTE ELEMENTAIRE", ("IGC-SANTE",), "test"),
    ("AC RACINE", ("IGC-SANTE TEST",), "test"),
    ("AC RACINE", ("igc-sante test",), "test"),
    ("test ac racine", (), "test"),
    ("AC RACINE IGC-SANTE ELEMENTAIRE", ("IGC-SANTE", "0002 187512751"), "production"),
    ("AC RACINE IGC-SANTE ELEMENTAIRE", ("igc-sante",), "production"),
    ("AC RACINE IGC-SANTE ELEMENTAIRE", (), None),
    ("AC TEST", ("0002 187512751",), None),
    ("TESTAMENT CA", ("Hospital",), None),
    ("IGC-SANTE", ("TEST X",), None),
    ("IGC-SANTE TEST", (), None),
]


@pytest.mark.requirement("OP-100")
@pytest.mark.parametrize(("cn", "units", "space"), SPACES)
def test_the_space_of_an_authority_is_read_from_its_name(
    cn: str, units: tuple[str, ...], space: str | None
) -> None:
    parts = [x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "FR")]
    parts += [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, u) for u in units]
    parts.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, cn))
    assert space_of(x509.Name(parts)) == space


def _root(private: rsa.RSAPrivateKey, digest: hashes.SHA224 | hashes.SHA256) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "AC D'ESSAI")])
    begins = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, digest)
    )


@pytest.mark.attack
@pytest.mark.requirement("OP-07")
def test_att_16_a_weak_authority_is_no_anchor() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  # too short on purpose
    strong = _root(key(100), hashes.SHA256())
    assert Anchors((strong,)).issuing == (strong,)
    for weak in (_root(short, hashes.SHA256()), _root(key(100), hashes.SHA224())):
        for certificates in ((weak,), (strong, weak), (weak, strong)):
            with pytest.raises(ConfigError, match="short key or an old digest"):
                Anchors(certificates)


def test_anchors_are_of_one_space_or_of_none() -> None:
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    for prefix, space in (("TEST ", "test"), ("", "production")):
        made = Authority(now, make_key=lambda: key(100), prefix=prefix)
        assert Anchors.from_pem(made.anchors_pem).space == space
    assert Anchors((_root(key(100), hashes.SHA256()),)).space is None


def test_an_authority_of_neither_space_stands_beside_production_and_not_beside_test() -> None:
    """A hospital's own, say, for its users' door."""
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    own = _root(key(100), hashes.SHA256())
    production = Authority(now, make_key=lambda: key(101), prefix="")
    assert Anchors((production.root, own)).space == "production"
    tested = Authority(now, make_key=lambda: key(101))
    for others in ((own,), (production.root,)):
        with pytest.raises(ConfigError, match="mixes test and production"):
            Anchors((tested.root, *others))


def test_a_file_of_anchors_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    for octets in (
        b"",
        b"nothing",
        b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
    ):
        with pytest.raises(ConfigError, match="no readable certificate"):
            Anchors.from_pem(octets)
    with pytest.raises(ConfigError, match="cannot be read"):
        Anchors.load(tmp_path / "missing.pem")
    strong = _root(key(100), hashes.SHA256())
    (tmp_path / "ca.pem").write_bytes(strong.public_bytes(PEM))
    assert Anchors.load(tmp_path / "ca.pem").certificates == (strong,)


@pytest.mark.parametrize(("bits", "weak"), [(2047, True), (2048, False)])
def test_a_key_of_one_bit_less_is_weak(bits: int, weak: bool) -> None:
    maker = Authority(datetime.fromisoformat("2026-03-02T09:00:00+00:00"), make_key=lambda: key(0))
    maker._make_key = lambda: rsa.generate_private_key(65537, bits)
    made = maker.issue(Subject("mx.hopital.test")).certificate
    assert is_weak(made) is weak


@pytest.mark.parametrize(
    ("curve", "weak"),
    [
        (ec.SECP224R1(), True),
        (ec.SECP256K1(), True),
        (ec.SECP256R1(), False),
        (ec.SECP384R1(), False),
        (ec.SECP521R1(), False),
    ],
)
def test_three_curves_are_strong(curve: ec.EllipticCurve, weak: bool) -> None:
    space = Authority(datetime.fromisoformat("2026-03-02T09:00:00+00:00"), make_key=lambda: key(0))
    assert is_weak(delegate_with(space, ec.generate_private_key(curve)).certificate) is weak
