"""Which usages a certificate needs in each of its three roles."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from mssmtp.pki import DER, CertificateRefused, Role, judge_certificate, judge_leaf
from tests.trust.chains import NOW, Workshop, usage

S, C, E, ANY, STAMP = (
    Eku.SERVER_AUTH,
    Eku.CLIENT_AUTH,
    Eku.EMAIL_PROTECTION,
    Eku.ANY_EXTENDED_KEY_USAGE,
    Eku.TIME_STAMPING,
)
EXTENDED: list[tuple[list[x509.ObjectIdentifier] | None, str]] = [
    # extended usages; the roles that may: client, server, list signer
    ([S], "cs"),
    ([C], "c"),
    ([S, C], "cs"),
    ([E], "l"),
    ([E, S], "cs"),
    ([E, C], "cl"),
    ([STAMP], ""),
    ([ANY], ""),
    ([E, ANY], "l"),
    (None, "cs"),
]
BITS = [
    ("digital_signature", "csl"),
    ("content_commitment", "l"),
    ("key_encipherment", "s"),
    ("data_encipherment", ""),
    ("key_agreement", ""),
    ("crl_sign", ""),
]
ROLES = {"c": Role.CLIENT, "s": Role.SERVER, "l": Role.LIST_SIGNER}


@pytest.fixture(scope="module")
def shop() -> Workshop:
    return Workshop()


def roles_of(leaf: x509.Certificate, *, require_eku: bool = False) -> str:
    """The letters of the roles it may have."""
    said = {}
    for letter, role in ROLES.items():
        try:
            judge_leaf(leaf, role, require_eku=require_eku)
        except CertificateRefused as error:
            said[letter] = (error.reason, error.serial)
    assert set(said.values()) <= {("usage", f"{leaf.serial_number:X}")}
    return "".join(letter for letter in ROLES if letter not in said)


def made(
    shop: Workshop, kinds: list[x509.ObjectIdentifier] | None, bits: x509.KeyUsage | None
) -> x509.Certificate:
    def change(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        if kinds is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(kinds), critical=False)
        return builder if bits is None else builder.add_extension(bits, critical=True)

    return shop.leaf(change=change, bare=True)


@pytest.mark.requirement("OP-08", "OP-24")
@pytest.mark.parametrize(("kinds", "may"), EXTENDED)
def test_extended_usages_decide_by_role(
    shop: Workshop, kinds: list[x509.ObjectIdentifier] | None, may: str
) -> None:
    leaf = made(shop, kinds, None)
    assert roles_of(leaf) == may
    assert roles_of(leaf, require_eku=True) == ("" if kinds is None else may)


@pytest.mark.requirement("OP-08", "OP-24")
@pytest.mark.parametrize(("bit", "may"), BITS)
def test_key_usages_decide_by_role(shop: Workshop, bit: str, may: str) -> None:
    bits = usage(**{bit: True})
    assert roles_of(made(shop, [E], bits)) == ("l" if "l" in may else "")
    peers = "".join(letter for letter in may if letter != "l")
    assert roles_of(made(shop, [S, C], bits)) == peers


@pytest.mark.requirement("OP-08")
def test_an_authority_has_none_of_the_roles(shop: Workshop) -> None:
    for path in (None, 0):
        basic = x509.BasicConstraints(ca=True, path_length=path)
        leaf = shop.leaf(change=lambda b, basic=basic: b.add_extension(basic, True), bare=True)  # type: ignore[misc]
        assert roles_of(leaf) == ""
    plain = x509.BasicConstraints(ca=False, path_length=None)
    leaf = shop.leaf(change=lambda b: b.add_extension(plain, True), bare=True)
    assert roles_of(leaf) == "cs"
    judge_certificate(leaf, shop.anchors, Role.SERVER, NOW)
    with pytest.raises(CertificateRefused) as caught:
        judge_certificate(leaf, shop.anchors, Role.SERVER, NOW, require_eku=True)
    assert caught.value.reason == "usage"


@pytest.mark.attack
def test_att_16_what_openssl_cannot_read_is_refused_and_no_error(shop: Workshop) -> None:
    """An octet of the issuer's name that is no UTF-8: cryptography reads it late, or never."""
    octets = bytearray(shop.leaf().public_bytes(DER))
    octets[octets.index(b"ASIP-SANTE")] ^= 0x80
    leaf = x509.load_der_x509_certificate(bytes(octets))
    for role in ROLES.values():
        with pytest.raises(CertificateRefused) as caught:
            judge_certificate(leaf, shop.anchors, role, NOW)
        assert caught.value.reason == "chain"
        assert caught.value.serial == f"{leaf.serial_number:X}"
