"""OCSP answers at the edges of what is read: each was a check that no other test held (OP-08)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as wire
from cryptography.x509.oid import AuthorityInformationAccessOID

from mssmtp import ocsp
from mssmtp.demo.authority import Authority, Identity, Make
from tests.authority import A_SUBJECT, MakeAnswer, make_answer
from tests.trust.answering import (
    SIGNS,
    delegate,
    delegate_with,
    delegate_without_key_usage,
    in_one,
    said,
    what_is_read,
    with_digest,
    with_extension,
)

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
REVOKED = wire.OCSPCertStatus.REVOKED


@pytest.fixture(scope="module")
def peer(space: Authority) -> Identity:
    return space.issue(A_SUBJECT)


@pytest.fixture(scope="module")
def on_a_curve(space: Authority) -> Identity:
    return delegate_with(space, ec.generate_private_key(ec.SECP256R1()))


# ---------------------------------------------------------------- who signed


@pytest.mark.attack
def test_att_16_a_delegates_answer_is_signed_by_its_own_key(
    space: Authority, peer: Identity, on_a_curve: Identity
) -> None:
    """The delegate's certificate is public: whoever sends it along has not signed with its key."""
    for named in (delegate(space), on_a_curve):
        for by_hash in (False, True):
            make = MakeAnswer(signer=named, by_hash=by_hash)
            good = make_answer(space, peer.certificate, make)
            assert said(good, space, peer) == "good"
            value = wire.load_der_ocsp_response(good).signature
            assert good.count(value) == 1
            other = value[:-1] + bytes([value[-1] ^ 1])
            assert said(good.replace(value, other), space, peer) == "signature"


@pytest.mark.parametrize(
    ("signer", "expected"),
    [
        (lambda s: delegate(s, replace(SIGNS, usages=None)), "signer may not sign answers"),
        (delegate_without_key_usage, "good"),
        (lambda s: delegate(s, replace(SIGNS, not_before=s.now)), "good"),
        (lambda s: delegate(s, replace(SIGNS, not_after=s.now)), "good"),
        (lambda s: delegate(s, replace(SIGNS, not_before=s.now + SECOND)), "signer out of date"),
        (lambda s: delegate(s, replace(SIGNS, not_after=s.now - SECOND)), "signer out of date"),
    ],
    ids=["no usages", "no key usage", "from now", "until now", "from a second on", "a second ago"],
)
def test_a_delegate_is_named_for_answers_and_in_date(
    space: Authority, peer: Identity, signer: Callable[[Authority], Identity], expected: str
) -> None:
    assert what_is_read(space, peer, MakeAnswer(signer=signer(space)), None) == expected


@pytest.mark.attack
@pytest.mark.parametrize(
    ("digest", "last", "expected"),
    [
        (hashes.SHA1(), 5, "weak signature"),  # noqa: S303  # too old on purpose
        (hashes.SHA224(), 14, "weak signature"),
        (hashes.SHA256(), 11, "good"),
        (hashes.SHA384(), 12, "good"),
        (hashes.SHA512(), 13, "good"),
    ],
)
def test_att_16_answers_are_signed_with_sha_256_or_better(
    space: Authority, peer: Identity, digest: hashes.HashAlgorithm, last: int, expected: str
) -> None:
    answer = make_answer(space, peer.certificate, MakeAnswer())
    assert said(with_digest(space, answer, digest, last), space, peer) == expected


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_delegate_on_a_curve_signs_with_each_digest(
    space: Authority,
    peer: Identity,
    on_a_curve: Identity,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512,
) -> None:
    make = MakeAnswer(signer=on_a_curve, signed_with=digest)
    assert what_is_read(space, peer, make, None) == "good"


# ---------------------------------------------------------------- about whom, and when


@pytest.mark.parametrize("digest", [hashes.SHA384(), hashes.SHA512()])
def test_a_certificate_may_be_named_by_every_digest_of_ours(
    space: Authority, peer: Identity, digest: hashes.HashAlgorithm
) -> None:
    assert what_is_read(space, peer, MakeAnswer(digest=digest), None) == "good"


@pytest.mark.attack
def test_att_25_the_part_about_this_certificate_is_found_among_others(
    space: Authority, peer: Identity
) -> None:
    """A good part about a neighbour stands before the revoked one about the peer."""
    neighbour = make_answer(space, space.issue(A_SUBJECT).certificate, MakeAnswer())
    odd = make_answer(space, peer.certificate, MakeAnswer(digest=hashes.SHA224()))
    assert said(odd, space, peer) == "about another certificate"
    revoked = make_answer(space, peer.certificate, MakeAnswer(status=REVOKED))
    assert said(in_one(space, neighbour, odd, revoked), space, peer) == "revoked"
    assert said(in_one(space, neighbour, odd), space, peer) == "about another certificate"


@pytest.mark.parametrize("ahead", [-DAY / 2, -SECOND, 0 * SECOND, SECOND, ocsp.CLOCK_SKEW])
def test_an_answer_holds_from_now_when_the_responders_clock_is_ahead(
    space: Authority, peer: Identity, ahead: timedelta
) -> None:
    """Else it would be learnt, and say nothing until our clock has caught up."""
    octets = make_answer(space, peer.certificate, MakeAnswer(this_update=space.now + ahead))
    answer = ocsp.read(octets, peer.certificate, space.intermediate, space.now)
    assert answer.this_update == space.now + min(ahead, 0 * SECOND)


def test_two_clocks_differ_by_five_minutes_at_most() -> None:
    assert timedelta(minutes=5) == ocsp.CLOCK_SKEW


# ---------------------------------------------------------------- octets, addresses, questions


def test_what_the_responder_refuses_is_told(space: Authority, peer: Identity) -> None:
    later = wire.OCSPResponseBuilder.build_unsuccessful(wire.OCSPResponseStatus.TRY_LATER)
    told = said(later.public_bytes(Encoding.DER), space, peer)
    assert told == "responder says TRY_LATER"


@pytest.mark.attack
def test_the_size_of_an_answer_is_looked_at_before_it_is_read(
    space: Authority, peer: Identity
) -> None:
    assert said(bytes(65_536), space, peer) == "not readable"
    assert said(bytes(65_537), space, peer) == "too big"


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (x509.UniformResourceIdentifier("HTTP://OCSP.igc.test/"), "HTTP://OCSP.igc.test/"),
        (x509.DNSName("http://ocsp.igc.test/"), None),
        (x509.DirectoryName(A_SUBJECT.name), None),
    ],
)
def test_an_address_is_a_uri_in_any_case_of_letters(
    space: Authority, place: x509.GeneralName, found: str | None
) -> None:
    named = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
    made = with_extension(
        space, space.issue(A_SUBJECT, Make()), x509.AuthorityInformationAccess([named])
    )
    assert ocsp.address(made.certificate) == found


def test_a_nonce_is_not_critical(space: Authority, peer: Identity) -> None:
    """RFC 9654 2.1: a responder that does not know it answers all the same."""
    asked = wire.load_der_ocsp_request(
        ocsp.question(peer.certificate, space.intermediate, b"1" * 32)
    )
    assert not asked.extensions.get_extension_for_class(x509.OCSPNonce).critical
