"""From our queue to a hospital's own server: aliases, TLS expectations, trouble (DEF-19)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from mssmtp.config_senders import GatewaySettings
from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.gateways import NO_GATEWAYS, Gateway, Gateways
from mssmtp.mail import Address, BalState, Envelope, Recipient
from mssmtp.message.aliases import Aliases
from mssmtp.storage import Step
from tests.authority import A_DOMAIN
from tests.smtp_out.peer import Peer, Script
from tests.smtp_out.test_relay import LETTER as LETTER_OF_ZOE
from tests.smtp_out.test_relay import ZOE, World, identities, world

__all__ = ["identities", "world"]

RELAY = "relais.chu.test"
TO_US = Recipient(ZOE)
ANNE = Address.parse("anne.tournesol@cabinet-b.test")
TABLE = Aliases.parse(f"usuelle;mssante\nzoe@chu.example;{ZOE}\n".encode())
LETTER = (
    f"From: Anne <{ANNE}>\r\nTo: Z <{ZOE}>\r\nCc: autre@hopital-a.test,\r\n {ZOE}\r\n"
    f"Subject: {ZOE}\r\n\r\n{ZOE}\r\n.\r\n"
).encode()


def gateway(world: World, port: int, **changes: object) -> Gateways:
    values = {
        "name": "chu",
        "domains": [A_DOMAIN],
        "inbound": "forward",
        "hosts": [f"{RELAY}:{port}"],
    } | changes
    return Gateways((Gateway(GatewaySettings.model_validate(values), TABLE),))


def hospital(world: World, script: Script | None = None, subject: str = RELAY) -> Peer:
    """Its server, with a certificate of IGC-Santé."""
    identity = world.authority.issue(Subject(subject, "1690000099", "CHU", "Rhône (69)"))
    return Peer(identity, world.authority, world.directory, script or Script())


def arrived(world: World, *recipients: Recipient, octets: bytes = LETTER) -> Envelope:
    """Queue what came from another operator."""
    world.store.bals.pop(ANNE, None)
    envelope = Envelope(
        world.store.new_envelope_id(), ANNE, recipients or (TO_US,), world.clock.now()
    )
    world.store.queue(envelope, octets)
    return envelope


@pytest.mark.requirement("DEF-19", "OP-63")
async def test_the_table_is_applied_to_envelope_and_named_fields_and_nothing_else(
    world: World,
) -> None:
    arrived(world)
    async with hospital(world) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
    (message,) = server.messages
    assert message.sender == str(ANNE)
    assert message.recipients == ("zoe@chu.example",)
    header, body = LETTER.split(b"\r\nSubject", 1)
    theirs = header.replace(str(ZOE).encode(), b"zoe@chu.example")
    assert message.body == theirs + b"\r\nSubject" + body
    assert world.store.results == ["delivered"]
    assert "mx.hopital-a.test" in server.sessions[0].client_subject


@pytest.mark.requirement("DEF-19", "OP-63")
async def test_a_large_letter_goes_on_octet_for_octet(world: World) -> None:
    """In blocks, of which the first begins with another header than was stored."""
    octets = LETTER + b"0123456789abcdef\r\n" * 60_000
    arrived(world, octets=octets)
    async with hospital(world) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
    (message,) = server.messages
    theirs = octets.replace(str(ZOE).encode(), b"zoe@chu.example", 2)
    assert message.sha256 == hashlib.sha256(theirs).hexdigest()


@pytest.mark.attack("ATT-15")
@pytest.mark.requirement("DEF-19", "OP-03")
@pytest.mark.parametrize("kind", ["another host", "another authority", "expired", "no TLS"])
async def test_att_15_mail_waits_for_a_server_that_is_not_the_hospitals(
    world: World, kind: str
) -> None:
    day = timedelta(days=1)
    subject = Subject(RELAY, "1690000099", "CHU", "Rhône (69)")
    made: dict[str, Identity] = {
        "another host": world.authority.issue(Subject("relais.autre.test")),
        "another authority": Authority(world.authority.now).issue(subject),
        "expired": world.authority.issue(
            subject, Make(world.authority.now - 9 * day, world.authority.now - day)
        ),
        "no TLS": world.authority.issue(subject),
    }
    script = Script(starttls=kind != "no TLS")
    arrived(world)
    async with Peer(made[kind], world.authority, world.directory, script) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
    assert server.messages == []
    assert "MAIL" not in [verb for session in server.sessions for verb in session.verbs]
    assert world.store.results == ["queued"]
    assert world.store.rows[0].reply.startswith("451 4.7.")
    assert world.store.reports == []


@pytest.mark.requirement("DEF-19")
async def test_authorities_of_the_hospitals_own_are_taken_when_they_are_named(
    world: World,
) -> None:
    own = Authority(world.authority.now)
    (world.directory / "chu.pem").write_bytes(own.anchors_pem)
    identity = own.issue(Subject(RELAY, "1690000099", "CHU", "Rhône (69)"))
    arrived(world)
    async with Peer(identity, world.authority, world.directory) as server:
        changes = {"anchors_file": str(world.directory / "chu.pem")}
        world.gateways = gateway(world, server.port, **changes)
        async with world.relaying():
            await world.settled()
    assert len(server.messages) == 1


@pytest.mark.requirement("DEF-19", "OP-18")
async def test_a_hospital_that_is_down_is_waited_for(world: World) -> None:
    arrived(world)
    async with hospital(world) as server:
        port = server.port
    world.gateways = gateway(world, port)
    async with world.relaying():
        await world.settled()
    assert world.store.results == ["queued"]
    assert world.store.rows[0].next_attempt - world.clock.now() == timedelta(minutes=5)


@pytest.mark.requirement("DEF-19", "OP-19")
async def test_an_unknown_user_is_reported_under_the_mssante_address(world: World) -> None:
    arrived(world)
    reply = b"550 5.1.1 <zoe@chu.example>: Recipient address rejected: User unknown"
    async with hospital(world, Script(replies={"RCPT": reply})) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
    assert world.store.results == ["failed"]
    (report,) = world.store.reports
    assert str(ZOE).encode() in report.octets
    assert b"zoe@chu.example" not in report.octets
    assert report.queued[0].address == ANNE


@pytest.mark.requirement("DEF-19", "OP-16")
async def test_a_refused_letter_spoils_nothing_for_the_next_on_the_connection(
    world: World,
) -> None:
    """RFC 5321 4.1.4: MAIL within a transaction is 503, which would bounce the next letter."""
    arrived(world, Recipient(Address.parse("autre@hopital-a.test")))
    script = Script(replies={"RCPT autre": b"550 5.1.1 unknown here"})
    async with hospital(world, script) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
            arrived(world)
            await world.settled(2)
    (session,) = server.sessions
    assert session.verbs[3:] == ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]
    assert world.store.results == ["failed", "delivered"]


@pytest.mark.requirement("DEF-19", "CL-38")
async def test_a_letter_that_is_too_large_for_the_hospital_is_reported_at_once(
    world: World,
) -> None:
    arrived(world)
    async with hospital(world, Script(extensions=(b"SIZE 100",))) as server:
        world.gateways = gateway(world, server.port)
        async with world.relaying():
            await world.settled()
    assert server.messages == []
    assert world.store.rows[0].reply.startswith("552 5.3.4")


@pytest.mark.requirement("SEED-82", "DEF-19")
async def test_what_waited_for_a_gateway_that_is_gone_goes_into_the_box(world: World) -> None:
    arrived(world)
    world.gateways = NO_GATEWAYS
    async with world.relaying():
        await world.settled()
    assert world.store.results == ["delivered"]
    (copy,) = world.store.reports
    assert copy.octets == LETTER
    assert copy.envelope.sender == ANNE
    assert [each.recipient.address for each in copy.local] == [ZOE]


@pytest.mark.requirement("DEF-19")
async def test_a_box_that_has_its_copy_gets_no_second_when_its_gateway_is_gone(
    world: World,
) -> None:
    """A gateway that does both: the letter was put into the box when it came."""
    envelope = arrived(world)
    step = Step(str(ZOE), "remise", "", "", world.clock.now(), "", None)
    world.store.steps[envelope.id] = [step]
    world.gateways = NO_GATEWAYS
    async with world.relaying():
        await world.settled()
    assert world.store.results == ["delivered"]
    assert world.store.reports == []


@pytest.mark.requirement("DEF-19")
async def test_what_is_wished_later_goes_to_the_hospital_and_once_into_the_box(
    world: World,
) -> None:
    """RFC 4865 with a gateway that does both: at acceptance the box got nothing."""
    peer = hospital(world, Script(replies={"DATA": b"451 4.3.0 later"}))
    envelope = world.letter(TO_US, hold_until=world.clock.now() - timedelta(seconds=1))
    async with peer:
        world.gateways = gateway(world, peer.port, inbound="both")
        async with world.relaying() as relay:
            await world.settled()
            peer.script = Script()
            world.clock.advance(timedelta(hours=1))
            relay.wake()
            await world.settled(2)
    assert world.store.results == ["delivered"]
    (copy,) = world.store.reports
    assert copy.octets == LETTER_OF_ZOE
    assert copy.envelope.sender == envelope.sender
    assert [each.recipient.address for each in copy.local] == [ZOE]


@pytest.mark.attack
@pytest.mark.parametrize("state", [BalState.SUSPENDED, BalState.CLOSED])
async def test_att_18_who_was_stopped_sends_nothing_that_was_wished_later(
    world: World, state: BalState
) -> None:
    """RFC 4865: the policy is asked again when the time has come; the box keeps the report."""
    box = world.store.bals[ZOE]
    world.store.bals[ZOE] = replace(box, state=state)
    anne = Recipient(ANNE)
    world.letter(anne, hold_until=world.clock.now() - timedelta(seconds=1))
    async with world.relaying():
        await world.settled()
    assert world.store.results == ["failed"]
    assert world.store.rows[0].reply.startswith("550 5.7.1")
    (report,) = world.store.reports
    assert [each.recipient.address for each in report.local] == [ZOE]


@pytest.mark.requirement("SEED-82", "OP-19")
async def test_a_box_that_is_gone_too_is_reported(world: World) -> None:
    arrived(world, Recipient(Address.parse("parti@hopital-a.test")))
    async with world.relaying():
        await world.settled()
    assert world.store.results == ["failed"]
    assert len(world.store.reports) == 1
