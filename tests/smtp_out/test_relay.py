"""Each row of the outbound table (docs/trust.md), with real TLS peers and a store in memory."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, cast

import pytest
from cryptography.hazmat.primitives import hashes

from mssmtp import smtp_pool
from mssmtp.config import (
    CertificateSettings,
    LimitSettings,
    OperatorSettings,
    PkiSettings,
    QueueSettings,
    Settings,
    SmtpOutSettings,
    StoreSettings,
    TlsSettings,
)
from mssmtp.config_policy import PolicySettings
from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.errors import StorageUnavailable
from mssmtp.gateways import NO_GATEWAYS, Gateways
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Domain,
    Envelope,
    Recipient,
)
from mssmtp.outside import NoMailAccepted, SystemEntropy
from mssmtp.pki import Anchors
from mssmtp.policy import Engine, Moves
from mssmtp.responder import AskFailed, Responder
from mssmtp.revocation import Revocation
from mssmtp.smtp_hospital import React, plainly
from mssmtp.smtp_lanes import STARTED_WITH
from mssmtp.smtp_out import Relay
from mssmtp.storage import Store
from mssmtp.trust import Snapshot, Suspended, Trust
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    B_DOMAIN,
    B_SUBJECT,
    MakeCrl,
    make_crl,
    unsigned_whitelist,
)
from tests.smtp_out.fakes import FakeClock, FakeResolver, FakeStore
from tests.smtp_out.peer import Peer, Script

ZOE = Address.parse("zoe.tartempion@hopital-a.test")
ZOES = Bal(BalId(1), ZOE, BalType.PER)
LUC = Recipient(Address.parse("luc.dupont@cabinet-b.test"))
EVE = Recipient(Address.parse("eve.durand@cabinet-b.test"))
MX_B = "mx.cabinet-b.test"
ALSO_B = "autre-b.test"
SLOW = "lent.test"
SLOW_SUBJECT = Subject("mx.lent.test", "398765432100025", "BETA MESSAGERIE")
LETTER = b"Message-ID: <1@hopital-a.test>\r\nFrom: zoe\r\nSubject: essai\r\n\r\n.point\r\nfin\r\n"


@dataclass(slots=True)
class World:
    """One operator, A, with its queue; peers are added by the test."""

    authority: Authority
    identities: dict[str, Identity]
    directory: Path
    snapshot: Snapshot
    clock: FakeClock = field(default_factory=lambda: FakeClock(datetime.now(UTC)))
    resolver: FakeResolver = field(default_factory=FakeResolver)
    ports: dict[str, int] = field(default_factory=dict)
    queue: QueueSettings = field(default_factory=QueueSettings)
    command_timeout_s: float = 5.0
    worker: str | None = None
    ocsp: Literal["off", "stapled"] = "off"
    moves: Moves = field(default_factory=Moves)
    gateways: Gateways = NO_GATEWAYS
    react: React = plainly
    store: FakeStore = field(init=False)
    trust: Trust = field(init=False)

    def __post_init__(self) -> None:
        self.store = FakeStore(self.clock, {ZOE: ZOES})
        self.trust = Trust(self.snapshot)
        self.resolver.hosts[B_DOMAIN] = (MX_B,)
        self.resolver.hosts[ALSO_B] = (MX_B,)

    def peer(self, host: str = MX_B, script: Script | None = None, who: str = B_DOMAIN) -> Peer:
        return Peer(self.identities[who], self.authority, self.directory, script or Script())

    def letter(self, *recipients: Recipient, octets: bytes = LETTER, **wishes: object) -> Envelope:
        """Queue a letter of Zoé's."""
        envelope = Envelope(
            self.store.new_envelope_id(), ZOE, recipients or (LUC,), self.clock.now()
        )
        envelope = replace(envelope, **wishes)  # type: ignore[arg-type]
        self.store.queue(envelope, octets)
        return envelope

    def settings(self) -> Settings:
        files = self.identities[A_DOMAIN].write(self.directory, "ours")
        (self.directory / "anchors.pem").write_bytes(self.authority.anchors_pem)
        own = CertificateSettings(certificate_file=files.certificate_file, key_file=files.key_file)
        return Settings(
            operator=OperatorSettings(
                name="hopital-a",
                host_name=Domain("smtp.hopital-a.test"),
                domains=(Domain(A_DOMAIN),),
            ),
            store=StoreSettings(home=self.directory, master_key_file=self.directory / "key"),
            tls=TlsSettings(operators=own, users=own),
            pki=PkiSettings(anchors_file=self.directory / "anchors.pem", ocsp=self.ocsp),
            queue=self.queue,
            smtp_out=SmtpOutSettings(
                ports=self.ports,
                connect_timeout_s=30.0,
                command_timeout_s=self.command_timeout_s,
            ),
        )

    @asynccontextmanager
    async def relaying(self, **peers: Peer) -> AsyncIterator[Relay]:
        """Peers by host (`_` for `.` in the keyword), then a relay that runs until the end."""
        async with AsyncExitStack() as stack:
            for host, peer in peers.items():
                await stack.enter_async_context(peer)
                self.ports[host.replace("_", ".").replace("..", "-")] = peer.port
            settings = self.settings()
            responder = Responder(settings.pki, self.trust, _nobody, self.clock, SystemEntropy())
            relay = Relay(
                settings,
                cast(Store, self.store),
                self.trust,
                Engine(PolicySettings(), LimitSettings(), self.moves),
                self.resolver,
                self.clock,
                SystemEntropy(),
                worker=self.worker,
                responder=None if self.ocsp == "off" else responder,
                gateways=self.gateways,
                react=self.react,
            )
            running = asyncio.create_task(relay.run())
            try:
                yield relay
            finally:
                await relay.stop(30.0)
                await running

    async def settled(self, count: int = 1) -> None:
        """Until `count` outcomes were recorded."""
        await self.store.until(lambda store: len(store.outcomes) >= count)

    def report(self, number: int = 0) -> EmailMessage:
        octets = self.store.reports[number].octets
        return email.message_from_bytes(octets, policy=email.policy.default)

    def status(self, number: int = 0, recipient: int = 0) -> EmailMessage:
        """The fields of one recipient in a report."""
        part = list(self.report(number).iter_parts())[1]
        return cast("list[EmailMessage]", part.get_payload())[1 + recipient]


async def _nobody(url: str, question: bytes, max_octets: int) -> bytes:
    raise AskFailed("no responder here")


PEER = "mx_cabinet__b_test"
"""`mx.cabinet-b.test` as a keyword."""


@pytest.fixture(scope="module")
def identities(authority: Authority, healthy: dict[str, Identity]) -> dict[str, Identity]:
    year = timedelta(days=365)
    return healthy | {
        SLOW: authority.issue(SLOW_SUBJECT),
        "expired": authority.issue(
            B_SUBJECT, Make(not_before=authority.now - 2 * year, not_after=authority.now - year)
        ),
    }


@pytest.fixture
def world(authority: Authority, identities: dict[str, Identity], tmp_path: Path) -> World:
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(
        authority,
        (A_DOMAIN, A_SUBJECT.text),
        (B_DOMAIN, B_SUBJECT.text),
        (ALSO_B, B_SUBJECT.text),
        (SLOW, SLOW_SUBJECT.text),
    )
    snapshot = Snapshot(
        anchors=anchors,
        whitelist=listed,
        revocation=Revocation.of(authority.crls(), anchors),
    )
    return World(authority, identities, tmp_path, snapshot)


# ---------------------------------------------------------------- the good way


@pytest.mark.requirement("OP-01", "OP-11")
async def test_a_queued_letter_is_delivered_at_once_and_traced(world: World) -> None:
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert peer.messages[0].body == LETTER
    assert peer.messages[0].sender == str(ZOE)
    assert world.store.results == ["delivered"]
    trace = world.store.transfers[0]
    assert (trace.direction, trace.verdict, trace.peer_address) == ("out", "accept", "127.0.0.1")
    assert trace.tls_version == "TLSv1.3"
    assert trace.peer_dn is not None
    assert "mx.cabinet-b.test" in trace.peer_dn
    assert trace.peer_serial
    assert trace.list_date == world.authority.now
    assert trace.reply == "250 2.0.0 stored"
    assert not world.store.reports


async def test_connections_are_reused_for_the_next_letter(world: World) -> None:
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        for count in range(1, 4):
            world.letter()
            await world.settled(count)
            if count == 2:
                world.clock.advance(timedelta(seconds=5))
    assert len(peer.sessions) == 1
    assert peer.sessions[0].verbs.count("RSET") == 1, "only what has rested is asked"
    assert peer.sessions[0].verbs[-1] == "QUIT"


async def test_no_peer_waits_for_our_disk(world: World) -> None:
    """A letter is out of its connection when the peer has it; it is recorded behind that."""
    world.queue = QueueSettings(connections_per_operator=1)
    peer = world.peer(script=Script(hold=asyncio.Event()))
    for _ in range(4):
        world.letter()
    async with world.relaying(**{PEER: peer}):
        await peer.holding.wait()
        world.store.kept_waiting = []
        assert peer.script.hold is not None
        peer.script.hold.set()
        while len(peer.messages) < 4:
            peer.holding.clear()
            await peer.holding.wait()
        assert not world.store.outcomes
        world.store.answer()
        await world.settled(4)
    assert len(peer.sessions) == 1
    assert world.store.results == ["delivered"] * 4


async def test_another_domain_of_the_operator_shares_the_connection_when_judged_for_it(
    world: World,
) -> None:
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.letter(Recipient(Address.parse(f"ana@{ALSO_B}")))
        await world.settled(2)
    assert world.store.results == ["delivered", "delivered"]
    assert len(peer.sessions) == 1


@pytest.mark.requirement("OP-11")
async def test_a_kept_connection_is_not_used_for_a_domain_it_may_not_serve(world: World) -> None:
    peer = world.peer()
    world.resolver.hosts[SLOW] = (MX_B,)  # DNS leads to a host of another operator
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.letter(Recipient(Address.parse(f"ana@{SLOW}")))
        await world.settled(2)
    assert world.store.results == ["delivered", "queued"]
    assert "4.7.5" in world.store.rows[1].reply
    assert len(peer.messages) == 1


@pytest.mark.attack
@pytest.mark.requirement("OP-08", "OP-11")
async def test_att_25_a_kept_connection_is_not_used_once_its_certificate_is_revoked(
    world: World,
) -> None:
    peer = world.peer()
    anchors = world.snapshot.anchors
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        serial = world.identities[B_DOMAIN].certificate.serial_number
        crls = [
            make_crl(world.authority, MakeCrl(of_root=True)),
            make_crl(world.authority, MakeCrl([serial])),
        ]
        revoked = Revocation.of(crls, anchors)
        world.trust.swap(replace(world.snapshot, revocation=revoked))
        world.letter()
        await world.settled(2)
    assert world.store.results == ["delivered", "queued"]
    assert "4.7.5" in world.store.rows[1].reply
    assert len(peer.messages) == 1
    first, second = peer.sessions  # the kept one was left, a new one was looked at
    assert first.verbs[-1] == "QUIT"
    assert "MAIL" not in second.verbs


@pytest.mark.attack
@pytest.mark.requirement("OP-79")
async def test_att_25_what_was_judged_in_the_same_second_does_not_outlive_a_suspension(
    world: World,
) -> None:
    """The clock stands still: way and judgement are remembered, and asked again all the same."""
    peer = world.peer()
    digest = world.identities[B_DOMAIN].certificate.fingerprint(hashes.SHA256())
    async with world.relaying(**{PEER: peer}):
        for number in (1, 2):
            world.letter()
            await world.settled(number)
        world.trust.suspended = Suspended(certificates=frozenset({digest}))
        world.letter()
        await world.settled(3)
    assert world.store.results == ["delivered", "delivered", "queued"]
    assert "4.7.1" in world.store.rows[2].reply
    assert len(peer.messages) == 2
    assert "MAIL" not in peer.sessions[-1].verbs, "another connection is no better"


async def test_a_connection_the_peer_closed_is_replaced(world: World) -> None:
    peer = world.peer(script=Script(replies={"RSET": b""}))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.clock.advance(timedelta(seconds=5))
        world.letter()
        await world.settled(2)
    assert world.store.results == ["delivered", "delivered"]
    assert len(peer.sessions) == 2


async def test_an_idle_connection_is_closed(world: World) -> None:
    world.queue = QueueSettings(idle_connection_s=0.02)
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.clock.advance(timedelta(seconds=1))
        async with asyncio.timeout(30):
            await peer.left.wait()
    assert peer.sessions[0].verbs[-1] == "QUIT"


# ---------------------------------------------------------------- outbound table


@pytest.mark.requirement("OP-19", "SEED-68")
async def test_row_1_a_domain_that_left_the_list_comes_back_5_7_1(world: World) -> None:
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        shorter = unsigned_whitelist(world.authority, (A_DOMAIN, A_SUBJECT.text))
        world.trust.swap(replace(world.snapshot, whitelist=shorter))
        world.letter()
        await world.settled()
    assert world.store.results == ["failed"]
    assert not peer.sessions
    assert world.status()["Status"] == "5.7.1"
    assert world.report()["Subject"] == "Undelivered Mail Returned to Sender"
    text = list(world.report().iter_parts())[0].get_content()
    assert "domaine absent de l'espace de confiance" in text


async def test_without_a_list_letters_wait(world: World) -> None:
    peer = world.peer()
    world.trust.swap(replace(world.snapshot, whitelist=None))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        assert world.store.results == ["queued"]
        assert not peer.sessions
        world.trust.swap(world.snapshot)
        world.clock.advance(timedelta(minutes=5))
        await _woken(world, 2)
    assert world.store.results == ["delivered"]


async def _woken(world: World, count: int) -> None:
    for listener in world.store._listeners:
        listener(())
    await world.settled(count)


@pytest.mark.requirement("OP-16")
async def test_row_2_no_host_is_deferred_4_4_3(world: World) -> None:
    world.resolver.missing.add(MX_B)
    async with world.relaying():
        world.letter()
        await world.settled()
    assert world.store.results == ["queued"]
    assert "4.4.3" in world.store.rows[0].reply


async def test_null_mx_comes_back_at_once(world: World) -> None:
    world.resolver.hosts[B_DOMAIN] = NoMailAccepted()
    async with world.relaying():
        world.letter()
        await world.settled()
    assert world.store.results == ["failed"]
    assert world.status()["Status"] == "5.1.10"


@pytest.mark.requirement("OP-03", "OP-01")
async def test_row_3_no_starttls_is_deferred_and_nothing_is_said(world: World) -> None:
    peer = world.peer(script=Script(starttls=False))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["queued"]
    assert "4.7.4" in world.store.rows[0].reply
    assert not {"MAIL", "DATA"} & set(peer.sessions[0].verbs)


@pytest.mark.requirement("OP-03")
async def test_row_3_an_hour_without_tls_is_an_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    peer = world.peer(script=Script(starttls=False))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        assert not [m for m in caplog.messages if m.startswith("alarm")]
        world.clock.advance(timedelta(hours=1))
        await _woken(world, 2)
    assert [m for m in caplog.messages if m.startswith("alarm")]


async def test_a_host_name_the_certificate_does_not_carry_is_logged_and_accepted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mssmtp")
    world.resolver.hosts[B_DOMAIN] = ("relais.test",)
    async with world.relaying(relais_test=world.peer()):
        world.letter()
        await world.settled()
    assert world.store.results == ["delivered"]
    assert "host name is not in the certificate" in caplog.messages


@pytest.mark.requirement("OP-11", "OP-01")
@pytest.mark.parametrize("who", ["expired", A_DOMAIN, SLOW])
async def test_rows_4_and_5_a_wrong_certificate_is_deferred_before_mail(
    world: World, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    peer = world.peer(who=who)
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["queued"]
    assert "4.7.5" in world.store.rows[0].reply
    assert "alarm: server certificate refused" in caplog.messages
    assert peer.sessions[0].tls
    assert not {"MAIL", "DATA"} & set(peer.sessions[0].verbs)


@pytest.mark.requirement("OP-11")
async def test_row_5_the_detector_sees_a_pool_that_does_not_judge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_pool.Pool, "_judge", lambda self, connection, domain: None)
    peer = world.peer(who=SLOW)
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert "MAIL" in peer.sessions[0].verbs


@pytest.mark.requirement("OP-16")
@pytest.mark.parametrize(
    ("script", "who"),
    [(Script(starttls=False), B_DOMAIN), (Script(), SLOW), (Script(greeting=b"421 no"), B_DOMAIN)],
    ids=["no TLS", "other operator", "busy"],
)
async def test_the_next_mx_is_tried(world: World, script: Script, who: str) -> None:
    bad, good = world.peer(script=script, who=who), world.peer()
    world.resolver.hosts[B_DOMAIN] = ("bad.test", "good.test")
    async with world.relaying(bad_test=bad, good_test=good):
        world.letter()
        await world.settled()
    assert world.store.results == ["delivered"]
    assert len(bad.sessions) == 1
    assert len(good.messages) == 1


@pytest.mark.requirement("CL-38")
async def test_row_6_a_smaller_size_comes_back_without_data(world: World) -> None:
    peer = world.peer(script=Script(extensions=(b"SIZE %d" % (len(LETTER) - 1),)))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["failed"]
    assert world.status()["Status"] == "5.3.4"
    assert world.status()["Remote-MTA"] == f"dns; {MX_B}"
    assert not {"MAIL", "DATA"} & set(peer.sessions[0].verbs)


@pytest.mark.requirement("CL-38")
async def test_row_6_a_message_of_exactly_size_passes(world: World) -> None:
    peer = world.peer(script=Script(extensions=(b"SIZE %d" % len(LETTER),)))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["delivered"]


@pytest.mark.requirement("OP-19", "SEED-68")
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_row_7_a_5xx_comes_back_with_the_peers_words(world: World, verb: str) -> None:
    peer = world.peer(script=Script(replies={verb: b"550 5.7.1 pas de \xc3\xa7a ici"}))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["failed"]
    report = world.store.reports[0]
    assert report.envelope.sender is None
    assert report.local[0].bal == ZOES.id
    assert world.status()["Diagnostic-Code"] == "smtp; 550 5.7.1 pas de ca ici"
    assert "pas de ça ici" in list(world.report().iter_parts())[0].get_content()
    assert b"Subject: essai" in report.octets
    assert b".point" not in report.octets


@pytest.mark.requirement("OP-18", "OP-19")
async def test_row_7_each_recipient_has_its_own_fate(world: World) -> None:
    script = Script(
        replies={"RCPT eve.durand": b"550 5.1.1 unknown", "RCPT max": b"450 4.2.1 suspended"}
    )
    peer = world.peer(script=script)
    later = Recipient(Address.parse("max@cabinet-b.test"))
    async with world.relaying(**{PEER: peer}):
        world.letter(LUC, EVE, later)
        await world.settled(3)
    assert world.store.results == ["delivered", "failed", "queued"]
    assert world.store.rows[2].next_attempt == world.clock.now() + timedelta(minutes=5)
    assert len(world.store.reports) == 1
    assert world.status()["Final-Recipient"] == "rfc822; eve.durand@cabinet-b.test"


async def test_row_8_success_is_reported_when_asked_and_the_peer_does_not(world: World) -> None:
    asked = Recipient(LUC.address, notify=frozenset({"SUCCESS"}))
    silent, speaking = world.peer(), world.peer(script=Script(extensions=(b"DSN",)))
    async with world.relaying(**{PEER: silent}):
        world.letter(asked)
        await world.settled()
    assert world.status()["Action"] == "relayed"
    async with world.relaying(**{PEER: speaking}):
        world.letter(asked)
        await world.settled(2)
    assert len(world.store.reports) == 1


# ---------------------------------------------------------------- time


@pytest.mark.requirement("OP-18", "OP-19")
async def test_after_48_hours_the_sender_gets_5_4_7_with_the_last_reason(world: World) -> None:
    peer = world.peer(script=Script(starttls=False))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.clock.advance(timedelta(hours=48))
        await _woken(world, 2)
    assert world.store.results == ["expired"]
    assert world.status()["Status"] == "5.4.7"
    assert "4.7.4" in world.status()["Diagnostic-Code"]


@pytest.mark.requirement("OP-18")
async def test_one_delay_report_after_4_hours(world: World) -> None:
    peer = world.peer(script=Script(replies={"RCPT": b"450 4.2.1 later"}))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        assert not world.store.reports
        for count in (2, 3):
            world.clock.advance(timedelta(hours=4))
            await _woken(world, count)
    assert len(world.store.reports) == 1
    assert world.status()["Action"] == "delayed"
    assert world.report()["Subject"] == "Delayed Mail (still being retried)"


async def test_a_lost_final_reply_is_retried_and_marked(world: World) -> None:
    """D4: the only case in which a letter may arrive twice."""
    peer = world.peer(script=Script(lost_finals=1))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        assert world.store.transfers[0].verdict == "in doubt"
        assert "peut-être reçu" in world.store.rows[0].reply
        world.clock.advance(timedelta(minutes=5))
        await _woken(world, 2)
    assert world.store.results == ["delivered"]
    assert len(peer.messages) == 2


async def test_a_lease_that_ended_in_the_lane_is_not_used(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Another worker may hold it by then: using it would deliver twice."""
    caplog.set_level("INFO", logger="mssmtp")
    gate = asyncio.Event()
    world.queue = QueueSettings(connections_per_operator=1)
    peer = world.peer(script=Script(hold=gate))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        world.letter()
        async with asyncio.timeout(30):
            await peer.holding.wait()
        world.clock.advance(timedelta(minutes=20))
        gate.set()
        await world.settled()
        await _woken(world, 2)
    assert "lease lost" in caplog.messages
    assert len(peer.messages) == 2


# ---------------------------------------------------------------- reports


@pytest.mark.attack
@pytest.mark.requirement("OP-19")
async def test_att_44_a_report_that_cannot_be_delivered_is_not_reported(world: World) -> None:
    peer = world.peer(script=Script(replies={"RCPT": b"550 5.1.1 unknown"}))
    async with world.relaying(**{PEER: peer}):
        world.letter(sender=None)
        await world.settled()
    assert world.store.results == ["failed"]
    assert not world.store.reports
    assert peer.sessions[0].commands[3].startswith("MAIL FROM:<> ")


async def test_never_means_never(world: World) -> None:
    peer = world.peer(script=Script(replies={"RCPT": b"550 5.1.1 unknown"}))
    async with world.relaying(**{PEER: peer}):
        world.letter(Recipient(LUC.address, notify=frozenset()))
        await world.settled()
    assert world.store.results == ["failed"]
    assert not world.store.reports


async def test_what_a_closed_box_had_sent_leaves_and_its_report_comes_into_the_box(
    world: World,
) -> None:
    """It was accepted; whoever looks after the box (DEF-23) learns what became of it."""
    world.store.bals[ZOE] = replace(ZOES, state=BalState.CLOSED)
    peer = world.peer(script=Script(replies={"RCPT parti": b"550 5.1.1 unknown"}))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        world.letter(Recipient(Address.parse(f"parti@{B_DOMAIN}")))
        await world.settled(2)
    assert world.store.results == ["delivered", "failed"]
    (report,) = world.store.reports
    assert [each.recipient.address for each in report.local] == [ZOE]


async def test_ret_full_returns_the_letter(world: World) -> None:
    world.resolver.hosts[B_DOMAIN] = NoMailAccepted()
    async with world.relaying():
        world.letter(ret="FULL", envid="QQ+2B1")
        await world.settled()
    assert LETTER in world.store.reports[0].octets
    part = list(world.report().iter_parts())[1]
    fields = cast("list[EmailMessage]", part.get_payload())[0]
    assert fields["Original-Envelope-Id"] == "QQ+1"


async def test_a_damaged_letter_blocks_nothing_and_is_reported_in_the_end(world: World) -> None:
    """D10: what cannot be opened is retried, then comes back without its own header."""
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.store.damaged.add(world.letter().id)
        world.letter()
        await world.settled(2)
        assert sorted(world.store.results) == ["delivered", "queued"]
        world.clock.advance(timedelta(hours=48))
        await _woken(world, 3)
    assert sorted(world.store.results) == ["delivered", "expired"]
    assert world.status()["Status"] == "5.4.7"
    assert len(peer.messages) == 1


async def test_outcomes_are_written_once_the_store_is_back(world: World) -> None:
    world.store.failures = [StorageUnavailable()]
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    assert world.store.results == ["delivered"]
    assert len(peer.messages) == 1


# ---------------------------------------------------------------- concurrency and stop


async def test_a_slow_operator_delays_no_other(world: World) -> None:
    gate = asyncio.Event()
    slow, quick = world.peer(script=Script(hold=gate), who=SLOW), world.peer()
    world.resolver.hosts[SLOW] = ("mx.lent.test",)
    async with world.relaying(mx_lent_test=slow, **{PEER: quick}):
        for _ in range(40):
            world.letter(Recipient(Address.parse(f"ana@{SLOW}")))
        world.letter()
        await world.settled()
        assert len(quick.messages) == 1
        assert not slow.messages
        assert slow.most_open <= STARTED_WITH
        gate.set()
        await world.settled(41)
    assert world.store.results == ["delivered"] * 41


async def test_our_own_bug_defers_and_the_queue_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10: the unexpected is never 5xx."""
    peer = world.peer()
    original = FakeResolver.exchangers
    broken = True

    async def exchangers(self: FakeResolver, name: Domain) -> tuple[str, ...]:
        if broken:
            raise RuntimeError("bug")
        return await original(self, name)

    monkeypatch.setattr(FakeResolver, "exchangers", exchangers)
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
        assert world.store.results == ["queued"]
        assert "451 4.3.0" in world.store.rows[0].reply
        broken = False
        world.letter()
        await world.settled(2)
    assert world.store.results == ["queued", "delivered"]


async def test_stop_finishes_what_is_under_way_and_gives_the_rest_back(world: World) -> None:
    gate = asyncio.Event()
    world.queue = QueueSettings(connections_per_operator=1)
    peer = world.peer(script=Script(hold=gate))
    async with world.relaying(**{PEER: peer}) as relay:
        world.letter()
        world.letter()
        async with asyncio.timeout(30):
            await peer.holding.wait()
        stopping = asyncio.create_task(relay.stop(30.0))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert world.store.results == ["delivered", "queued"]
        assert world.store.rows[1].leased_by is None


async def test_stop_without_run_returns(world: World) -> None:
    async with world.relaying():
        pass
    relay = Relay(
        world.settings(),
        cast(Store, world.store),
        world.trust,
        Engine(PolicySettings(), LimitSettings()),
        world.resolver,
        world.clock,
        SystemEntropy(),
    )
    await relay.stop(30.0)


async def test_stop_does_not_wait_for_ever_and_marks_what_is_in_doubt(world: World) -> None:
    """D4: the dot had gone out when the time to stop was over."""
    peer = world.peer(script=Script(hold=asyncio.Event()))
    async with world.relaying(**{PEER: peer}) as relay:
        world.letter()
        async with asyncio.timeout(30):
            await peer.holding.wait()
        await relay.stop(0.05)
        assert world.store.rows[0].leased_by is None
        assert world.store.results == ["queued"]
        assert "peut-être reçu" in world.store.rows[0].reply
        assert world.store.transfers[0].verdict == "in doubt"


async def test_no_address_is_ever_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="mssmtp")
    refusal = f"550 5.1.1 <{LUC.address}> unknown".encode()
    peer = world.peer(script=Script(replies={"RCPT": refusal}))
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    lines = [str(vars(record)) for record in caplog.records if record.name.startswith("mssmtp")]
    assert lines
    for text in ("luc.dupont", "zoe.tartempion", "essai"):
        assert not any(text in line for line in lines)


# ---------------------------------------------------------------- volume


async def test_a_letter_of_10_mebioctets_arrives_octet_for_octet(world: World) -> None:
    octets = LETTER + (b"." + b"x" * 74 + b"\r\n") * 136_000
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter(octets=octets)
        await world.settled()
    assert peer.messages[0].sha256 == hashlib.sha256(octets).hexdigest()
