"""What the doors show to people and to peers, and which authorities each asks (CL-08, OP-07)."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.finding import Finding, Severity
from mssmtp.own import findings
from mssmtp.pki import CertificateRefused
from mssmtp.revocation import Revocation
from mssmtp.tls import client_context, server_context
from mssmtp.trust import Snapshot, identify
from tests.authority import A_DOMAIN, A_SUBJECT, shared_keys
from tests.own.handshake import shake
from tests.own.operator import Own

MAIL = Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER DE VALMONT")


def root_only(authority: Authority) -> ssl.SSLContext:
    """A mail program that was given the root, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.root.public_bytes(Encoding.PEM).decode())
    return context


def users(own: Own, identity: Identity) -> None:
    own.users = identity.write(own.directory, "users")


@pytest.mark.requirement("CL-08", "CL-09")
def test_a_client_that_knows_the_root_only_accepts_the_user_doors(own: Own) -> None:
    users(own, own.authority.issue(MAIL))
    keys = own.keys()
    context = server_context(own.settings.tls, keys.to_users, ask_certificate=False)
    session = shake(context.engine(), root_only(own.authority), "mx.hopital-a.test")
    assert session.getpeercert()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(context.engine(), root_only(own.authority), "mx.ailleurs.test")


@pytest.mark.requirement("CL-09")
def test_without_its_issuer_the_same_client_refuses_and_doctor_is_red(own: Own) -> None:
    alone = replace(own.authority.issue(MAIL), issuers=())
    users(own, alone)
    keys = own.keys()
    context = server_context(own.settings.tls, keys.to_users, ask_certificate=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake(context.engine(), root_only(own.authority), "mx.hopital-a.test")
    found = told(own, "certificate for users")
    assert found.severity is Severity.ERROR
    assert "is sent without CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS" in found.why
    assert "Append that authority to" in found.remedy


@pytest.mark.requirement("CL-08")
def test_doctor_is_red_when_another_authority_has_issued_it(own: Own) -> None:
    stranger = Authority(own.authority.now, make_key=shared_keys(80))
    users(own, stranger.issue(MAIL))
    found = told(own, "certificate for users")
    assert found.severity is Severity.ERROR
    assert found.why == "was not issued by the authorities of its door"
    path = own.directory / "of-users.pem"
    path.write_bytes(stranger.anchors_pem)
    own.more["users_anchors_file"] = str(path)
    assert told(own, "certificate for users").severity is Severity.OK
    assert own.keys().users.anchors.certificates[0] == stranger.root


@pytest.mark.requirement("CL-08")
def test_doctor_says_how_mail_programs_get_to_know_the_root(own: Own) -> None:
    found = told(own, "mail programs")
    assert "docs/certificates.md" in found.why
    assert "no public authority" in found.why


def test_doctor_warns_when_the_user_doors_name_another_host(own: Own) -> None:
    users(own, own.authority.issue(replace(MAIL, cn="autre.hopital-a.test")))
    warned = [
        each.why
        for each in findings(own.settings, own.clock.now(), None)
        if each.severity is Severity.WARNING
    ]
    assert any("does not name mx.hopital-a.test" in why for why in warned)


# ---------------------------------------------------------------- authorities of each door


@pytest.mark.requirement("OP-07")
def test_the_systems_store_is_never_asked(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that only the machine's own store would trust stays a stranger, at both sides."""
    stranger = Authority(own.authority.now, make_key=shared_keys(90))
    system = tmp_path / "system.pem"
    system.write_bytes(stranger.anchors_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    default = ssl.create_default_context()
    assert default.cert_store_stats()["x509_ca"] == 2, "the store is read by who asks for it"
    anchors = own.trust.snapshot.anchors
    crls = Revocation.of(own.authority.crls(), anchors)
    snapshot = Snapshot(own.trust.snapshot.whitelist, crls, anchors)
    with pytest.raises(CertificateRefused):
        identify(stranger.issue(A_SUBJECT, Make()).chain, snapshot, own.clock.now())
    ours = client_context(own.settings.tls, None, own.directory / "anchors.pem")
    assert ours.cert_store_stats()["x509_ca"] == 2
    users(own, stranger.issue(MAIL))
    keys = own.keys()
    theirs = server_context(own.settings.tls, keys.to_users, ask_certificate=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(theirs.engine(), ours, "mx.hopital-a.test")


@pytest.mark.requirement("OP-07")
def test_authorities_of_one_door_do_not_open_another(own: Own) -> None:
    """The certificate of the operator door is judged by the operators' set, whatever users have."""
    stranger = Authority(own.authority.now, make_key=shared_keys(95))
    path = own.directory / "of-users.pem"
    path.write_bytes(stranger.anchors_pem)
    own.more["users_anchors_file"] = str(path)
    own.put(stranger.issue(A_SUBJECT))
    users(own, stranger.issue(MAIL))
    assert told(own, "certificate for operators").severity is Severity.ERROR
    assert told(own, "certificate for users").severity is Severity.OK
    assert A_DOMAIN in own.domains


def told(own: Own, what: str) -> Finding:
    found = findings(own.settings, own.clock.now(), own.trust.snapshot.whitelist)
    return next(each for each in found if each.what == what)
