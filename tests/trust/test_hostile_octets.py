"""Any octets are judged or refused: no other exception leaves the room (ATT-16, ATT-33)."""

from __future__ import annotations

import warnings
from base64 import b64encode
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp import pki
from mssmtp.demo.authority import Authority
from mssmtp.pki import CertificateRefused, Role
from mssmtp.revocation import BadRevocationList, Revocation, judge_chain
from mssmtp.trust import PeerRefused, Snapshot, identify
from mssmtp.whitelist import NAMESPACE, ListRefused, ListRules, Whitelist
from mssmtp.whitelist_signature import verify
from tests.authority import A_DOMAIN, A_SUBJECT, rows_for
from tests.trust.spoiling import TOKENS, Edits, edited, flipped

EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(TOKENS)), min_size=1, max_size=3
)
FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def rules(authority: Authority, snapshot: Snapshot) -> ListRules:
    return ListRules(authority.pin, snapshot.anchors, snapshot.revocation, 1_048_576)


@pytest.fixture(scope="module")
def signed(authority: Authority) -> bytes:
    rows = rows_for(authority, (A_DOMAIN, A_SUBJECT.text), ("b.test", A_SUBJECT.text))
    return authority.sign_whitelist(rows, authority.now)


@pytest.mark.attack
@given(EDITS)
@FUZZ
def test_att_33_edited_list_says_the_same_or_is_refused(
    authority: Authority, rules: ListRules, signed: bytes, edits: Edits
) -> None:
    try:
        listed: Whitelist = verify(edited(signed, edits), rules, authority.now)
    except ListRefused:
        return
    # What canonicalisation does not see may differ (spaces between attributes, base64 lines).
    assert listed.rows == verify(signed, rules, authority.now).rows


@pytest.mark.attack
@pytest.mark.parametrize(
    ("public_key", "reason"),
    [
        (rsa.RSAPublicNumbers(65537, (1 << 65_535) + 12_345).public_key(), "signature"),
        (rsa.RSAPublicNumbers((1 << 2000) + 1, (1 << 2047) + 12_345).public_key(), "signature"),
        (rsa.RSAPublicNumbers((1 << 8191) + 1, (1 << 16_383) + 1).public_key(), "signature"),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), "signature profile"),
    ],
    ids=["65,536 bits", "exponent of 2,001 bits", "both", "no RSA key"],
)
def test_att_33_a_signer_with_a_monstrous_key_costs_no_more_than_another(
    authority: Authority,
    rules: ListRules,
    signed: bytes,
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    reason: str,
) -> None:
    """The key is used before its certificate is judged: whoever sends the list chooses it."""
    own = authority.signer.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(public_key)
        .serial_number(77)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .sign(authority.signer.key, hashes.SHA256())
    )
    start = signed.index(b"<X509Certificate>") + len(b"<X509Certificate>")
    end = signed.index(b"</X509Certificate>")
    other = signed[:start] + b64encode(certificate.public_bytes(pki.DER)) + signed[end:]
    with pytest.raises(ListRefused) as caught:
        verify(other, rules, authority.now)
    assert caught.value.reason == reason


@pytest.mark.attack
def test_wt_26_a_tree_without_end_is_no_list(authority: Authority, rules: ListRules) -> None:
    """libxml2's own limit of depth: whoever reads it would need a stack as deep."""
    head = f'<ListeBlancheMSSante xmlns="{NAMESPACE}">'.encode()
    with pytest.raises(ListRefused) as caught:
        verify(head + b"<a>" * 100_000, rules, authority.now)
    assert caught.value.reason == "not XML"
    deep = head + b"<a>" * 300 + b"</a>" * 300 + b"</ListeBlancheMSSante>"
    with pytest.raises(ListRefused) as caught:
        verify(deep, rules, authority.now)
    assert caught.value.reason == "not XML"


BIT_FLIPS = st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=4)


@pytest.mark.attack
@given(BIT_FLIPS)
@FUZZ
def test_att_16_flipped_certificate_is_refused_by_a_reply(
    authority: Authority, snapshot: Snapshot, flips: list[tuple[float, int]]
) -> None:
    good = _leaf(authority)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns of what a peer may well send
            leaf = x509.load_der_x509_certificate(flipped(good.public_bytes(pki.DER), flips))
    except pki.UNREADABLE:
        return  # the handshake would not have passed it on
    if leaf == good:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((CertificateRefused, PeerRefused)):
            identify((leaf,), snapshot, authority.now)
        with pytest.raises(CertificateRefused):
            judge_chain((leaf,), snapshot.anchors, snapshot.revocation, Role.SERVER, authority.now)


@pytest.mark.attack
@pytest.mark.parametrize(
    "oid",
    [x509.OID_KEY_USAGE, x509.OID_EXTENDED_KEY_USAGE, x509.OID_BASIC_CONSTRAINTS],
    ids=["key usage", "extended key usage", "basic constraints"],
)
def test_att_16_unreadable_extension_well_signed_is_refused(
    authority: Authority, snapshot: Snapshot, oid: x509.ObjectIdentifier
) -> None:
    key = authority.signer.key
    leaf = (
        x509.CertificateBuilder()
        .subject_name(A_SUBJECT.name)
        .issuer_name(authority.intermediate.subject)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(authority.now)
        .not_valid_after(authority.signer.certificate.not_valid_after_utc)
        .add_extension(x509.UnrecognizedExtension(oid, b"\x04\x01x"), critical=False)
        .sign(authority._key, hashes.SHA256())
    )
    with pytest.raises(CertificateRefused):
        identify((leaf,), snapshot, authority.now + timedelta(seconds=1))


@pytest.mark.attack
@pytest.mark.parametrize("mask", [0x01, 0x21, 0x80])
def test_att_16_no_single_octet_of_a_crl_or_certificate_can_be_changed(
    authority: Authority, snapshot: Snapshot, mask: int
) -> None:
    """Every position: the parsers raise six kinds of exception late, all must be refusals."""
    crl = authority.crls()[1]
    for at in range(len(crl)):
        with pytest.raises(BadRevocationList):
            Revocation.of([crl[:at] + bytes([crl[at] ^ mask]) + crl[at + 1 :]], snapshot.anchors)
    der = _leaf(authority).public_bytes(pki.DER)
    for at in range(len(der)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                changed = der[:at] + bytes([der[at] ^ mask]) + der[at + 1 :]
                leaf = x509.load_der_x509_certificate(changed)
            except pki.UNREADABLE:
                continue
            with pytest.raises((CertificateRefused, PeerRefused)):
                identify((leaf,), snapshot, authority.now)


@pytest.mark.attack
def test_att_16_a_crl_is_not_taken_that_openssl_would_refuse_later(
    authority: Authority, snapshot: Snapshot
) -> None:
    """The octet before the signature is covered by none: read by us, not by OpenSSL."""
    for second in range(100):  # the octet can be 1 only where the signature ends in a zero bit
        at = authority.now - timedelta(seconds=second)
        octets = authority.crls(this_update=at)[1]
        crl = x509.load_der_x509_crl(octets)
        where = len(octets) - len(crl.signature) - 1
        if not crl.signature[-1] & 1:
            break
    changed = octets[:where] + b"\x01" + octets[where + 1 :]
    assert x509.load_der_x509_crl(changed).is_signature_valid(
        authority.intermediate.public_key()  # type: ignore[arg-type]  # an RSA key
    )
    with pytest.raises(BadRevocationList):
        Revocation.of([changed], snapshot.anchors)
    (taken,) = Revocation.of([octets], snapshot.anchors).crls
    assert (taken.issuer, taken.this_update) == (crl.issuer, crl.last_update_utc)


_LEAVES: dict[int, x509.Certificate] = {}


def _leaf(authority: Authority) -> x509.Certificate:
    return _LEAVES.setdefault(id(authority), authority.issue(A_SUBJECT).certificate)


@pytest.mark.attack
@given(BIT_FLIPS)
@FUZZ
def test_att_16_flipped_crl_is_refused(
    authority: Authority, snapshot: Snapshot, flips: list[tuple[float, int]]
) -> None:
    good = authority.crls()[1]
    spoilt = flipped(good, flips)
    if spoilt == good:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a country of another length, say
        with pytest.raises(BadRevocationList):
            Revocation.of([spoilt], snapshot.anchors)
