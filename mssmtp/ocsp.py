"""OCSP (RFC 6960): the question about one certificate, and an answer checked in full. No network.

An answer counts only when it is about this certificate of this issuer, signed by the issuer or by
somebody the issuer has named for it, in date, and with our nonce when there was a question.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, SignatureAlgorithmOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from mssmtp.pki import DER, HASHES, UNREADABLE, extension, is_weak

MAX_OCTETS = 65_536
MAX_CERTIFICATES = 4
"""Of one answer: its signer, and what servers send along without need."""
CLOCK_SKEW = timedelta(minutes=5)

_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    }
)
_CERT_ID_DIGESTS = (hashes.SHA1, *HASHES)
"""SHA-1 names a certificate there and proves nothing: RFC 5019 2.1.1 asks for it."""

Verdict = Literal["good", "revoked", "unknown"]
_VERDICTS: dict[ocsp.OCSPCertStatus, Verdict] = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}


class BadAnswer(Exception):
    """An answer that is not used; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says of one certificate, between two moments.

    `delegate`: its signer when that is not the authority itself and may have been revoked.
    """

    verdict: Verdict
    this_update: datetime
    next_update: datetime
    delegate: x509.Certificate | None = None


def address(certificate: x509.Certificate) -> str | None:
    """The responder the certificate names; None without any over HTTP."""
    access = extension(certificate, x509.AuthorityInformationAccess)
    for description in access or ():
        place = description.access_location
        if (
            description.access_method == AuthorityInformationAccessOID.OCSP
            and isinstance(place, x509.UniformResourceIdentifier)
            and place.value.lower().startswith(("http://", "https://"))
        ):
            return place.value
    return None


def question(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes) -> bytes:
    """The request, DER. The nonce makes an answer of yesterday useless (RFC 9654)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303  # names, proves nothing
    return builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(DER)


def read(
    octets: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    *,
    nonce: bytes | None = None,
) -> Answer:
    """The answer about `certificate`, with all of RFC 6960 3.2 checked. Raises BadAnswer.

    `nonce` None: nobody asked, the answer came with the handshake.
    """
    if len(octets) > MAX_OCTETS:
        raise BadAnswer("too big")
    try:
        response = ocsp.load_der_ocsp_response(octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise BadAnswer(f"responder says {response.response_status.name}")
        delegate = _check_signature(response, issuer, now)
        if nonce is not None:
            _check_nonce(response, nonce)
        single = _about(response, certificate, issuer)
        return _in_date(single, delegate, now)
    except UNREADABLE as error:
        raise BadAnswer("not readable") from error


def _check_signature(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime
) -> x509.Certificate | None:
    """The delegate that signed, None when it was the issuer or one that is not to be asked about.

    RFC 6960 4.2.2.2: the issuer's own key, or a certificate made by that same key for it.
    """
    if _is_responder(response, issuer):
        _verify(response, issuer)
        return None
    for delegate in response.certificates[:MAX_CERTIFICATES]:
        if not _is_responder(response, delegate):
            continue
        _check_delegate(delegate, issuer, now)
        _verify(response, delegate)
        unchecked = extension(delegate, x509.OCSPNoCheck) is not None
        return None if unchecked else delegate
    raise BadAnswer("signer is not there")


def _is_responder(response: ocsp.OCSPResponse, candidate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == candidate.subject
    key = x509.SubjectKeyIdentifier.from_public_key(candidate.public_key())
    return response.responder_key_hash == key.digest


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    try:
        delegate.verify_directly_issued_by(issuer)
    except InvalidSignature as error:
        raise BadAnswer("signer is not the issuer's") from error
    usages = extension(delegate, x509.ExtendedKeyUsage)
    if usages is None or Eku.OCSP_SIGNING not in usages:
        raise BadAnswer("signer may not sign answers")
    usage = extension(delegate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise BadAnswer("signer may not sign")
    if not delegate.not_valid_before_utc <= now <= delegate.not_valid_after_utc:
        raise BadAnswer("signer out of date")
    if is_weak(delegate):
        raise BadAnswer("signer too weak")


def _verify(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    key, digest = signer.public_key(), response.signature_hash_algorithm
    if response.signature_algorithm_oid not in _SIGNATURES or digest is None:
        raise BadAnswer("weak signature")
    signed = response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, signed, ec.ECDSA(digest))
        else:
            raise BadAnswer("unknown kind of key")
    except InvalidSignature as error:
        raise BadAnswer("signature") from error


def _check_nonce(response: ocsp.OCSPResponse, nonce: bytes) -> None:
    """Without it an answer from before a revocation could be played back on plain HTTP."""
    try:
        said = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound as error:
        raise BadAnswer("without our nonce") from error
    if not hmac.compare_digest(said, nonce):
        raise BadAnswer("another nonce")


def _about(
    response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    """The part about this certificate: serial, issuer's name and issuer's key must all be its."""
    for single in response.responses:
        digest = single.hash_algorithm
        if not isinstance(digest, _CERT_ID_DIGESTS):
            continue
        wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, digest).build()
        if (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
            wanted.serial_number,
            wanted.issuer_name_hash,
            wanted.issuer_key_hash,
        ):
            return single
    raise BadAnswer("about another certificate")


def _in_date(
    single: ocsp.OCSPSingleResponse, delegate: x509.Certificate | None, now: datetime
) -> Answer:
    begins, ends = single.this_update_utc, single.next_update_utc
    if ends is None:
        raise BadAnswer("without an end")
    if begins > now + CLOCK_SKEW:
        raise BadAnswer("begins later")
    if ends <= now:
        raise BadAnswer("past its end")
    verdict = _VERDICTS[single.certificate_status]
    return Answer(verdict, min(begins, now), ends, delegate)
