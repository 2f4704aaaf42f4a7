"""The steps of the decision tables that no row of the matrix is about (docs/trust.md)."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from mssmtp.accounts import NewBal, add_bal
from mssmtp.mail import Address, BalId, BalState, BalType, EnvelopeId
from mssmtp.outside import LookupFailed
from mssmtp.storage import QueueEntry, Writing
from tests.acceptance.ours import WITHIN_S, Ours, answer, letter
from tests.acceptance.space import Space
from tests.acceptance.table import Table
from tests.acceptance.test_certificates import BY_NAME, received, undelivered
from tests.home import ENTROPY, PASSWORD, ZOE
from tests.smtp_out.peer import Script

VALID = BY_NAME["cert-valide-audit"]
SENDER = f"essai@{VALID.domain}"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def own(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    """An operator with boxes in every state, whose clock these tests move."""
    with Ours(tmp_path_factory.mktemp("own"), space).running() as operator:
        for name, state in (("fermee", BalState.CLOSED), ("suspendue", BalState.SUSPENDED)):
            new = NewBal(Address.parse(f"{name}@hopital-a.test"), BalType.ORG)
            made = add_bal(operator.store, new, ENTROPY, PASSWORD).bal.id
            operator.store.write(partial(_put, made, state)).result(WITHIN_S)
        usual = NewBal(
            Address.parse("habituelle@hopital-a.test"),
            BalType.ORG,
            usual_address=Address.parse("lea@courriel.test"),
        )
        add_bal(operator.store, usual, ENTROPY, PASSWORD)
        yield operator
        operator.drop()


def _put(box: BalId, state: BalState, writing: Writing) -> None:
    writing.set_bal_state(box, state)


@pytest.mark.requirement("OP-17", "OP-10")
def test_in_2_without_a_certificate(own: Ours, table: Table) -> None:
    table.saw("§6 in 2", "no certificate", "inbound", received(own, None, SENDER))


@pytest.mark.requirement("OP-17", "OP-09", "OP-22")
def test_in_4_without_a_list_everybody_waits(own: Ours, table: Table) -> None:
    row, snapshot = ("§6 in 4", "no list ever accepted"), own.trust.snapshot
    with own.exposed(VALID.domain, (own.space.identity(VALID), Script())) as (peer,):
        own.submit(SENDER)
        own.gone(SENDER)
        own.resolver.hosts["tests-operateur.test"] = LookupFailed()
        own.submit("essai@tests-operateur.test")
        first = own.tried("essai@tests-operateur.test")
        own.trust.swap(type(snapshot)(None, snapshot.revocation, snapshot.anchors))
        try:
            table.saw(*row, "inbound", received(own, own.space.identity(VALID), SENDER))
            own.clock.ahead += HOUR
            own.rooms.relay.wake()

            def again() -> QueueEntry | None:
                (entry,) = own.queue()
                return entry if entry.attempts > first.attempts and not entry.leased_by else None

            held = own.until(again, "an attempt without a list")
            table.saw(*row, "outbound", f"queued: {held.last_reply}")
        finally:
            own.trust.swap(snapshot)
        assert len(peer.messages) == 1
    own.drop()


RECIPIENTS = (
    ("§6 in 9", "recipient domain not ours", f"x@{VALID.domain}"),
    ("§6 in 10", "recipient unknown", "personne@hopital-a.test"),
    ("§6 in 10", "recipient closed", "fermee@hopital-a.test"),
    ("§6 in 10", "recipient suspended", "suspendue@hopital-a.test"),
)


@pytest.mark.requirement("OP-17", "OP-13", "OP-50")
def test_in_7_9_and_10_who_writes_from_nowhere_or_to_nobody(own: Ours, table: Table) -> None:
    identity = own.space.identity(VALID)
    said = received(own, identity, "x@ailleurs.test")
    table.saw("§6 in 7", "sender domain not listed", "inbound", said)
    with own.peer(identity) as client:
        assert client.mail(SENDER)[0] == 250
        for row, what, recipient in RECIPIENTS:
            table.saw(row, what, "inbound", answer(client.rcpt(recipient)))


@pytest.mark.requirement("OP-17", "OP-74")
def test_in_12_the_trace_names_list_and_crl(own: Ours, table: Table) -> None:
    with own.peer(own.space.identity(VALID)) as client:
        client.mail(SENDER)
        client.rcpt(str(ZOE))
        code, said = client.data(letter(SENDER, str(ZOE)))
    assert code == 250
    name = EnvelopeId(said.decode("ascii").split()[-1])
    (trace,) = own.store.read(lambda r: r.transfers(name)).result(WITHIN_S)
    assert trace.transfer.list_date == own.trust.snapshot.list_date
    assert trace.transfer.crl_number is not None
    assert trace.transfer.peer_serial
    seen = "250 2.0.0; trace with list date, CRL number, name and serial"
    table.saw("§6 in 12", "all passed", "inbound", seen)


@pytest.mark.requirement("OP-17", "OP-13", "SEED-29")
def test_out_0_and_1_a_usual_address_is_its_box_and_a_stranger_is_refused(
    own: Ours, table: Table
) -> None:
    own.submit("lea@courriel.test")
    assert len(own.inbox(Address.parse("habituelle@hopital-a.test"))) == 1
    assert own.queue() == ()
    row = ("§6 out 0", "usual address of a known account")
    table.saw(*row, "outbound", "in its box, nothing queued")
    table.saw("§6 out 1", "domain not listed", "outbound", own.refusal_of("x@ailleurs.test"))


@pytest.mark.requirement("OP-17", "OP-16")
def test_out_2_without_a_host_it_waits(own: Ours, table: Table) -> None:
    own.resolver.hosts[VALID.domain] = LookupFailed()
    own.submit(SENDER)
    table.saw("§6 out 2", "no MX, no host", "outbound", f"queued: {own.tried(SENDER).last_reply}")
    own.drop()


@pytest.mark.requirement("OP-17", "OP-03", "OP-18", "OP-19")
def test_out_3_and_48_hours(own: Ours, table: Table, caplog: pytest.LogCaptureFixture) -> None:
    before = len(own.inbox())
    with own.exposed(VALID.domain, (own.space.identity(VALID), Script(starttls=False))) as (peer,):
        undelivered(own, SENDER, peer)
        assert not [r for r in caplog.records if r.getMessage().startswith("alarm")]
        own.clock.ahead += HOUR
        own.rooms.relay.wake()
        own.until(
            lambda: (
                any(r.getMessage() == "alarm: no TLS for an hour" for r in caplog.records) or None
            ),
            "the alarm",
        )
    table.saw("§6 out 3", "no STARTTLS for an hour", "outbound", "alarm: no TLS for an hour")
    refused = BY_NAME["cert-cn-diff-dn-audit"]
    with own.exposed(VALID.domain, (own.space.identity(refused), Script())) as (peer,):
        own.clock.ahead += 47 * HOUR
        own.rooms.relay.wake()
        own.gone(SENDER)
        assert not any("MAIL" in session.verbs for session in peer.sessions)
    report = email.message_from_bytes(own.inbox()[-1], policy=email.policy.default)
    assert len(own.inbox()) > before
    status = next(p for p in report.walk() if p.get_content_type() == "message/delivery-status")
    fields = " ".join(status.as_string().split())
    assert "Action: failed Status: 5.4.7" in fields
    assert "smtp; 451 4.7.5" in fields
    row = ("§7", "certificate refused for 48 h")
    table.saw(*row, "outbound", "DSN 5.4.7, Diagnostic-Code: smtp; 451 4.7.5 …")


@pytest.mark.requirement("OP-17", "OP-16", "OP-11")
def test_out_5_of_several_hosts_a_bad_one_is_passed_over(own: Ours, table: Table) -> None:
    bad = [BY_NAME[n] for n in ("cert-expire-audit", "cert-cn-diff-dn-audit", "rsa-1024")]
    servers = [(own.space.identity(case), Script()) for case in bad]
    servers += [(own.space.identity(VALID), Script(starttls=False))]
    servers += [(own.space.identity(VALID), Script())]
    with own.exposed(VALID.domain, *servers) as peers:
        own.submit(SENDER)
        own.gone(SENDER)
        assert [len(peer.messages) for peer in peers] == [0, 0, 0, 0, 1]
        assert not any("MAIL" in s.verbs for peer in peers[:-1] for s in peer.sessions)
    row = ("§6 out 5", "several MX, one bad of each kind")
    table.saw(*row, "outbound", "delivered to the fifth; MAIL never said to the others")


@pytest.mark.requirement("OP-17", "OP-19")
def test_out_7_what_the_peer_says_is_reported(own: Ours, table: Table) -> None:
    before = len(own.inbox())
    words = b"554 5.7.1 not today"
    with own.exposed(
        VALID.domain, (own.space.identity(VALID), Script(replies={"RCPT": words}))
    ) as (peer,):
        own.submit(SENDER)
        own.gone(SENDER)
        assert len(peer.sessions) == 1
    assert words in own.inbox()[before]
    row = ("§6 out 7", "peer refuses 5xx")
    table.saw(*row, "outbound", "DSN with « 554 5.7.1 not today »")


@pytest.mark.requirement("OP-17", "OP-74")
def test_out_8_a_delivery_leaves_its_trace(own: Ours, table: Table) -> None:
    with own.exposed(VALID.domain, (own.space.identity(VALID), Script())) as (peer,):
        name = own.submit(SENDER)
        own.gone(SENDER)
        assert len(peer.messages) == 1
    traces = own.store.read(lambda r: r.transfers(EnvelopeId(name))).result(WITHIN_S)
    out = next(t.transfer for t in traces if t.transfer.direction == "out")
    assert out.peer_dn is not None
    assert out.crl_number is not None
    assert out.list_date == own.trust.snapshot.list_date
    seen = "delivered; trace with list date, CRL number and the peer's name"
    table.saw("§6 out 8", "delivered", "outbound", seen)
