"""What is in force: without a list, with a setting, and what a swap takes along."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from mssmtp.demo.authority import Authority, Identity, Make
from mssmtp.mail import domain
from mssmtp.ocsp import Answer, BadAnswer
from mssmtp.pki import CertificateRefused
from mssmtp.revocation import Revocation
from mssmtp.trust import PeerRefused, Snapshot, Trust, bind, identify, judge_server
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, shared_keys
from tests.authority import unsigned_whitelist as listing

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
