"""Peers that lie, stall, refuse for ever or change: nothing is lost, doubled or stuck (ATT-02, D3).

Beside them a good peer gets its letter: one bad operator delays nobody.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mssmtp.mail import Address, DeliverBy, Recipient
from tests.smtp_out.peer import Script
from tests.smtp_out.test_relay import (
    EVE,
    LETTER,
    LUC,
    PEER,
    SLOW,
    World,
    identities,
    world,
)

__all__ = ["identities", "world"]

ANA = Recipient(Address.parse(f"ana@{SLOW}"))

HOSTILE = {
    "421 for ever": (Script(greeting=b"421 4.3.2 closing"), "4.4.1"),
    "nonsense at the greeting": (Script(greeting=b"bonjour a tous"), "4.5.0"),
    "nonsense at MAIL": (Script(replies={"MAIL": b"perhaps"}), "4.5.0"),
    "STARTTLS offered, then refused": (Script(starttls_reply=b"454 4.7.0 no"), "4.7.4"),
    "replies injected before TLS": (Script(behind_220=b"250 ok\r\n250 ok\r\n"), "4.5.0"),
    "a reply nobody asked for": (Script(in_tls=b"250 2.0.0 stored"), "4.5.0"),
    "two answers to one command": (Script(replies={"RCPT": b"250 ok\r\n354 go"}), "4.5.0"),
    "closes at DATA": (Script(replies={"DATA": b""}), "4.4.2"),
    "a larger SIZE than it takes": (Script(replies={".": b"552 5.3.4 too big"}), "5.3.4"),
    "421 at MAIL": (Script(replies={"MAIL": b"421 4.7.0 later"}), "4.7.0"),
}


@pytest.mark.attack
@pytest.mark.parametrize("name", HOSTILE)
async def test_att_02_a_hostile_peer_harms_its_own_mail_only(world: World, name: str) -> None:
    script, status = HOSTILE[name]
    bad, good = world.peer(script=script, who=SLOW), world.peer()
    world.resolver.hosts[SLOW] = ("mx.lent.test",)
    async with world.relaying(mx_lent_test=bad, **{PEER: good}):
        world.letter(ANA)
        await world.settled()
        world.letter(LUC)
        await world.settled(2)
    outcome = world.store.outcomes[0]
    assert outcome.reply.split()[1] == status
    assert not bad.messages
    assert len(good.messages) == 1
    permanent = status.startswith("5")
    assert world.store.results[0] == ("failed" if permanent else "queued")
    assert len(world.store.reports) == permanent, "told at once, or tried again"


@pytest.mark.attack
async def test_att_02_a_peer_that_answers_421_for_ever_is_knocked_at_seldom(world: World) -> None:
    """What waits for it shares the answer; nothing is lost."""
    bad = world.peer(script=Script(greeting=b"421 4.3.2 closing"))
    async with world.relaying(**{PEER: bad}) as relay:
        for _ in range(60):
            world.letter()
        async with asyncio.timeout(10):
            while len(world.store.outcomes) < 60:
                await asyncio.sleep(0.02)
                world.clock.advance(timedelta(seconds=5))
                relay.wake()
    assert world.store.results == ["queued"] * 60
    assert len(bad.sessions) < 20


@pytest.mark.attack
@pytest.mark.requirement("OP-11")
async def test_att_15_a_certificate_that_changes_is_judged_anew(world: World) -> None:
    """A kept connection is no promise about the next: the letter waits, nothing is said to it."""
    good, changed = world.peer(), world.peer(who="expired")
    async with world.relaying(**{PEER: good}):
        world.letter()
        await world.settled()
    async with world.relaying(**{PEER: changed}):
        world.letter()
        await world.settled(2)
    assert world.store.results == ["delivered", "queued"]
    assert "4.7.5" in world.store.outcomes[1].reply
    assert "MAIL" not in changed.sessions[0].verbs


async def test_a_connection_closed_behind_our_back_is_replaced_at_once(world: World) -> None:
    """The letter is not in doubt and not late: nothing of it was said."""
    peer = world.peer(script=Script(closes_after=1))
    async with world.relaying(**{PEER: peer}):
        for count in (1, 2, 3):
            world.letter()
            await world.settled(count)
    assert world.store.results == ["delivered"] * 3
    assert len(peer.messages) == 3
    assert {outcome.result for outcome in world.store.outcomes} == {"delivered"}


@pytest.mark.parametrize(
    ("offered", "status", "result"),
    [((b"REQUIRETLS",), "2.0.0", "delivered"), ((b"8BITMIME",), "5.7.30", "failed")],
)
async def test_tls_on_the_whole_way_is_promised_or_the_letter_comes_back(
    world: World, offered: tuple[bytes, ...], status: str, result: str
) -> None:
    """RFC 8689 4.2.1."""
    peer = world.peer(script=Script(extensions=offered))
    async with world.relaying(**{PEER: peer}):
        world.letter(require_tls=True)
        await world.settled()
    assert world.store.outcomes[0].reply.split()[1] == status
    assert world.store.results == [result]
    mails = [line for line in peer.sessions[0].commands if line.startswith("MAIL")]
    assert [line.endswith(" REQUIRETLS") for line in mails] == [True] * len(peer.messages)


async def test_what_had_to_be_under_tls_all_the_way_comes_back_without_its_body(
    world: World,
) -> None:
    """RFC 8689 5: RET=FULL is disregarded, and the report asks for what its letter asked for."""
    peer = world.peer(script=Script(extensions=(b"8BITMIME",)))
    async with world.relaying(**{PEER: peer}):
        world.letter(require_tls=True, ret="FULL")
        await world.settled()
    (report,) = world.store.reports
    assert b"text/rfc822-headers" in report.octets
    assert LETTER.partition(b"\r\n\r\n")[2] not in report.octets
    assert report.envelope.require_tls


@pytest.mark.parametrize("offered", [b"REQUIRETLS", b"8BITMIME"])
async def test_a_report_goes_on_where_nobody_promises_tls_on_the_whole_way(
    world: World, offered: bytes
) -> None:
    """RFC 8689 5: one that is lost tells nobody."""
    peer = world.peer(script=Script(extensions=(offered,)))
    async with world.relaying(**{PEER: peer}):
        world.letter(sender=None, require_tls=True)
        await world.settled()
    assert world.store.results == ["delivered"]
    (mail,) = [line for line in peer.sessions[0].commands if line.startswith("MAIL")]
    assert mail.endswith(" REQUIRETLS") == (offered == b"REQUIRETLS")


async def test_a_letter_comes_back_when_its_time_is_over(world: World) -> None:
    """RFC 2852, mode R: tried a last time at its deadline, then returned; never sent on late."""
    until = world.clock.now() + timedelta(minutes=2)
    peer = world.peer(script=Script(greeting=b"421 4.3.2 closing", extensions=(b"DELIVERBY",)))
    async with world.relaying(**{PEER: peer}) as relay:
        world.letter(deliver_by=DeliverBy(until, "R"))
        await world.settled()
        assert world.store.rows[0].next_attempt == until
        world.clock.advance(timedelta(minutes=2))
        relay.wake()
        await world.settled(2)
    assert world.store.results == ["failed"]
    assert world.status()["Status"] == "5.4.7"


async def test_who_wished_to_be_told_of_a_late_letter_is_told_at_its_deadline(
    world: World,
) -> None:
    """RFC 2852, mode N: a delay report then, and the attempts go on."""
    until = world.clock.now() + timedelta(minutes=2)
    peer = world.peer(script=Script(greeting=b"421 4.3.2 closing"))
    async with world.relaying(**{PEER: peer}) as relay:
        world.letter(deliver_by=DeliverBy(until, "N"))
        await world.settled()
        world.clock.advance(timedelta(minutes=2))
        relay.wake()
        await world.settled(2)
    assert world.store.results == ["queued"]
    assert [report.envelope.sender for report in world.store.reports] == [None]
    assert world.status()["Action"] == "delayed"


async def test_a_peer_that_keeps_no_time_does_not_get_what_must_come_back(world: World) -> None:
    """RFC 2852 4.1.4."""
    until = world.clock.now() + timedelta(hours=1)
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        world.letter(LUC, deliver_by=DeliverBy(until, "R"))
        world.letter(EVE, deliver_by=DeliverBy(until, "N"))
        await world.settled(2)
    assert sorted(world.store.results) == ["delivered", "failed"]
    assert [message.recipients for message in peer.messages] == [(str(EVE.address),)]


async def test_urgent_results_overtake_what_waits(world: World) -> None:
    """RFC 6710: with every place taken, the urgent one is next."""
    gate = asyncio.Event()
    peer = world.peer(script=Script(hold=gate))
    async with world.relaying(**{PEER: peer}):
        for _ in range(12):
            world.letter(LUC)
        async with asyncio.timeout(30):
            await peer.holding.wait()
        world.letter(EVE, priority=6)
        await asyncio.sleep(0.1)
        gate.set()
        await world.settled(13)
    order = [message.recipients[0] for message in peer.messages]
    assert order.index(str(EVE.address)) < 8
