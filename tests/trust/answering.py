"""OCSP answers beyond those that `tests.authority` makes: other signers, several parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp as wire
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from mssmtp import ocsp
from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.mail import domain
from mssmtp.ocsp import BadAnswer
from mssmtp.pki import Anchors, CertificateRefused
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot, Trust
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    MakeAnswer,
    MakeCrl,
    make_answer,
    make_crl,
    shared_keys,
    unsigned_whitelist,
)
from tests.trust.forging import algorithm, element

DAY = timedelta(days=1)
RESPONDER = Subject("ocsp.igc.test", "1990000099", "IGC DE TEST")
SIGNS = Make(usages=(Eku.OCSP_SIGNING,))


def delegate(space: Authority, make: Make = SIGNS) -> Identity:
    """Somebody the authority has named for its answers."""
    return space.issue(RESPONDER, make)


def delegate_with(
    space: Authority, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> Identity:
    """The same with a key of another kind."""
    maker = Authority(space.now, make_key=shared_keys(10))
    maker._make_key = lambda: key  # type: ignore[assignment,return-value]  # `issue` asks no more of it
    return maker.issue(RESPONDER, SIGNS)


def delegate_without_key_usage(space: Authority) -> Identity:
    """RFC 6960 4.2.2.2 asks for the extended usage alone."""
    made = delegate(space)
    before = made.certificate
    dates = before.not_valid_before_utc, before.not_valid_after_utc
    builder = space._builder(before.subject, made.key.public_key(), dates)
    builder = builder.issuer_name(before.issuer)
    builder = builder.add_extension(x509.ExtendedKeyUsage([Eku.OCSP_SIGNING]), critical=False)
    return replace(made, certificate=builder.sign(space._key, hashes.SHA256()))


def with_extension(space: Authority, made: Identity, extension: x509.ExtensionType) -> Identity:
    """The same certificate, with one extension more and another serial number."""
    before = made.certificate
    dates = before.not_valid_before_utc, before.not_valid_after_utc
    builder = space._builder(before.subject, made.key.public_key(), dates)
    builder = builder.issuer_name(before.issuer).add_extension(extension, critical=False)
    for each in before.extensions:
        if not isinstance(each.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(each.value, critical=each.critical)
    return replace(made, certificate=builder.sign(space._key, hashes.SHA256()))


def what_is_read(space: Authority, peer: Identity, make: MakeAnswer, nonce: bytes | None) -> str:
    """The verdict of such an answer about `peer`, or why it is none."""
    return said(make_answer(space, peer.certificate, make), space, peer, nonce)


def said(octets: bytes, space: Authority, peer: Identity, nonce: bytes | None = None) -> str:
    """The verdict of these octets about `peer`, or why they are none."""
    try:
        answer = ocsp.read(octets, peer.certificate, space.intermediate, space.now, nonce=nonce)
    except BadAnswer as error:
        return str(error)
    return answer.verdict


def in_one(space: Authority, *answers: bytes) -> bytes:
    """One answer with the parts of several, signed by the authority: no builder makes one."""
    loaded = [wire.load_der_ocsp_response(octets).tbs_response_bytes for octets in answers]
    parts = [_elements(tbs)[-1] for tbs in loaded]
    inner = b"".join(each for part in parts for each in _elements(part))
    responder, produced = _elements(loaded[0])[:2]
    signed = element(0x30, responder, produced, element(0x30, inner))
    return _sealed(signed, algorithm(11), space._key.sign(signed, _PKCS1, hashes.SHA256()))


def with_digest(space: Authority, answer: bytes, digest: hashes.HashAlgorithm, last: int) -> bytes:
    """The same said, signed by the authority with another digest; `last` as for `algorithm`."""
    signed = wire.load_der_ocsp_response(answer).tbs_response_bytes
    return _sealed(signed, algorithm(last), space._key.sign(signed, _PKCS1, digest))


_PKCS1 = padding.PKCS1v15()


def _sealed(signed: bytes, named: bytes, signature: bytes) -> bytes:
    basic = element(0x30, signed, named, element(0x03, b"\0", signature))
    kind = bytes.fromhex("06092b0601050507300101")
    return element(
        0x30, element(0x0A, b"\0"), element(0xA0, element(0x30, kind, element(0x04, basic)))
    )


def _elements(octets: bytes) -> list[bytes]:
    """What stands within one DER element, each with its head."""
    found, at = [], _head(octets)
    while at < len(octets):
        end = at + _head(octets[at:]) + _length(octets[at:])
        found.append(octets[at:end])
        at = end
    return found


def _head(octets: bytes) -> int:
    return 2 + (octets[1] & 0x7F if octets[1] & 0x80 else 0)


def _length(octets: bytes) -> int:
    return int.from_bytes(octets[2 : _head(octets)], "big") if octets[1] & 0x80 else octets[1]


# ---------------------------------------------------------------- beside the CRLs

ADDRESS = "http://ocsp.igc.test/"


def peer_of_a_responder(space: Authority) -> Identity:
    """An operator whose certificate names a responder."""
    place = x509.UniformResourceIdentifier(ADDRESS)
    named = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
    access = x509.AuthorityInformationAccess([named])
    return with_extension(space, space.issue(A_SUBJECT), access)


def trust_with(space: Authority, anchors: Anchors, *crls: bytes) -> Trust:
    known = Revocation.of(crls, anchors) if crls else None
    return Trust(Snapshot(unsigned_whitelist(space, (A_DOMAIN, A_SUBJECT.text)), known, anchors))


def judged(trust: Trust, peer: Identity, now: datetime) -> str:
    reasons: list[str] = []
    judges: tuple[Callable[[], object], ...] = (
        lambda: trust.identify(peer.chain, now),
        lambda: trust.judge_server(peer.chain, domain(A_DOMAIN), now),
    )
    for judge in judges:
        try:
            judge()
        except CertificateRefused as error:
            reasons.append(error.reason)
        else:
            reasons.append("accepted")
    assert reasons[0] == reasons[1]
    return reasons[0]


def ended(space: Authority) -> bytes:
    """The intermediate's CRL, an hour past its end."""
    return make_crl(
        space, MakeCrl(this_update=space.now - 8 * DAY, next_update=space.now - DAY / 24)
    )
