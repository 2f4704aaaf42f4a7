"""Lists at the edges of what a reader meets: each was a check that no other test held."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mssmtp import whitelist
from mssmtp.demo.authority import EMAIL_ONLY, Authority, Make, Subject, render, row, sign
from mssmtp.pki import DER, Anchors
from mssmtp.revocation import Revocation
from mssmtp.whitelist import ListRefused, ListRules
from mssmtp.whitelist_signature import verify
from tests.authority import A_SUBJECT
from tests.trust.answering import delegate_with
from tests.trust.forging import element, forged

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
ROOT = '<ListeBlancheMSSante xmlns="https://listeblanche.mssante.fr/schema">'


@pytest.fixture(scope="module")
def rules(space: Authority, anchors: Anchors) -> ListRules:
    return ListRules(space.pin, anchors, Revocation.of(space.crls(), anchors), 1_048_576)


@pytest.fixture(scope="module")
def unsigned() -> bytes:
    return render([row("hopital-a.test", A_SUBJECT.text, updated=NOW)], NOW)


@pytest.fixture(scope="module")
def good(space: Authority, unsigned: bytes) -> bytes:
    return sign(unsigned, space.signer)


def refused(octets: bytes, rules: ListRules, now: datetime = NOW) -> str:
    try:
        verify(octets, rules, now)
    except ListRefused as error:
        return error.reason
    return "accepted"


def test_the_namespaces_are_those_that_are_published(good: bytes) -> None:
    """The demo's lists are made with the same constants: these are not."""
    assert whitelist.NAMESPACE == "https://listeblanche.mssante.fr/schema"
    assert whitelist.DS == "http://www.w3.org/2000/09/xmldsig#"
    for text in (
        ROOT,
        '<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">',
        '<CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>',
        '<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>',
        '<Reference URI=""><Transforms>'
        '<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
        '<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></Transforms>',
        '<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>',
    ):
        assert text.encode() in good


@pytest.mark.attack
def test_att_33_a_root_with_nothing_in_it_is_refused(rules: ListRules, good: bytes) -> None:
    assert refused(f"{ROOT}</ListeBlancheMSSante>".encode(), rules) == "signature count"
    assert refused(f"{ROOT}x</ListeBlancheMSSante>".encode(), rules) == "signature count"
    signature = good[good.index(b"<Signature ") : good.index(b"</Signature>") + 12]
    alone = ROOT.encode() + b"x" + signature + b"</ListeBlancheMSSante>"
    assert refused(alone, rules) == "signature"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'<!ENTITY a "b">', "DTD or entity"),
        (b"<!DOCTYPE a>", "DTD or entity"),
        (b"<![CDATA[<!ENTITY]]>", "DTD or entity"),
        (b"&a;", "not XML"),
        (b"<?a b?>", "DTD or entity"),
        (b"<!-- a -->", "DTD or entity"),
    ],
)
def test_wt_26_no_declaration_stands_anywhere(
    rules: ListRules, good: bytes, text: bytes, reason: str
) -> None:
    assert refused(good.replace(b"<ListeDomaines>", text + b"<ListeDomaines>", 1), rules) == reason


def _other_key_algorithm(der: bytes) -> bytes:
    key = bytes.fromhex("06092a864886f70d0101010500")
    assert key in der
    return der.replace(key, bytes.fromhex("06092a864886f70d01013f0500"), 1)


def _key_of_no_numbers(der: bytes) -> bytes:
    exponent = b"\x02\x03\x01\x00\x01"
    assert exponent in der
    return der.replace(exponent, b"\x04\x03\x01\x00\x01", 1)


def _of_a_version_to_come(der: bytes) -> bytes:
    version = bytes.fromhex("a003020102")
    assert der.count(version) == 1
    return der.replace(version, bytes.fromhex("a003020105"))


@pytest.mark.attack
@pytest.mark.parametrize(
    "change", [_other_key_algorithm, _key_of_no_numbers, _of_a_version_to_come]
)
def test_att_33_a_signer_whose_key_cannot_be_read_is_refused(
    space: Authority, rules: ListRules, good: bytes, change: Callable[[bytes], bytes]
) -> None:
    other = forged(space.signer.certificate, space._key, change)
    assert refused(_with_certificate(good, other), rules) == "signature profile"


@pytest.mark.attack
def test_att_33_a_signer_whose_key_is_on_a_curve_is_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    other = delegate_with(space, ec.generate_private_key(ec.SECP256R1()))
    octets = _with_certificate(good, other.certificate.public_bytes(DER))
    assert refused(octets, rules) == "signature profile"


def _ends_before_it_begins(der: bytes) -> bytes:
    """The two dates of the certificate, the one in the place of the other."""
    start = der.index(b"\x17\x0d")
    assert der[start + 15 : start + 17] == b"\x17\x0d"
    first, second = der[start : start + 15], der[start + 15 : start + 30]
    return der[:start] + second + first + der[start + 30 :]


@pytest.mark.attack
def test_att_16_a_signer_whose_validity_ends_before_it_begins_is_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """The library is asked about its first moment, and says no."""
    other = forged(space.signer.certificate, space._key, _ends_before_it_begins)
    assert refused(_with_certificate(good, other), rules) == "signature"


def _latin_in_a_t61_string(der: bytes) -> bytes:
    town = b"\x0c\x0a" + b"Paris (75)"
    assert town in der
    return der.replace(town, b"\x14\x0a" + b"Par\xeds (75)", 1)


@pytest.mark.attack
def test_att_15_a_signer_whose_name_cannot_be_read_is_not_the_pinned_one(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """Same key, so the signature holds; the authority itself wrote the name."""
    other = forged(space.signer.certificate, space._key, _latin_in_a_t61_string)
    assert refused(_with_certificate(good, other), rules) == "signer"


@pytest.mark.attack
@pytest.mark.parametrize(
    "name",
    [element(0x87, b"1234567"), element(0xA3, b"\x30\x00")],
    ids=["an address of seven octets", "X.400"],
)
def test_att_16_a_signer_with_an_extension_that_cannot_be_read_is_refused(
    space: Authority, rules: ListRules, good: bytes, name: bytes
) -> None:
    """OpenSSL reads over it."""
    own = space.signer.certificate
    odd = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, element(0x30, name))
    usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(space.signer.key.public_key())
        .serial_number(78)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .add_extension(usage.value, critical=False)
    )
    other = builder.add_extension(odd, critical=False).sign(space._key, hashes.SHA256())
    healthy = builder.sign(space._key, hashes.SHA256())
    assert refused(_with_certificate(good, healthy.public_bytes(DER)), rules) == "accepted"
    assert refused(_with_certificate(good, other.public_bytes(DER)), rules) == "signer certificate"


@pytest.mark.attack
@pytest.mark.requirement("OP-28")
def test_att_33_a_name_that_cannot_be_printed_is_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """A common name that is a BIT STRING: cryptography raises TypeError when it is asked for."""
    der = bytearray(space.signer.certificate.public_bytes(DER))
    common_name = b"\x06\x03\x55\x04\x03\x0c"
    at = der.rfind(common_name)
    der[at + 5] = 0x03
    der[at + 7] = 0x00
    assert refused(_with_certificate(good, bytes(der)), rules) == "signature"


def _with_certificate(good: bytes, der: bytes) -> bytes:
    start = good.index(b"<X509Certificate>") + 17
    return good[:start] + b64encode(der) + good[good.index(b"</X509Certificate>") :]


@pytest.mark.attack
def test_att_33_the_text_behind_the_signature_is_signed_too(rules: ListRules, good: bytes) -> None:
    end = good.index(b"</Signature>") + 12
    assert refused(good[:end] + b" " + good[end:], rules) == "signature"
    before = good.index(b"<Signature ")
    white = good[good.index(b"</ListeDomaines>") + 16 : before]
    assert white
    moved = good[: before - len(white)] + good[before:end] + white + good[end:]
    assert refused(moved, rules) == "accepted"


@pytest.mark.attack
@pytest.mark.parametrize("tag", ["DigestValue", "SignatureValue", "X509Certificate"])
def test_att_33_what_is_no_base64_is_refused(rules: ListRules, good: bytes, tag: str) -> None:
    for text in (b"*", b"=", b"\xc3\xa9"):
        spoilt = good.replace(f"<{tag}>".encode(), f"<{tag}>".encode() + text, 1)
        assert refused(spoilt, rules) == "signature profile"


@pytest.mark.requirement("OP-25")
def test_the_pin_names_every_value_of_its_types(space: Authority, unsigned: bytes) -> None:
    """A subject with one CN more than the pin's is another, whichever stands first."""
    anchors = Anchors.from_pem(space.anchors_pem)
    rules = ListRules(space.pin, anchors, Revocation.of(space.crls(), anchors), 1_048_576)
    own = Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)").name
    more = x509.NameAttribute(x509.NameOID.COMMON_NAME, "autre.test")
    multiple = x509.Name(
        [
            *own.rdns[:-1],
            x509.RelativeDistinguishedName([*own.rdns[-1], more]),
        ]
    )
    for name in (
        x509.Name([*own, more]),
        x509.Name([more, *own]),
        x509.Name([a for a in own if a.oid != x509.NameOID.COMMON_NAME]),
        multiple,
    ):
        signer = space.issue(A_SUBJECT, Make(usages=EMAIL_ONLY, name=name))
        assert refused(sign(unsigned, signer), rules) == "signer"
    signer = space.issue(A_SUBJECT, Make(usages=EMAIL_ONLY, name=own))
    for pin, expected in (
        ("CN=ALB.mssante.example,ST=Paris(75)", "accepted"),
        ("CN=alb.mssante.example,O=AUTRE", "signer"),
        ("O=LISTE TEST", "accepted"),
        ("nothing", "signer"),
    ):
        assert refused(sign(unsigned, signer), replace(rules, pin=pin)) == expected


@pytest.mark.requirement("OP-24")
def test_a_signer_is_judged_at_the_date_of_its_list(space: Authority, rules: ListRules) -> None:
    """Not yet valid then, although it is now."""
    begins = NOW - timedelta(hours=1)
    name = Subject("alb.mssante.example").name
    young = space.issue(A_SUBJECT, Make(usages=EMAIL_ONLY, name=name, not_before=begins))
    before, after = begins - timedelta(seconds=1), begins
    rows = [row("hopital-a.test", A_SUBJECT.text, updated=NOW)]
    assert refused(sign(render(rows, before), young), rules) == "signer certificate"
    assert refused(sign(render(rows, after), young), rules) == "accepted"


@pytest.mark.requirement("OP-23")
def test_a_row_of_another_name_is_no_row(
    space: Authority, rules: ListRules, unsigned: bytes
) -> None:
    other = unsigned.replace(b"<Domaine>", b"<Autre>").replace(b"</Domaine>", b"</Autre>")
    assert refused(sign(other, space.signer), rules) == "shape"


@pytest.mark.requirement("OP-23")
def test_nothing_stands_within_the_date(
    space: Authority, rules: ListRules, unsigned: bytes
) -> None:
    for spoilt in (
        unsigned.replace(b"</DateDeGeneration>", b"<b/></DateDeGeneration>", 1),
        unsigned.replace(b"<DateDeGeneration>", b"<DateDeGeneration><b/>", 1),
        unsigned.replace(b"DateDeGeneration>", b"Autre>"),
    ):
        assert refused(sign(spoilt, space.signer), rules) == "shape"


@pytest.mark.requirement("OP-23")
def test_every_row_has_a_date_of_its_own(space: Authority, rules: ListRules) -> None:
    """Dates that were seen already are not looked at again: only as dates."""
    first = row("a.test", A_SUBJECT.text, updated=NOW)
    second = row("b.test", A_SUBJECT.text, updated=NOW)
    for rows in (
        (replace(first, support="x"), replace(second, updated="x")),
        (first, replace(second, support=first.updated, updated="x")),
    ):
        assert refused(sign(render(rows, NOW), space.signer), rules) == "shape"
    assert refused(sign(render((first, second), NOW), space.signer), rules) == "accepted"


LENGTHS = [("Description", 255, "accepted"), ("Description", 256, "shape"), ("Nom", 256, "shape")]


@pytest.mark.requirement("OP-23")
@pytest.mark.parametrize(("tag", "length", "expected"), LENGTHS)
def test_a_cell_holds_255_characters(
    space: Authority, rules: ListRules, unsigned: bytes, tag: str, length: int, expected: str
) -> None:
    start = unsigned.index(f"<{tag}>".encode()) + len(tag) + 2
    end = unsigned.index(f"</{tag}>".encode())
    filled = unsigned[:start] + "é".encode() * length + unsigned[end:]
    assert refused(sign(filled, space.signer), rules) == expected


@pytest.mark.requirement("OP-23")
@pytest.mark.parametrize(
    "date",
    [
        "",
        "2026-03-02",
        "2026-03-02T09:00:00",
        "2026-03-02T09:00:00+00:00",
        "2026-13-02T09:00:00Z",
        "2026-03-02T09:00:60Z",
        "2026-03-02T09:00:00Z ",
        "x2026-03-02T09:00:00Z",
        "\u0662\u0660\u0662\u0666-03-02T09:00:00Z",
    ],
)
def test_a_date_is_written_in_one_way(
    space: Authority, rules: ListRules, unsigned: bytes, date: str
) -> None:
    for tag in (b"DateDeGeneration", b"DateMAJ"):
        spoilt = unsigned.replace(
            b"<%s>2026-03-02T09:00:00Z<" % tag, b"<%s>%s<" % (tag, date.encode())
        )
        assert spoilt != unsigned
        assert refused(sign(spoilt, space.signer), rules) == "shape"
