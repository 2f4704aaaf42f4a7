"""The decision tables of docs/trust.md, as pure functions and as `Trust`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssmtp import trust
from mssmtp.demo.authority import EMAIL_ONLY, Authority, Identity, Make, Subject
from mssmtp.errors import BadAddress, MailError
from mssmtp.mail import Address, Domain, domain
from mssmtp.pki import Anchors, CertificateRefused
from mssmtp.revocation import Revocation, judge_chain
from mssmtp.trust import PeerRefused, Snapshot, Trust, bind, identify, judge_server
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    B_DOMAIN,
    B_SUBJECT,
    shared_keys,
    unsigned_whitelist,
)

BUS = Subject("bus.mssante.example", "398765432100041", "OPERATEUR SAIN", "Paris (75)")
OFF = Subject("mx.hors-liste.test", "398765432100058", "HORS LISTE", "Paris (75)")


@dataclass(frozen=True)
class Space:
    """An authority, its list and CRLs, and a certificate per case of §8."""

    authority: Authority
    snapshot: Snapshot
    certificates: dict[str, Identity]

    @property
    def now(self) -> datetime:
        return self.authority.now


FAULTY = {
    "expire": Subject("mx.expire.test", "1990000025", "GIP - ESSAI", "Paris (75)"),
    "revoque": Subject("mx.revoque.test", "1990000033"),
    "non-igc": Subject("mx.non-igc.test", "1990000041"),
    "sans-eku-mss": Subject("mx.courriel.test", "1990000058"),
    "cn-diff-dn": Subject("mx.annonce.test", "1990000066"),
}


def _certificates(authority: Authority) -> dict[str, Identity]:
    stranger = Authority(authority.now, make_key=shared_keys(20))
    past = Make(
        not_before=authority.now - timedelta(days=9),
        not_after=authority.now - timedelta(days=1),
    )
    return {
        "a": authority.issue(A_SUBJECT),
        "b": authority.issue(B_SUBJECT),
        "bus": authority.issue(BUS),
        "off": authority.issue(OFF),
        "expire": authority.issue(FAULTY["expire"], past),
        "revoque": authority.issue(FAULTY["revoque"]),
        "non-igc": stranger.issue(FAULTY["non-igc"]),
        "sans-eku-mss": authority.issue(FAULTY["sans-eku-mss"], Make(usages=EMAIL_ONLY)),
        "cn-diff-dn": authority.issue(replace(FAULTY["cn-diff-dn"], cn="mx.presente.test")),
        "no eku": authority.issue(A_SUBJECT, Make(usages=None)),
        "another dn of a": authority.issue(BUS),
    }


@pytest.fixture(scope="module")
def space() -> Space:
    authority = Authority(
        datetime.fromisoformat("2026-03-02T09:00:00+00:00"), make_key=shared_keys(10)
    )
    certificates = _certificates(authority)
    authority.revoke(certificates["revoque"])
    anchors = Anchors.from_pem(authority.anchors_pem)
    # §8: each faulty domain is listed twice, with its own name and with a healthy one, so that
    # the fault is found by the certificate and not by absence.
    bindings = [(A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, BUS.text), (B_DOMAIN, B_SUBJECT.text)]
    for name, subject in FAULTY.items():
        bindings += [(f"{name}.test", subject.text), (f"{name}.test", BUS.text)]
    snapshot = Snapshot(
        anchors=anchors,
        whitelist=unsigned_whitelist(authority, *bindings),
        revocation=Revocation.of(authority.crls(), anchors),
    )
    return Space(authority, snapshot, certificates)


def address(name: str) -> Address:
    return Address("zoe.tartempion", domain(name))


def inbound(space: Space, certificate: str, sender: str | None) -> str:
    """What steps 2 to 8 answer: code, enhanced code, reason; or "continue"."""
    chain = space.certificates[certificate].chain
    path = None if sender is None else address(sender)
    try:
        bind(identify(chain, space.snapshot, space.now), path, space.snapshot)
    except (CertificateRefused, PeerRefused) as error:
        return f"{error.reply.code} {error.reply.enhanced} {error.reason}"
    return "continue"


def outbound(space: Space, certificate: str, recipient: str) -> str:
    """What steps 1, 4 and 5 answer."""
    chain = space.certificates[certificate].chain
    try:
        judge_server(chain, domain(recipient), space.snapshot, space.now)
    except (CertificateRefused, PeerRefused) as error:
        return f"{error.reply.code} {error.reply.enhanced} {error.reason}"
    return "continue"


# case, certificate, domain, inbound, outbound
MATRIX = [
    ("WT-01", "a", A_DOMAIN, "continue", "continue"),
    ("WT-02", "expire", "expire.test", "554 5.7.5 expired", "451 4.7.5 expired"),
    ("WT-03", "revoque", "revoque.test", "554 5.7.5 revoked", "451 4.7.5 revoked"),
    ("WT-04", "non-igc", "non-igc.test", "554 5.7.5 chain", "451 4.7.5 chain"),
    (
        "WT-05",
        "cn-diff-dn",
        "cn-diff-dn.test",
        "554 5.7.1 name not listed",
        "451 4.7.5 name not of domain",
    ),
    (
        "WT-06",
        "b",
        A_DOMAIN,
        "550 5.7.1 name not of domain",
        "451 4.7.5 name not of domain",
    ),
    ("WT-08", "b", B_DOMAIN, "continue", "continue"),
    ("WT-09", "bus", "expire.test", "continue", "continue"),
    ("WT-09 revoked", "bus", "revoque.test", "continue", "continue"),
    ("WT-09 other CA", "bus", "non-igc.test", "continue", "continue"),
    (
        "WT-34",
        "b",
        A_DOMAIN,
        "550 5.7.1 name not of domain",
        "451 4.7.5 name not of domain",
    ),
    (
        "WT-35",
        "a",
        f"sous.{A_DOMAIN}",
        "550 5.7.1 domain not listed",
        "550 5.7.1 domain not listed",
    ),
    ("WT-36", "a", A_DOMAIN.upper(), "continue", "continue"),
    ("WT-44", "sans-eku-mss", "sans-eku-mss.test", "554 5.7.5 usage", "451 4.7.5 usage"),
    ("WT-44 no EKU", "no eku", A_DOMAIN, "continue", "continue"),
    ("OP-20", "another dn of a", A_DOMAIN, "continue", "continue"),
    (
        "closed space",
        "a",
        "ailleurs.test",
        "550 5.7.1 domain not listed",
        "550 5.7.1 domain not listed",
    ),
    (
        "unlisted peer",
        "off",
        A_DOMAIN,
        "554 5.7.1 name not listed",
        "451 4.7.5 name not of domain",
    ),
]


@pytest.mark.requirement("OP-10", "OP-13", "OP-17")
@pytest.mark.parametrize(
    ("certificate", "name", "answer"),
    [(m[1], m[2], m[3]) for m in MATRIX],
    ids=[m[0] for m in MATRIX],
)
def test_inbound_table(space: Space, certificate: str, name: str, answer: str) -> None:
    assert inbound(space, certificate, name) == answer


@pytest.mark.requirement("OP-11", "OP-16", "OP-17")
@pytest.mark.parametrize(
    ("certificate", "name", "answer"),
    [(m[1], m[2], m[4]) for m in MATRIX],
    ids=[m[0] for m in MATRIX],
)
def test_outbound_table(space: Space, certificate: str, name: str, answer: str) -> None:
    """The host name is not asked: no part of the table takes one (OP-12)."""
    assert outbound(space, certificate, name) == answer


@pytest.mark.requirement("OP-14")
def test_wt_37_null_sender_passes_from_a_listed_name_only(space: Space) -> None:
    assert inbound(space, "a", None) == "continue"
    assert inbound(space, "off", None) == "554 5.7.1 name not listed"


def test_wt_36_trailing_dot_is_no_domain() -> None:
    with pytest.raises(BadAddress):
        Address.parse(f"zoe.tartempion@{A_DOMAIN}.")


def test_step_2_no_certificate(space: Space) -> None:
    with pytest.raises(CertificateRefused) as caught:
        identify((), space.snapshot, space.now)
    assert str(caught.value.reply).startswith("554 5.7.0 ")


@pytest.mark.requirement("OP-09")
@pytest.mark.parametrize("gone", ["whitelist", "revocation"])
def test_step_4_without_list_or_crl_mail_waits(space: Space, gone: str) -> None:
    empty = {
        "whitelist": replace(space.snapshot, whitelist=None),
        "revocation": replace(space.snapshot, revocation=None),
    }[gone]
    chain = space.certificates["a"].chain
    with pytest.raises(MailError) as inbound_refusal:
        identify(chain, empty, space.now)
    with pytest.raises(MailError) as outbound_refusal:
        judge_server(chain, domain(A_DOMAIN), empty, space.now)
    for caught in (inbound_refusal, outbound_refusal):
        assert str(caught.value.reply).startswith("451 4.7.5 ")


def test_operator_carries_what_is_traced(space: Space) -> None:
    """OP-74: name, serial, issuer, list date and CRL number of the decision."""
    identity = space.certificates["a"]
    operator = identify(identity.chain, space.snapshot, space.now)
    assert operator.dn_text == A_SUBJECT.text
    assert int(operator.serial, 16) == identity.certificate.serial_number
    assert operator.issuer_text.startswith("CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS")
    assert operator.domains == {domain(A_DOMAIN)}
    assert operator.list_date == space.snapshot.list_date == space.now
    assert operator.crl_number == 1


@pytest.mark.attack
def test_att_15_unreadable_subject_is_refused_not_skipped(space: Space) -> None:
    """A name that cannot be compared must never fall through to an empty match."""
    odd = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, '""')])
    identity = space.authority.issue(A_SUBJECT, Make(name=odd))
    with pytest.raises(PeerRefused) as caught:
        identify(identity.chain, space.snapshot, space.now)
    assert caught.value.reason == "name not listed"


# ---------------------------------------------------------------- the snapshot in force


class Count:
    """Counts how often a chain is judged for real."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        real = judge_chain

        def judge(*args: Any, **options: Any) -> None:
            self.calls += 1
            real(*args, **options)

        monkeypatch.setattr("mssmtp.trust.judge_chain", judge)


def test_second_connection_of_a_peer_is_not_judged_again(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, held = Count(monkeypatch), Trust(space.snapshot)
    chain = space.certificates["a"].chain
    assert held.identify(chain, space.now) == held.identify(chain, space.now)
    held.judge_server(chain, domain(A_DOMAIN), space.now)
    held.judge_server(chain, domain(A_DOMAIN), space.now)
    assert count.calls == 2  # once in each role


@pytest.mark.attack
def test_remembered_acceptance_ends_with_certificate_and_crl(space: Space) -> None:
    """ATT-18: nothing expired is accepted from memory."""
    held, chain = Trust(space.snapshot), space.certificates["a"].chain
    held.identify(chain, space.now)
    revocation = space.snapshot.revocation
    assert revocation is not None
    assert revocation.next_update is not None
    with pytest.raises(CertificateRefused) as caught:
        held.identify(chain, revocation.next_update)
    assert caught.value.reason == "revocation unknown"
    with pytest.raises(CertificateRefused):
        held.judge_server(chain, domain(A_DOMAIN), revocation.next_update)


@pytest.mark.attack
def test_att_19_answers_for_one_domain_or_role_are_not_those_of_another(space: Space) -> None:
    held = Trust(space.snapshot)
    chain = space.certificates["a"].chain
    held.judge_server(chain, domain(A_DOMAIN), space.now)
    with pytest.raises(PeerRefused):
        held.judge_server(chain, domain(B_DOMAIN), space.now)
    client_only = space.authority.issue(A_SUBJECT, Make(usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)))
    held.identify(client_only.chain, space.now)
    with pytest.raises(CertificateRefused):
        held.judge_server(client_only.chain, domain(A_DOMAIN), space.now)


def shrunk(space: Space, *bindings: tuple[str, str]) -> Snapshot:
    return replace(space.snapshot, whitelist=unsigned_whitelist(space.authority, *bindings))


@pytest.mark.requirement("OP-34")
def test_wt_41_removal_takes_effect_in_an_open_session_and_a_renewal_does_not_end_it(
    space: Space,
) -> None:
    held = Trust(space.snapshot)
    operator = held.identify(space.certificates["a"].chain, space.now)
    held.bind(operator, address(A_DOMAIN))
    renewed = space.authority.issue(A_SUBJECT)
    assert held.identify(renewed.chain, space.now).dn == operator.dn
    held.swap(shrunk(space, (B_DOMAIN, B_SUBJECT.text)))
    for sender in (None, address(A_DOMAIN)):
        with pytest.raises(PeerRefused) as caught:
            held.bind(operator, sender)
        assert caught.value.reason == "name not listed"
    with pytest.raises(PeerRefused):
        held.identify(space.certificates["a"].chain, space.now)


def test_domain_moved_to_another_name_refuses_the_old_one(space: Space) -> None:
    held = Trust(space.snapshot)
    operator = held.identify(space.certificates["a"].chain, space.now)
    held.swap(shrunk(space, (A_DOMAIN, B_SUBJECT.text), (B_DOMAIN, A_SUBJECT.text)))
    with pytest.raises(PeerRefused) as caught:
        held.bind(operator, address(A_DOMAIN))
    assert caught.value.reason == "name not of domain"


def test_memory_of_acceptances_is_bounded(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_REMEMBERED", 2)
    held = Trust(space.snapshot)
    chain = space.certificates["bus"].chain
    for name in ("expire.test", "revoque.test", "non-igc.test", A_DOMAIN):
        held.judge_server(chain, Domain(name), space.now)
        assert len(held._state[1]) <= 2
