"""Relaying changes no octet below the trace headers, whatever the letter is (OP-63, OP-70).

In by each door, out by the relay, with every ugly message of the corpus that a door takes. A
gateway's table is the one exception, and what it changes it can change back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import Address
from mssmtp.message.aliases import Aliases, rewritten
from tests.corpus import cpython_messages, torture_messages
from tests.smtp_in.fakes import PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in
from tests.smtp_in.test_gateway_door import RELAY, USUAL, hospital
from tests.smtp_out.peer import Peer
from tests.smtp_out.test_relay import LUC, MX_B, World, identities, world

__all__ = ["identities", "world"]

_AUTHORS = re.compile(
    rb"(?im)^(from|sender|resent-[a-z-]+|message-id|date)[ \t]*:.*\r\n([ \t].*\r\n)*"
)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_LARGEST = 20_000
_LEAST = 60
"""Letters that must have been taken: a corpus that is refused proves nothing."""


def letters(author: object) -> Iterator[bytes]:
    """The corpus under an author whom the door lets in, as lines of CRLF."""
    top = f"From: <{author}>\r\nMessage-ID: <1@x.test>\r\nDate: Mon, 5 Jan 2026 09:15:00 +0000\r\n"
    for number, (_, octets) in enumerate([*cpython_messages(), *torture_messages()]):
        message = octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")
        if _BARE.search(message) or len(message) > _LARGEST or message[:1] in (b" ", b"\t"):
            continue
        header, empty, body = message.partition(b"\r\n\r\n")
        kept = _AUTHORS.sub(b"", header + b"\r\n")
        mark = f"X-Number: {number}\r\nTo: <{author}>\r\n".encode()
        letter = top.encode() + mark + kept + (b"\r\n" + body if empty else b"")
        yield letter if letter.endswith(b"\r\n") else letter + b"\r\n"


async def carried(wire: Wire, sender: object, to: object, octets: bytes) -> bool:
    wire.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
    replies = [await wire.reply() for _ in range(3)]
    assert replies[2].startswith("354"), replies
    return (await wire.say(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")).startswith("250")


async def sent_by(wire: Wire, sender: object, to: object, author: object) -> list[bytes]:
    """The letters that were taken, as they were sent."""
    return [each for each in letters(author) if await carried(wire, sender, to, each)]


@pytest.mark.requirement("OP-63", "OP-70", "CL-62")
async def test_by_no_door_does_an_octet_change(rig: Rig, authority: Authority) -> None:
    """OP-70 too: nothing scored, tagged, delayed or rewritten, at a peer's door or ours."""
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        sent = await sent_by(wire, PEER, ZOE, PEER)
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        sent += await sent_by(wire, ZOE, PEER, ZOE)
    rig.gateways = hospital(aliases_file=None)
    relay = authority.issue(RELAY)
    async with rig.hospitals() as (_, port), await greeted(rig, port, relay) as wire:
        sent += await sent_by(wire, ZOE, PEER, ZOE)
    assert len(sent) > 3 * _LEAST
    assert [kept.message for kept in rig.store.kept] == sent


@pytest.mark.requirement("OP-63", "DEF-19")
async def test_what_the_table_changes_it_can_change_back(rig: Rig, authority: Authority) -> None:
    """No other octet: the other way round gives what was sent, and the body is untouched."""
    rig.gateways = hospital()
    relay = authority.issue(RELAY)
    async with rig.hospitals() as (_, port), await greeted(rig, port, relay) as wire:
        sent = await sent_by(wire, USUAL, PEER, USUAL)
    assert len(sent) > _LEAST
    back = Aliases.of([(Address.parse(USUAL), ZOE)]).inward
    for before, kept in zip(sent, rig.store.kept, strict=True):
        header, empty, body = kept.message.partition(b"\r\n\r\n")
        assert (empty + body) == b"".join(before.partition(b"\r\n\r\n")[1:])
        assert rewritten(header + empty, back).header + body == before
        assert f"From: <{ZOE}>".encode() in header


@pytest.mark.requirement("OP-63", "OP-70")
async def test_on_the_way_out_no_octet_changes(world: World) -> None:
    octets = sorted(set(letters("zoe.tartempion@hopital-a.test")))
    for each in octets:
        world.letter(LUC, octets=each)
    identity: Identity = world.identities["cabinet-b.test"]
    async with Peer(identity, world.authority, world.directory) as peer:
        world.ports[MX_B] = peer.port
        async with world.relaying():
            await world.settled(len(octets))
    assert sorted(message.body for message in peer.messages) == octets
    assert len(octets) > _LEAST
