"""The option to fail in the handshake: an alert in place of a reply, the same words in the log."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from mssmtp.demo.authority import Identity
from tests.acceptance.ours import Ours, client_context
from tests.acceptance.space import NOT_LISTED, Space
from tests.acceptance.table import ALERTS, Table
from tests.acceptance.test_certificates import BY_NAME, reasons, received

VALID = BY_NAME["cert-valide-audit"]
SENDER = f"essai@{VALID.domain}"
CASES = {
    "expired": "cert-expire-audit",
    "not yet valid": "pas-encore",
    "revoked": "cert-revoque-audit",
    "chain": "cert-non-igc-audit",
    "usage": "courriel-seul",
    "weak": "rsa-1024",
}


@pytest.fixture(scope="module")
def strict(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    more = {"tls.refuse_in_handshake": True}
    with Ours(tmp_path_factory.mktemp("strict"), space, more).running() as operator:
        yield operator


def presented(strict: Ours, reason: str) -> Identity | None:
    if reason == "no certificate":
        return None
    if reason == "name not listed":
        return strict.space.authority.issue(NOT_LISTED)
    return strict.space.identity(BY_NAME[CASES[reason]])


def alert(strict: Ours, identity: Identity | None, version: ssl.TLSVersion) -> str:
    """What the peer's TLS hears; in TLS 1.3 only when it reads."""
    context = client_context(identity, strict.directory)
    context.minimum_version = context.maximum_version = version
    client = strict.connect()

    def begin() -> None:
        client.starttls(context=context)
        client.ehlo()

    with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected)) as caught:
        begin()
    client.close()
    named = re.search(r"ALERT_([A-Z_]+)", str(caught.value))
    assert named is not None, caught.value
    return named[1].replace("_", " ").lower()


@pytest.mark.requirement("OP-17", "OP-08")
@pytest.mark.parametrize("reason", ALERTS)
def test_the_handshake_of_a_refused_peer_ends_with_an_alert(
    strict: Ours, table: Table, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    identity = presented(strict, reason)
    heard = [alert(strict, identity, v) for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    logged = [r for r in caplog.records if r.getMessage() == "peer refused"]
    assert [vars(r)["reason"] for r in logged] == [reason, reason]
    if identity is not None:
        reasons(caplog, "peer refused")
    told = heard[0] if heard[0] == heard[1] else f"{heard[0]} (TLS 1.3: {heard[1]})"
    what = f"refused in the handshake: {reason}"
    table.saw("§7", what, "inbound", f"{told}. Logged: {reason}.")


@pytest.mark.requirement("OP-17")
def test_whoever_may_come_in_is_answered_by_smtp_as_ever(strict: Ours, table: Table) -> None:
    """The sender's domain is not known in the handshake."""
    identity = strict.space.identity(VALID)
    assert received(strict, identity, SENDER).startswith("250 ")
    said = received(strict, identity, "essai@tests-operateur.test")
    table.saw("§7", "refused in the handshake: name not of domain", "inbound", said)


@pytest.mark.requirement("OP-17", "OP-09")
def test_what_may_pass_later_is_deferred_by_smtp_all_the_same(strict: Ours) -> None:
    snapshot = strict.trust.snapshot
    strict.trust.swap(type(snapshot)(None, snapshot.revocation, snapshot.anchors))
    try:
        assert received(strict, strict.space.identity(VALID), SENDER).startswith("451 4.7.5 ")
    finally:
        strict.trust.swap(snapshot)


@pytest.mark.requirement("OP-17")
def test_our_own_bug_lets_nobody_in(strict: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(strict.trust, "identify", broken)
    identity = strict.space.identity(VALID)
    assert alert(strict, identity, ssl.TLSVersion.TLSv1_2) == "handshake failure"
