"""The gateway door over loopback TLS: a hospital's server, its certificate, its table (DEF-19)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mssmtp.config_senders import GatewaySettings
from mssmtp.demo.authority import Authority, Identity, Subject
from mssmtp.gateways import HELD, Gateway, Gateways
from mssmtp.mail import Address, BalType
from mssmtp.message.aliases import Aliases
from tests.smtp_in.fakes import PEER, URGENCES, ZOE, per
from tests.smtp_in.rig import Rig, Wire, greeted

RELAY = Subject("relais.chu.test", "1690000099", "CHU", "Rhône (69)")
USUAL = "zoe@chu.example"
TABLE = Aliases.parse(f"usuelle;mssante\n{USUAL};{ZOE}\n".encode())

LETTER = (
    b'From: "Zo\xc3\xa9 (zoe@chu.example)"\r\n <zoe@chu.example>\r\n'
    b"Sender: zoe@chu.example\r\n"
    b"Reply-To: Zoe@CHU.example\r\n"
    b"To: <anne.tournesol@cabinet-b.test>\r\n"
    b"Cc: zoe@chu.example, autre@chu.example\r\n"
    b"Disposition-Notification-To: zoe@chu.example\r\n"
    b"Return-Receipt-To: <zoe@chu.example>\r\n"
    b"References: <zoe@chu.example>\r\n"
    b"Message-ID: <1.zoe@chu.example>\r\n"
    b"Subject: zoe@chu.example\r\n"
    b"X-MSS-NIL: zoe@chu.example\r\n"
    b"\r\n"
    b"From: zoe@chu.example\r\n"
)


def hospital(**changes: object) -> Gateways:
    values = {
        "name": "chu",
        "domains": ["hopital-a.test"],
        "client_names": [RELAY.text],
        "addresses": ["127.0.0.1/32"],
        "xclient": True,
    } | changes
    return Gateways((Gateway(GatewaySettings.model_validate(values), TABLE),))


@pytest.fixture
def relay(authority: Authority) -> Identity:
    return authority.issue(RELAY)


@asynccontextmanager
async def door(rig: Rig, identity: Identity | None, **changes: object) -> AsyncIterator[Wire]:
    """A hospital's server that is connected, encrypted and has said EHLO."""
    rig.gateways = hospital(**changes)
    async with rig.hospitals() as (_, port), await greeted(rig, port, identity) as wire:
        yield wire


async def send(wire: Wire, sender: object, to: object, octets: bytes) -> str:
    """The reply that ended it."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
        reply = await wire.say(command)
        if not reply.startswith(("2", "3")):
            return reply
    return await wire.say(octets + b".\r\n")


@pytest.mark.requirement("DEF-19", "OP-63", "SEED-82", "CL-62")
async def test_seven_fields_and_the_envelope_are_rewritten_and_no_other_octet(
    rig: Rig, relay: Identity
) -> None:
    async with door(rig, relay) as wire:
        assert (await send(wire, USUAL, PEER, LETTER)).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert kept.envelope.sender == ZOE
    header, body = LETTER.split(b"\r\n\r\n", 1)
    ours = str(ZOE).encode()
    expected = b"\r\n".join(
        line
        if line.startswith((b"From:", b"References", b"Message-ID", b"Subject", b"X-MSS"))
        else line.replace(b"zoe@chu.example", ours).replace(b"Zoe@CHU.example", ours)
        for line in header.split(b"\r\n")
    )
    assert kept.message == expected + b"\r\n\r\n" + body
    assert kept.transfer.door == "gateway"


@pytest.mark.requirement("DEF-19")
async def test_a_colleagues_usual_address_is_resolved_and_orcpt_keeps_it(
    rig: Rig, relay: Identity
) -> None:
    async with door(rig, relay) as wire:
        assert (await send(wire, URGENCES_FROM, USUAL, letter_of(URGENCES_FROM))).startswith("250")
    (kept,) = rig.store.kept
    (copy,) = kept.local
    assert copy.recipient.address == ZOE
    assert copy.recipient.orcpt == f"rfc822;{USUAL}"


URGENCES_FROM = str(URGENCES)


def letter_of(sender: str) -> bytes:
    return f"From: <{sender}>\r\nTo: <{PEER}>\r\nSubject: s\r\n\r\nb\r\n".encode()


@pytest.mark.requirement("DEF-19", "OP-13")
async def test_a_recipient_outside_the_trust_space_is_refused_with_the_reason(
    rig: Rig, relay: Identity
) -> None:
    async with door(rig, relay) as wire:
        await wire.say(f"MAIL FROM:<{USUAL}>")
        reply = await wire.say("RCPT TO:<quelquun@internet.example>")
        assert reply.startswith("550 5.7.1 Le domaine internet.example n'est pas dans l'espace")
        reply = await wire.say("RCPT TO:<personne@hopital-a.test>")
        assert reply.startswith("550 5.1.1 Boite inconnue")


@pytest.mark.attack("ATT-42")
@pytest.mark.requirement("DEF-19", "OP-86")
@pytest.mark.parametrize(
    ("sender", "author", "refusal"),
    [
        ("inconnu@chu.example", USUAL, "553 5.7.1 L'expediteur inconnu@chu.example"),
        ("inconnu@hopital-a.test", USUAL, "553 5.7.1 L'expediteur inconnu@hopital-a.test"),
        (str(PEER), USUAL, f"553 5.7.1 L'expediteur {PEER}"),
        (USUAL, str(PEER), f"553 5.7.1 L'auteur {PEER}"),
        (USUAL, "inconnu@chu.example", "553 5.7.1 L'auteur inconnu@chu.example"),
        ("", "mailer-daemon@chu.example", "553 5.7.1 L'auteur mailer-daemon@chu.example"),
    ],
)
async def test_att_42_a_gateway_writes_for_its_own_boxes_only(
    rig: Rig, relay: Identity, sender: str, author: str, refusal: str
) -> None:
    async with door(rig, relay) as wire:
        assert (await send(wire, sender, PEER, letter_of(author))).startswith(refusal)
    assert rig.store.kept == []


@pytest.mark.requirement("DEF-19", "CL-61")
async def test_a_report_of_the_hospital_leaves_under_a_box_of_its_own(
    rig: Rig, relay: Identity
) -> None:
    async with door(rig, relay) as wire:
        assert (await send(wire, "", PEER, letter_of(str(ZOE)))).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert kept.envelope.sender is None


@pytest.mark.requirement("DEF-19", "SEED-32")
async def test_the_rights_are_those_of_the_box(rig: Rig, relay: Identity) -> None:
    inside = Address.parse("interne@hopital-a.test")
    rig.store.bals[inside] = per(9, inside, type=BalType.MED)
    async with door(rig, relay) as wire:
        reply = await send(wire, inside, PEER, letter_of(str(inside)))
        assert reply.startswith("550 5.7.1 Votre boite n'ecrit qu'aux boites")


@pytest.mark.attack("ATT-15")
@pytest.mark.requirement("DEF-19")
@pytest.mark.parametrize(
    ("who", "changes", "refusal"),
    [
        ("nobody", {}, "554 5.7.0 Certificat absent"),
        ("another operator", {}, "554 5.7.1 Le nom de ce certificat"),
        ("relay", {"addresses": ["192.0.2.0/24"]}, "554 5.7.1 Adresse IP non declaree"),
        ("another authority", {}, "554 5.7.5 Certificat non emis"),
    ],
)
async def test_att_15_neither_certificate_nor_address_opens_the_door_alone(
    rig: Rig,
    relay: Identity,
    authority: Authority,
    who: str,
    changes: dict[str, object],
    refusal: str,
) -> None:
    identities: dict[str, Identity | None] = {
        "nobody": None,
        "another operator": rig.b,
        "relay": relay,
        "another authority": Authority(authority.now).issue(RELAY),
    }
    async with door(rig, identities[who], **changes) as wire:
        assert (await wire.say(f"MAIL FROM:<{USUAL}>")).startswith(refusal)
        assert "XCLIENT" not in await wire.say("EHLO x")
        assert (await wire.say("XCLIENT ADDR=192.0.2.1")).startswith("502")


@pytest.mark.requirement("DEF-19")
async def test_the_certificate_of_a_gateway_opens_no_other_door(rig: Rig, relay: Identity) -> None:
    rig.gateways = hospital()
    async with rig.operators() as (_, port), await greeted(rig, port, relay) as wire:
        assert (await wire.say(f"MAIL FROM:<{ZOE}>")).startswith("554 5.7.1 Operateur absent")
        assert (await wire.say("XCLIENT ADDR=192.0.2.1")).startswith("500")


@pytest.mark.requirement("DEF-19")
async def test_xclient_tells_of_the_client_behind_and_gives_no_right(
    rig: Rig, relay: Identity
) -> None:
    async with door(rig, relay) as wire:
        assert "250-XCLIENT NAME ADDR PORT PROTO HELO\n" in await wire.say("EHLO relais")
        reply = await wire.say("XCLIENT ADDR=192.0.2.77 HELO=poste-12 LOGIN=zoe")
        assert reply.startswith("501 5.5.4")  # nobody is logged in by somebody's word
        reply = await wire.say("XCLIENT ADDR=192.0.2.77 HELO=poste-12 NAME=[UNAVAILABLE]")
        assert reply.startswith("220 mx.hopital-a.test")
        assert (await wire.say(f"MAIL FROM:<{USUAL}>")).startswith("503")
        await wire.say("EHLO relais")
        assert (await send(wire, USUAL, PEER, letter_of(USUAL))).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert b"Received: from poste-12 ([192.0.2.77])" in kept.octets
    assert kept.transfer.peer_address == "127.0.0.1"  # who gave it to us


@pytest.mark.requirement("DEF-19")
async def test_xforward_tells_of_the_client_of_one_letter(rig: Rig, relay: Identity) -> None:
    """As Postfix says it, in two lines before each MAIL. A connection carries letters of many
    clients: what was told of one is not said of the next, and `[UNAVAILABLE]` is nobody."""
    told = [
        ["NAME=poste-12.chu.example ADDR=192.0.2.77 PORT=51234", "HELO=poste-12 SOURCE=LOCAL"],
        [],
        ["ADDR=192.0.2.78 HELO=poste-13", "ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]"],
        ["ADDR=IPV6:2001:db8::7"],
    ]
    async with door(rig, relay) as wire:
        assert "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in await wire.say("EHLO relais")
        for lines in told:
            for line in lines:
                assert (await wire.say(f"XFORWARD {line}")).startswith("250 ")
            assert (await send(wire, USUAL, PEER, letter_of(USUAL))).startswith("250 2.0.0")
    starts = [kept.octets.partition(b"From: ")[0] for kept in rig.store.kept]
    assert [b"from poste-12 ([192.0.2.77])" in each for each in starts] == [True] + [False] * 3
    assert [b"from relais ([127.0.0.1])" in each for each in starts] == [False, True, True, False]
    assert b"from relais ([IPv6:2001:db8::7])" in starts[3]
    assert not any(b"poste-13" in each for each in starts)


@pytest.mark.attack("ATT-09")
@pytest.mark.parametrize(
    "attributes",
    ["", "ADDR", "ADDR=x", "COLOUR=red", "HELO=a+0D+0Ab", "ADDR=192.0.2.1 ADDR=192.0.2.2",
     "HELO=" + "a" * 300, "HELO=é"],
)  # fmt: skip
async def test_att_09_attributes_that_are_none_are_refused(
    rig: Rig, relay: Identity, attributes: str
) -> None:
    async with door(rig, relay) as wire:
        assert (await wire.say(f"XFORWARD {attributes}".encode() + b"\r\n")).startswith("501 5.5.4")
        assert (await wire.say("NOOP")).startswith("250")


async def test_without_leave_nothing_is_told(rig: Rig, relay: Identity) -> None:
    async with door(rig, relay, xclient=False) as wire:
        assert "XCLIENT" not in await wire.say("EHLO relais")
        assert (await wire.say("XFORWARD ADDR=192.0.2.1")).startswith("502")


@pytest.mark.requirement("DEF-19", "SEED-81")
@pytest.mark.parametrize(
    ("inbound", "local", "queued"),
    [("store", 1, 0), ("forward", 0, 1), ("both", 1, 1), ("hold", 1, 0)],
)
async def test_mail_for_its_boxes_goes_where_the_settings_say(
    rig: Rig, inbound: str, local: int, queued: int
) -> None:
    rig.gateways = hospital(inbound=inbound, hosts=["relais.chu.example:25"])
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await send(wire, PEER, ZOE, letter_of(str(PEER)))).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert (len(kept.local), len(kept.queued)) == (local, queued)
    assert {flag for copy in kept.local for flag in copy.flags} == (
        {HELD} if inbound == "hold" else set()
    )


@pytest.mark.requirement("DEF-19", "SEED-55")
async def test_the_limits_are_those_of_submission(rig: Rig, relay: Identity) -> None:
    rig.limit(message_octets=2_000, attachment_octets=100)
    attached = (
        letter_of(USUAL).split(b"\r\n\r\n")[0]
        + b'\r\nContent-Type: application/pdf; name="a.pdf"\r\n\r\n'
        + b"x" * 500
        + b"\r\n"
    )
    async with door(rig, relay) as wire:
        reply = await wire.say(f"MAIL FROM:<{USUAL}> SIZE=3000")
        assert reply.startswith("552 5.3.4")
        assert (await send(wire, USUAL, PEER, attached)).startswith("552 5.3.4 La piece jointe")
