"""OCSP beside the CRLs: what an answer must be, who is asked and when (OP-08, OP-09)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as wire
from cryptography.x509.oid import AuthorityInformationAccessOID

from mssmtp import ocsp
from mssmtp.demo.authority import Authority, Identity
from mssmtp.ocsp import BadAnswer
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from tests.authority import (
    A_SUBJECT,
    MakeAnswer,
    MakeCrl,
    make_answer,
    make_crl,
    shared_keys,
)
from tests.trust.answering import (
    ADDRESS,
    RESPONDER,
    SIGNS,
    delegate,
    delegate_with,
    ended,
    judged,
    peer_of_a_responder,
    trust_with,
    what_is_read,
    with_extension,
)

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NONCE = bytes(range(32))
REVOKED, UNKNOWN = wire.OCSPCertStatus.REVOKED, wire.OCSPCertStatus.UNKNOWN


@pytest.fixture(scope="module")
def peer(space: Authority) -> Identity:
    return peer_of_a_responder(space)


# ---------------------------------------------------------------- one answer


@pytest.mark.requirement("OP-08")
@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (MakeAnswer(), "good"),
        (MakeAnswer(status=REVOKED), "revoked"),
        (MakeAnswer(status=UNKNOWN), "unknown"),
        (MakeAnswer(by_hash=True), "good"),
        (MakeAnswer(digest=hashes.SHA256()), "good"),
        (MakeAnswer(nonce=NONCE), "good"),
    ],
)
def test_answer_of_the_authority_is_read(
    space: Authority, peer: Identity, make: MakeAnswer, verdict: str
) -> None:
    assert what_is_read(space, peer, make, make.nonce) == verdict


BAD: dict[str, Callable[[Authority], MakeAnswer]] = {
    "past its end": lambda s: MakeAnswer(this_update=s.now - 2 * DAY, next_update=s.now),
    "begins later": lambda s: MakeAnswer(this_update=s.now + timedelta(minutes=6)),
    "without an end": lambda s: MakeAnswer(ends=False),
    "signature": lambda s: MakeAnswer(spoilt=True),
    "about another certificate": lambda s: MakeAnswer(
        about=(s.issue(A_SUBJECT).certificate, s.intermediate)
    ),
    "signer is not there": lambda s: MakeAnswer(signer=delegate(s), sent=False),
    "signer may not sign answers": lambda s: MakeAnswer(signer=s.issue(RESPONDER)),
    "signer may not sign": lambda s: MakeAnswer(
        signer=delegate(s, replace(SIGNS, digital_signature=False))
    ),
    "signer out of date": lambda s: MakeAnswer(
        signer=delegate(s, replace(SIGNS, not_before=s.now - 9 * DAY, not_after=s.now - DAY))
    ),
    "signer too weak": lambda s: MakeAnswer(
        signer=delegate_with(s, rsa.generate_private_key(65537, 1024))  # noqa: S505  # on purpose
    ),
    "signer is not the issuer's": lambda s: MakeAnswer(
        signer=delegate(Authority(s.now, make_key=shared_keys(20)))
    ),
}


@pytest.mark.attack
@pytest.mark.requirement("OP-08")
@pytest.mark.parametrize("reason", BAD)
def test_att_16_bad_answer_is_none(space: Authority, peer: Identity, reason: str) -> None:
    assert what_is_read(space, peer, BAD[reason](space), None) == reason


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (lambda now: MakeAnswer(this_update=now + ocsp.CLOCK_SKEW), "good"),
        (lambda now: MakeAnswer(this_update=now - DAY, next_update=now + SECOND), "good"),
        (lambda now: MakeAnswer(this_update=now - DAY, next_update=now), "past its end"),
    ],
)
def test_answer_counts_from_its_first_to_its_last_second(
    space: Authority, peer: Identity, make: Callable[[datetime], MakeAnswer], verdict: str
) -> None:
    """Two clocks are never the same: five minutes ahead are let pass."""
    assert what_is_read(space, peer, make(space.now), None) == verdict


def test_signer_is_found_behind_certificates_that_are_not_it(
    space: Authority, peer: Identity
) -> None:
    """Some responders send their issuers along."""
    make = MakeAnswer(signer=delegate(space), before=(space.root, space.intermediate))
    assert what_is_read(space, peer, make, None) == "good"
    crowd = replace(make, before=(space.root,) * 3)
    assert what_is_read(space, peer, crowd, None) == "good"
    crowd = replace(make, before=(space.root,) * 4)
    assert what_is_read(space, peer, crowd, None) == "signer is not there"


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (x509.UniformResourceIdentifier("https://ocsp.igc.test/"), "https://ocsp.igc.test/"),
        (x509.UniformResourceIdentifier("ldap://annuaire.igc.test/"), None),
        (x509.DNSName("ocsp.igc.test"), None),
    ],
)
def test_responder_is_one_over_http(
    space: Authority, place: x509.GeneralName, found: str | None
) -> None:
    other = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(ADDRESS)
    )
    named = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
    access = x509.AuthorityInformationAccess([other, named])
    made = with_extension(space, space.issue(A_SUBJECT), access)
    assert ocsp.address(made.certificate) == found


@pytest.mark.attack
def test_att_16_answer_of_an_operator_is_none(space: Authority, peer: Identity) -> None:
    """The revoked peer answers for itself, with its own good-looking certificate."""
    assert what_is_read(space, peer, MakeAnswer(signer=peer), None) == (
        "signer may not sign answers"
    )


@pytest.mark.attack
def test_att_16_answer_about_the_same_serial_of_another_authority_is_none(
    space: Authority, peer: Identity
) -> None:
    other = Authority(space.now, make_key=shared_keys(20))
    about = MakeAnswer(about=(peer.certificate, other.intermediate))
    assert what_is_read(space, peer, about, None) == "about another certificate"


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
def test_att_16_answer_of_yesterday_does_not_pass_for_ours(
    space: Authority, peer: Identity
) -> None:
    """Plain HTTP: whoever sits on the way can play an old good answer back."""
    assert what_is_read(space, peer, MakeAnswer(), NONCE) == "without our nonce"
    assert what_is_read(space, peer, MakeAnswer(nonce=NONCE[::-1]), NONCE) == "another nonce"


@pytest.mark.attack
def test_att_16_no_octet_of_an_answer_can_be_changed(space: Authority, peer: Identity) -> None:
    good = make_answer(space, peer.certificate, MakeAnswer(status=REVOKED))
    for at in range(len(good)):
        changed = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
        try:
            answer = ocsp.read(changed, peer.certificate, space.intermediate, space.now)
        except BadAnswer:
            continue
        assert answer.verdict == "revoked"  # the octets around the signed part


def test_refusal_of_the_responder_and_rubbish_are_no_answer(
    space: Authority, peer: Identity
) -> None:
    later = wire.OCSPResponseBuilder.build_unsuccessful(wire.OCSPResponseStatus.TRY_LATER)
    for octets in (b"", b"<html>", b"\0" * (ocsp.MAX_OCTETS + 1), later.public_bytes(Encoding.DER)):
        with pytest.raises(BadAnswer):
            ocsp.read(octets, peer.certificate, space.intermediate, space.now)


def test_question_names_certificate_issuer_and_nonce(space: Authority, peer: Identity) -> None:
    asked = wire.load_der_ocsp_request(ocsp.question(peer.certificate, space.intermediate, NONCE))
    assert asked.serial_number == peer.certificate.serial_number
    assert asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    assert ocsp.address(peer.certificate) == ADDRESS
    assert ocsp.address(space.issue(A_SUBJECT).certificate) is None


# ---------------------------------------------------------------- beside the CRLs


@pytest.mark.requirement("OP-09")
def test_wt_30_past_the_end_of_the_crl_a_good_answer_lets_mail_flow_until_it_ends(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    trust = trust_with(space, anchors, make_crl(space, MakeCrl(of_root=True)), ended(space))
    assert judged(trust, peer, space.now) == "revocation unknown"
    answer = make_answer(space, peer.certificate, MakeAnswer())
    assert trust.learn(answer, peer.certificate, space.now, None) == "good"
    assert judged(trust, peer, space.now) == "accepted"
    assert judged(trust, peer, space.now + DAY) == "revocation unknown"
    other = space.issue(A_SUBJECT)
    assert judged(trust, other, space.now) == "revocation unknown"  # it speaks of one only


@pytest.mark.requirement("OP-09")
def test_wt_30_answer_about_the_peer_does_not_stand_in_for_the_roots_crl(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    trust = trust_with(space, anchors, ended(space))
    good = make_answer(space, peer.certificate, MakeAnswer())
    trust.learn(good, peer.certificate, space.now, None)
    assert judged(trust, peer, space.now) == "revocation unknown"


@pytest.mark.attack
@pytest.mark.requirement("OP-08", "OP-09")
def test_att_25_revoked_wins_over_good_whoever_says_it_and_for_good(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    trust = trust_with(space, anchors, *space.crls())
    assert judged(trust, peer, space.now) == "accepted"
    revoked = make_answer(space, peer.certificate, MakeAnswer(status=REVOKED))
    assert trust.learn(revoked, peer.certificate, space.now, None) == "revoked"
    assert judged(trust, peer, space.now) == "revoked"  # at once: nothing from memory
    younger = MakeAnswer(this_update=space.now)
    trust.learn(make_answer(space, peer.certificate, younger), peer.certificate, space.now, None)
    assert judged(trust, peer, space.now) == "revoked"
    trust.swap(replace(trust.snapshot, revocation=Revocation.of(space.crls(), anchors)))
    assert judged(trust, peer, space.now) == "revoked"  # the answers outlive a new CRL
    trust.swap(replace(trust.snapshot, revocation=None))
    assert judged(trust, peer, space.now) == "revoked"


@pytest.mark.attack
def test_att_25_revoked_in_the_crl_wins_over_a_good_answer(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    listing = make_crl(space, MakeCrl([peer.certificate.serial_number]))
    trust = trust_with(space, anchors, make_crl(space, MakeCrl(of_root=True)), listing)
    good = make_answer(space, peer.certificate, MakeAnswer())
    trust.learn(good, peer.certificate, space.now, None)
    assert judged(trust, peer, space.now) == "revoked"


@pytest.mark.attack
def test_att_16_delegate_must_be_known_to_be_good_itself(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    root = make_crl(space, MakeCrl(of_root=True))
    signer = delegate(space)
    answer = make_answer(space, peer.certificate, MakeAnswer(signer=signer))
    listing = make_crl(space, MakeCrl([signer.certificate.serial_number]))
    for crl in (listing, ended(space)):
        with pytest.raises(BadAnswer, match="signer revoked, or nobody knows"):
            trust_with(space, anchors, root, crl).learn(answer, peer.certificate, space.now, None)
    whole = trust_with(space, anchors, root, make_crl(space, MakeCrl()))
    assert whole.learn(answer, peer.certificate, space.now, None) == "good"
    unchecked = with_extension(space, signer, x509.OCSPNoCheck())
    answer = make_answer(space, peer.certificate, MakeAnswer(signer=unchecked))
    past = trust_with(space, anchors, root, ended(space))
    assert past.learn(answer, peer.certificate, space.now, None) == "good"


@pytest.mark.attack
def test_att_16_answer_about_a_certificate_that_only_bears_our_authoritys_name_is_not_kept(
    space: Authority, anchors: Anchors
) -> None:
    forger = Authority(space.now, make_key=shared_keys(20)).issue(A_SUBJECT)
    trust = trust_with(space, anchors, *space.crls())
    answer = make_answer(space, forger.certificate, MakeAnswer())
    with pytest.raises(BadAnswer, match="no authority of ours"):
        trust.learn(answer, forger.certificate, space.now, None)


def test_answers_are_bounded_and_a_revocation_is_never_the_one_that_goes(
    space: Authority, anchors: Anchors, peer: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.revocation.MAX_ANSWERS", 3)
    trust = trust_with(space, anchors, *space.crls())
    revoked = make_answer(space, peer.certificate, MakeAnswer(status=REVOKED))
    trust.learn(revoked, peer.certificate, space.now, None)
    for _ in range(5):
        other = space.issue(A_SUBJECT).certificate
        trust.learn(make_answer(space, other, MakeAnswer()), other, space.now, None)
    known = trust.snapshot.revocation
    assert known is not None
    assert len(known.answers) <= 3
    assert peer.certificate in known.answers
