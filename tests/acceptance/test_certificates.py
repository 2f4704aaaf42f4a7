"""Rows that are one certificate, presented to our operator door and to our relay."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from mssmtp.demo.authority import Identity
from tests.acceptance.ours import Ours, answer, letter
from tests.acceptance.space import CASES, FAULTY, MATRIX, Case, Space
from tests.acceptance.table import Table
from tests.home import ZOE
from tests.smtp_out.peer import Peer, Script

BY_NAME = {case.name: case for case in CASES}


def received(ours: Ours, identity: Identity | None, sender: str) -> str:
    """What our operator door says at last to a letter of `sender`'s."""
    with ours.peer(identity) as client:
        said = client.mail(sender)
        if said[0] == 250:
            assert client.rcpt(str(ZOE))[0] == 250
            said = client.data(letter(sender, str(ZOE)))
    return answer(said)


def delivered(ours: Ours, peer: Peer, recipient: str) -> str:
    """A letter to `recipient` arrives at `peer`."""
    ours.submit(recipient)
    ours.gone(recipient)
    (message,) = peer.messages
    peer.messages.clear()
    assert message.recipients == (recipient,)
    return "delivered"


def undelivered(ours: Ours, recipient: str, *peers: Peer) -> str:
    """A letter to `recipient` waits, and no peer has heard of it; its last reply."""
    ours.submit(recipient)
    entry = ours.tried(recipient)
    for peer in peers:
        assert peer.sessions, "never asked"
        assert not any("MAIL" in session.verbs for session in peer.sessions)
    assert entry.last_reply is not None
    return f"no MAIL; {entry.last_reply}"


def reasons(caplog: pytest.LogCaptureFixture, event: str) -> set[str]:
    """Reasons logged with `event`, each beside a serial number."""
    found = [r for r in caplog.records if r.getMessage() == event]
    assert all(vars(r)["serial"] for r in found)
    return {str(vars(r)["reason"]) for r in found}


@pytest.mark.requirement("OP-97", "OP-10", "OP-14", "OP-17", "OP-07", "OP-08", "OP-32", "OP-33")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_inbound(ours: Ours, table: Table, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    said = received(ours, ours.space.identity(case), f"essai@{case.domain}")
    logged = reasons(caplog, "peer refused")
    assert logged == ({case.inbound} if case.inbound else set())
    table.saw(case.row, case.what, "inbound", said + "".join(f" Logged: {r}." for r in logged))


@pytest.mark.requirement("OP-97", "OP-11", "OP-17", "OP-07", "OP-08", "OP-32", "OP-33")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outbound(ours: Ours, table: Table, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    recipient = f"essai@{case.domain}"
    with ours.exposed(case.domain, (ours.space.identity(case), Script())) as (peer,):
        if not case.outbound:
            table.saw(case.row, case.what, "outbound", delivered(ours, peer, recipient))
            return
        seen = undelivered(ours, recipient, peer)
    logged = reasons(caplog, "alarm: server certificate refused")
    assert logged == {case.outbound}
    table.saw(case.row, case.what, "outbound", f"{seen} Alarm: {case.outbound}.")


@pytest.mark.requirement("OP-97", "OP-20")
@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.name)
def test_wt_09_the_healthy_certificate_passes_for_the_same_domain(
    ours: Ours, table: Table, case: Case
) -> None:
    what = f"healthy certificate for {case.domain}"
    said = received(ours, ours.space.bus, f"essai@{case.domain}")
    table.saw("WT-09", what, "inbound", said)
    with ours.exposed(case.domain, (ours.space.bus, Script())) as (peer,):
        seen = delivered(ours, peer, f"essai@{case.domain}")
    table.saw("WT-09", what, "outbound", seen)


@pytest.mark.requirement("OP-97", "OP-99", "OP-20", "APX-07", "SEED-02", "SEED-04")
def test_wt_10_every_generic_partner_and_test_domain_passes_with_its_own_name(
    ours: Ours, table: Table
) -> None:
    """One code path for all: nothing here names a domain but the list."""
    said, seen = set(), set()
    for (domain, _), identity in ours.space.partners.items():
        said.add(received(ours, identity, f"essai@{domain}"))
        with ours.exposed(domain, (identity, Script())) as (peer,):
            seen.add(delivered(ours, peer, f"essai@{domain}"))
    table.saw("WT-10", "generic, partner, Apicrypt and test domains", "inbound", said.pop())
    table.saw("WT-10", "generic, partner, Apicrypt and test domains", "outbound", seen.pop())
    assert not said
    assert not seen


@pytest.mark.requirement("OP-97", "OP-20", "OP-16")
def test_wt_42_of_two_names_the_one_that_is_not_revoked_passes(ours: Ours, table: Table) -> None:
    revoked, domain = ours.space.identity(BY_NAME["cert-revoque-audit"]), "cert-revoque-audit.test"
    assert received(ours, revoked, f"essai@{domain}").startswith("554 5.7.5 Certificat revoque")
    said = received(ours, ours.space.bus, f"essai@{domain}")
    table.saw("WT-42", "two names, one certificate revoked", "inbound", said)
    with ours.exposed(domain, (revoked, Script()), (ours.space.bus, Script())) as (bad, good):
        seen = delivered(ours, good, f"essai@{domain}")
        assert bad.sessions
        assert not bad.messages
    table.saw("WT-42", "two names, one certificate revoked", "outbound", f"other MX: {seen}")


@pytest.mark.requirement("OP-97", "OP-21")
def test_wt_41_a_renewed_certificate_of_the_same_name_needs_no_list(
    ours: Ours, table: Table
) -> None:
    case = BY_NAME["tests-operateur"]
    renewed = ours.space.authority.issue(case.named)
    old, sender = ours.space.identity(case), f"essai@{case.domain}"
    assert renewed.certificate.serial_number != old.certificate.serial_number
    with ours.peer(old) as client:
        assert client.mail(sender)[0] == 250
        said = received(ours, renewed, sender)
        client.rset()
        assert client.mail(sender)[0] == 250  # the session of before goes on
    table.saw("WT-41", "certificate renewed, same name", "inbound", f"session goes on; {said}")
    with ours.exposed(case.domain, (old, Script())) as (peer,):
        delivered(ours, peer, sender)
    with ours.exposed(case.domain, (renewed, Script())) as (peer,):
        seen = delivered(ours, peer, sender)
    table.saw("WT-41", "certificate renewed, same name", "outbound", seen)


@pytest.mark.requirement("OP-97", "OP-08")
def test_wt_44_without_eku_it_is_refused_by_setting(
    space: Space, table: Table, tmp_path: Path
) -> None:
    case = BY_NAME["sans-eku"]
    bare, sender = space.identity(case), f"essai@{case.domain}"
    with Ours(tmp_path, space, {"pki.require_eku": True}).running() as strict:
        said = received(strict, bare, sender)
        with strict.exposed(case.domain, (bare, Script())) as (peer,):
            seen = undelivered(strict, sender, peer)
        assert received(strict, space.bus, sender).startswith("250 ")
    table.saw("WT-44", "no EKU, setting pki.require_eku", "inbound", said)
    table.saw("WT-44", "no EKU, setting pki.require_eku", "outbound", seen)


@pytest.mark.requirement("OP-12")
def test_a_host_name_that_is_not_in_the_certificate_is_logged_with_both_and_accepted(
    ours: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    case = BY_NAME["cert-valide-audit"]
    caplog.set_level("INFO")
    with ours.exposed(case.domain, (ours.space.identity(case), Script())) as (peer,):
        delivered(ours, peer, f"essai@{case.domain}")
        hosts = ours.resolver.hosts[case.domain]
    (told,) = [r for r in caplog.records if r.getMessage() == "host name is not in the certificate"]
    assert vars(told)["host"] in cast("tuple[str, ...]", hosts)
    assert vars(told)["certificate_names"] == [f"mx.{case.domain}"]


def test_the_cases_are_those_of_the_specification() -> None:
    assert len({case.domain for case in CASES}) == len(CASES)
    assert {case.row for case in MATRIX} >= {f"WT-0{n}" for n in (1, 2, 3, 4, 5, 6, 8)}
