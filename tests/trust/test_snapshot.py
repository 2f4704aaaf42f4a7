"""What is in force: without a list, with a setting, and what a swap takes along."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp import trust
from mssmtp.demo.authority import Authority, Identity, Make
from mssmtp.mail import domain
from mssmtp.ocsp import Answer, BadAnswer
from mssmtp.pki import Anchors, CertificateRefused, is_signed
from mssmtp.revocation import Revocation
from mssmtp.trust import PeerRefused, Snapshot, Trust, bind, identify, judge_server
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    B_DOMAIN,
    B_SUBJECT,
    MakeAnswer,
    make_answer,
    shared_keys,
)
from tests.authority import unsigned_whitelist as listing
from tests.keys import key

HOUR = timedelta(hours=1)


def test_without_a_list_no_domain_is_listed_and_nothing_has_a_date(snapshot: Snapshot) -> None:
    empty = replace(snapshot, whitelist=None)
    assert not empty.lists(domain(A_DOMAIN))
    assert empty.list_date is None
    assert snapshot.lists(domain(A_DOMAIN))
    assert not snapshot.lists(domain("ailleurs.test"))
    with pytest.raises(PeerRefused) as caught:
        _ = empty.listed
    assert caught.value.reason == "no list"
    assert caught.value.imap == "AUTHENTICATIONFAILED"  # RFC 5530


@pytest.mark.requirement("OP-08")
def test_wt_44_a_certificate_without_usage_passes_unless_the_setting_asks_for_one(
    authority: Authority, snapshot: Snapshot
) -> None:
    chain, now = authority.issue(A_SUBJECT, Make(usages=None)).chain, authority.now
    name = domain(A_DOMAIN)
    identify(chain, snapshot, now)
    judge_server(chain, name, snapshot, now)
    Trust(snapshot).identify(chain, now)
    Trust(snapshot).judge_server(chain, name, now)
    strict = Trust(snapshot, require_eku=True)
    refusals = []
    for judged in (
        partial(identify, chain, snapshot, now, require_eku=True),
        partial(judge_server, chain, name, snapshot, now, require_eku=True),
        partial(strict.identify, chain, now),
        partial(strict.judge_server, chain, name, now),
    ):
        with pytest.raises(CertificateRefused) as caught:
            judged()
        refusals.append(caught.value.reason)
    assert refusals == ["usage"] * 4


def answered(snapshot: Snapshot, peer: Identity, answer: Answer) -> Snapshot:
    """`snapshot` once a responder has spoken of `peer`."""
    assert snapshot.revocation is not None
    known = Revocation(snapshot.revocation.crls, {peer.certificate: answer})
    return replace(snapshot, revocation=known)


@pytest.mark.requirement("OP-09")
def test_what_a_responder_said_is_not_forgotten_with_a_new_list_or_crl(
    authority: Authority, snapshot: Snapshot
) -> None:
    peer, other = authority.issue(A_SUBJECT), authority.issue(B_SUBJECT)
    revoked = Answer("revoked", authority.now - HOUR, authority.now + HOUR)
    held = Trust(answered(snapshot, peer, revoked))
    for following in (snapshot, replace(snapshot, revocation=None)):
        held.swap(following)
        with pytest.raises(CertificateRefused) as caught:
            held.identify(peer.chain, authority.now)
        assert caught.value.reason == "revoked"
    held.swap(snapshot)
    assert held.identify(other.chain, authority.now).domains == {domain(B_DOMAIN)}


def test_a_swap_puts_exactly_the_new_snapshot_in_force(
    authority: Authority, snapshot: Snapshot
) -> None:
    held = Trust(replace(snapshot, whitelist=None, revocation=None))
    held.swap(snapshot)
    assert held.snapshot is snapshot
    shrunk = replace(snapshot, whitelist=listing(authority, (B_DOMAIN, B_SUBJECT.text)))
    held.swap(shrunk)
    assert held.snapshot is shrunk
    with pytest.raises(PeerRefused):
        held.identify(authority.issue(A_SUBJECT).chain, authority.now)


@pytest.mark.attack
def test_an_answer_about_a_certificate_of_no_authority_of_ours_is_not_even_read(
    authority: Authority, snapshot: Snapshot
) -> None:
    stranger = Authority(authority.now, make_key=shared_keys(20)).issue(A_SUBJECT)
    held = Trust(snapshot)
    for octets in (b"", b"\x30\x03\x0a\x01\x00"):
        with pytest.raises(BadAnswer, match="no authority of ours"):
            held.learn(octets, stranger.certificate, authority.now, None)
        with pytest.raises(BadAnswer, match="not readable"):
            held.learn(octets, authority.issue(A_SUBJECT).certificate, authority.now, None)
    assert held.snapshot is snapshot


def test_a_sender_of_no_domain_passes_and_a_name_that_left_the_list_does_not(
    authority: Authority, snapshot: Snapshot
) -> None:
    operator = identify(authority.issue(A_SUBJECT).chain, snapshot, authority.now)
    bind(operator, None, snapshot)
    left = replace(snapshot, whitelist=listing(authority, (B_DOMAIN, B_SUBJECT.text)))
    with pytest.raises(PeerRefused) as caught:
        bind(operator, None, left)
    assert (caught.value.reason, caught.value.serial) == ("name not listed", operator.serial)


@pytest.mark.requirement("OP-09")
def test_unsaid_is_what_neither_crl_nor_answer_speaks_of(
    authority: Authority, snapshot: Snapshot
) -> None:
    leaf, now = authority.issue(A_SUBJECT).certificate, authority.now
    above = (authority.intermediate, authority.root)
    assert snapshot.unsaid(leaf, now) == ()
    assert snapshot.revocation is not None
    assert snapshot.revocation.next_update is not None
    assert snapshot.unsaid(leaf, snapshot.revocation.next_update) == (
        (leaf, authority.intermediate),
        above,
    )
    silent = replace(snapshot, revocation=None)
    assert silent.unsaid(leaf, now) == ((leaf, authority.intermediate), above)
    good = Answer("good", now - HOUR, now + HOUR)
    asked = Snapshot(None, Revocation((), {leaf: good}), snapshot.anchors)
    assert asked.unsaid(leaf, now) == (above,)
    stranger = Authority(now, make_key=shared_keys(20)).issue(A_SUBJECT).certificate
    assert silent.unsaid(_self_issued(stranger), now) == ()


def _self_issued(certificate: x509.Certificate) -> x509.Certificate:
    """Of an issuer we have never heard of."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "AC INCONNUE")])
    return (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(name)
        .public_key(key(100).public_key())
        .serial_number(9)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .sign(key(101), hashes.SHA256())
    )


@pytest.mark.attack
@pytest.mark.requirement("OP-08")
def test_att_18_an_acceptance_is_remembered_until_the_certificate_ends_itself(
    authority: Authority, snapshot: Snapshot
) -> None:
    """Its issuer, sent along, and the CRLs are good for days more."""
    now, name = authority.now, domain(A_DOMAIN)
    brief = authority.issue(A_SUBJECT, Make(not_after=now + HOUR))
    held = Trust(snapshot)
    assert held.identify(brief.chain, now) == held.identify(brief.chain, now + HOUR / 2)
    held.judge_server(brief.chain, name, now)
    for judged in (
        partial(held.identify, brief.chain, now + 2 * HOUR),
        partial(held.judge_server, brief.chain, name, now + 2 * HOUR),
    ):
        with pytest.raises(CertificateRefused) as caught:
            judged()
        assert caught.value.reason == "expired"


def test_peers_that_were_let_in_are_told_once(authority: Authority, snapshot: Snapshot) -> None:
    one, other = authority.issue(A_SUBJECT), authority.issue(B_SUBJECT)
    held = Trust(snapshot)
    for _ in range(2):
        held.identify(one.chain, authority.now)
        held.judge_server(other.chain, domain(B_DOMAIN), authority.now)
    assert set(held.take_met()) == {one.certificate, other.certificate}
    assert held.take_met() == ()
    with pytest.raises(PeerRefused):
        held.judge_server(other.chain, domain(A_DOMAIN), authority.now)
    assert held.take_met() == ()


def test_listeners_hear_of_every_swap_until_they_end(snapshot: Snapshot) -> None:
    held, heard = Trust(snapshot), list[str]()
    first = held.subscribe(lambda: heard.append("first"))
    second = held.subscribe(lambda: heard.append("second"))
    held.swap(snapshot)
    assert heard == ["first", "second"]
    first()
    held.swap(snapshot)
    assert heard == ["first", "second", "second"]
    second()
    held.swap(snapshot)
    assert heard == ["first", "second", "second"]


@pytest.mark.requirement("OP-80")
def test_whom_to_call_is_told_for_a_listed_domain_only(snapshot: Snapshot) -> None:
    told = Trust(snapshot).contact(domain(A_DOMAIN))
    assert snapshot.whitelist is not None
    listed = snapshot.whitelist.contact(domain(A_DOMAIN))
    assert listed is not None
    assert told == {"responsible": listed.responsible, "support": listed.support}
    assert Trust(snapshot).contact(domain("ailleurs.test")) == {}
    assert Trust(replace(snapshot, whitelist=None)).contact(domain(A_DOMAIN)) == {}


def test_the_roots_are_what_signed_itself(authority: Authority, snapshot: Snapshot) -> None:
    assert snapshot.anchors.roots == (authority.root,)
    assert snapshot.anchors.issuing == (authority.intermediate,)
    leaf = authority.issue(A_SUBJECT).certificate
    assert snapshot.anchors.issuer_of(leaf) == authority.intermediate
    assert snapshot.anchors.issuer_of(authority.intermediate) == authority.root
    assert snapshot.anchors.issuer_of(_self_issued(leaf)) is None


@pytest.mark.attack
def test_att_16_the_issuer_is_who_signed_and_not_who_is_called_so(
    authority: Authority, snapshot: Snapshot
) -> None:
    """An authority that was renewed with another key keeps its name."""
    other = Authority(authority.now, make_key=shared_keys(20))
    leaf, twin = authority.issue(A_SUBJECT).certificate, other.issue(A_SUBJECT).certificate
    assert is_signed(leaf, authority.intermediate)
    assert not is_signed(leaf, other.intermediate)
    assert not is_signed(leaf, authority.root)  # of another name
    for first, second in ((authority, other), (other, authority)):
        both = Anchors((first.root, first.intermediate, second.root, second.intermediate))
        assert both.issuer_of(leaf) == authority.intermediate
        assert both.issuer_of(twin) == other.intermediate


def test_nobody_is_no_certificate(authority: Authority, snapshot: Snapshot) -> None:
    held = Trust(snapshot)
    for judged in (
        partial(held.identify, (), authority.now),
        partial(held.judge_server, (), domain(A_DOMAIN), authority.now),
    ):
        with pytest.raises(CertificateRefused) as caught:
            judged()
        assert caught.value.reason == "no certificate"


def test_how_many_peers_are_told_is_bounded(
    authority: Authority, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_REMEMBERED", 1)
    held = Trust(snapshot)
    for who in (A_SUBJECT, B_SUBJECT):
        held.identify(authority.issue(who).chain, authority.now)
    assert len(held.take_met()) == 1


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
def test_an_answer_is_taken_where_nothing_was_known_and_only_to_our_question(
    authority: Authority, snapshot: Snapshot
) -> None:
    leaf, now = authority.issue(A_SUBJECT).certificate, authority.now
    held = Trust(replace(snapshot, revocation=None))
    octets = make_answer(authority, leaf, MakeAnswer(nonce=b"1" * 16))
    with pytest.raises(BadAnswer):
        held.learn(octets, leaf, now, b"2" * 16)
    assert held.snapshot.revocation is None
    assert held.learn(octets, leaf, now, b"1" * 16) == "good"
    assert held.snapshot.unsaid(leaf, now) == ((authority.intermediate, authority.root),)
