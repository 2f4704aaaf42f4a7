"""Mail for a domain that leaves us goes to its other operator (OP-101); a new list (OP-34)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from mssmtp.mail import Address, BalState, Domain, EnvelopeId, Recipient
from mssmtp.outside import LookupFailed
from mssmtp.policy import Moves
from mssmtp.storage import Handed, RelayJournal
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, unsigned_whitelist
from tests.smtp_out.peer import Script
from tests.smtp_out.test_relay import LUC, PEER, ZOE, ZOES, World, identities, world

__all__ = ["identities", "world"]

ANNE = Address.parse("anne@cabinet-b.test")
PAUL = Recipient(Address.parse("paul@hopital-a.test"), notify=frozenset({"SUCCESS", "FAILURE"}))
AT_ZOES = Recipient(ZOE, notify=frozenset({"SUCCESS", "FAILURE"}), orcpt="rfc822;z@x.test")
DSN = (b"8BITMIME", b"SIZE 62914560", b"DSN")


@pytest.fixture
def leaving(world: World) -> World:
    """hopital-a.test leaves for the operator of cabinet-b.test, tomorrow; DNS leads to us."""
    world.moves = Moves({}, {Domain(A_DOMAIN): world.clock.at + timedelta(days=1)})
    rows = ((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, B_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
    listed = unsigned_whitelist(world.authority, *rows)
    world.trust.swap(replace(world.snapshot, whitelist=listed))
    world.resolver.hosts[A_DOMAIN] = ("smtp.hopital-a.test",)
    return world


def said(verb: str, lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(verb)]


@pytest.mark.requirement("OP-101")
async def test_each_box_gets_a_letter_of_its_own_from_itself(leaving: World) -> None:
    peer = leaving.peer(script=Script(extensions=DSN, replies={"RCPT paul": b"550 5.1.1 who"}))
    async with leaving.relaying(**{PEER: peer}):
        leaving.letter(AT_ZOES, PAUL, sender=ANNE, envid="essai", ret="FULL")
        await leaving.store.until(lambda store: len(store.outcomes) >= 2)
    lines = peer.sessions[0].commands
    paths = [line.split(" SIZE=")[0] for line in said("MAIL", lines)]
    assert paths == [f"MAIL FROM:<{ZOE}>", f"MAIL FROM:<{PAUL.address}>"]
    assert not any("ENVID" in line or "RET=" in line for line in lines)
    assert said("RCPT", lines) == [f"RCPT TO:<{ZOE}>", f"RCPT TO:<{PAUL.address}>"]
    assert leaving.store.results == ["delivered", "failed"]
    (message,) = peer.messages
    assert (message.sender, message.recipients) == (str(ZOE), (str(ZOE),))
    # The author hears of both: the wishes did not go along.
    actions = {leaving.status(n)["Action"] for n in range(len(leaving.store.reports))}
    assert actions == {"failed", "relayed"}
    assert all(r.queued[0].address == ANNE for r in leaving.store.reports)


@pytest.mark.requirement("OP-101", "SEED-58")
async def test_what_was_taken_for_one_box_is_in_the_journal_before_the_next(
    leaving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D4: a worker that dies between two of these letters sends the first only once."""
    noted: list[tuple[str, tuple[int, ...]]] = []

    def note(_: RelayJournal, name: EnvelopeId, positions: Iterable[int], handed: Handed) -> None:
        noted.append((handed, tuple(positions)))

    monkeypatch.setattr(RelayJournal, "note", note)
    peer = leaving.peer()
    async with leaving.relaying(**{PEER: peer}):
        leaving.letter(AT_ZOES, PAUL, sender=ANNE)
        await leaving.store.until(lambda store: len(store.outcomes) >= 2)
    begun = ("begun", (0, 1))
    assert noted == [begun, ("taken", (0,)), begun, ("taken", (1,))]


@pytest.mark.requirement("OP-101")
async def test_what_our_own_boxes_write_keeps_its_reverse_path(leaving: World) -> None:
    peer = leaving.peer(script=Script(extensions=DSN))
    async with leaving.relaying(**{PEER: peer}):
        leaving.letter(PAUL)
        await leaving.settled()
    assert peer.messages[0].sender == str(ZOE)
    assert "NOTIFY=" in said("RCPT", peer.sessions[0].commands)[0]


@pytest.mark.requirement("OP-101")
async def test_a_report_is_handed_on_without_reverse_path(leaving: World) -> None:
    peer = leaving.peer()
    async with leaving.relaying(**{PEER: peer}):
        leaving.letter(AT_ZOES, sender=None)
        await leaving.settled()
    assert peer.messages[0].sender == ""


@pytest.mark.requirement("OP-101")
async def test_a_report_to_a_box_that_has_left_goes_where_it_is(leaving: World) -> None:
    leaving.store.bals[ZOE] = replace(ZOES, state=BalState.ACTIVE)
    peer = leaving.peer(script=Script(replies={"RCPT luc.dupont": b"550 5.1.1 who"}))
    async with leaving.relaying(**{PEER: peer}):
        leaving.letter(LUC)
        await leaving.settled()
    (report,) = leaving.store.reports
    assert (report.local, [r.address for r in report.queued]) == ((), [ZOE])


@pytest.mark.requirement("OP-101")
async def test_after_the_date_the_domain_is_like_any_other(leaving: World) -> None:
    leaving.clock.advance(timedelta(days=1))
    peer = leaving.peer()
    async with leaving.relaying(smtp_hopital__a_test=peer):
        leaving.letter(AT_ZOES, sender=ANNE)
        await leaving.settled()
    assert peer.messages[0].sender == str(ANNE)


# ---------------------------------------------------------------- OP-34


def relisted(world: World, *rows: tuple[str, str]) -> Snapshot:
    return replace(world.snapshot, whitelist=unsigned_whitelist(world.authority, *rows))


async def waits(world: World) -> None:
    world.resolver.hosts[B_DOMAIN] = LookupFailed()
    world.letter()
    await world.settled()
    assert world.store.results == ["queued"]


@pytest.mark.requirement("OP-34")
async def test_a_domain_that_leaves_the_list_comes_back_at_once_with_the_cause(
    world: World,
) -> None:
    async with world.relaying():
        await waits(world)
        world.trust.swap(relisted(world, (A_DOMAIN, A_SUBJECT.text)))
        await world.settled(2)
    assert world.store.results == ["failed"]
    cause = world.status()["Diagnostic-Code"]
    assert "550 5.7.1 Le domaine cabinet-b.test n'est plus dans la liste blanche" in cause


@pytest.mark.requirement("OP-34")
async def test_a_list_that_changes_nothing_for_a_domain_leaves_its_letters_alone(
    world: World,
) -> None:
    async with world.relaying() as relay:
        await waits(world)
        same = ((A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
        looked = asyncio.Event()
        world.store.heeded = looked.set
        world.trust.swap(relisted(world, *same, ("autre.test", B_SUBJECT.text)))
        await looked.wait()
        relay.wake()
    assert len(world.store.outcomes) == 1


@pytest.mark.requirement("OP-34", "OP-101")
async def test_an_announced_move_waits_until_its_date_and_not_longer(world: World) -> None:
    world.moves = Moves({}, {Domain(B_DOMAIN): world.clock.at + timedelta(days=3)})
    async with world.relaying() as relay:
        await waits(world)
        world.trust.swap(relisted(world, (A_DOMAIN, A_SUBJECT.text)))
        world.clock.advance(timedelta(hours=49))
        relay.wake()
        await world.settled(2)
        row = world.store.rows[0]
        assert row.result == "queued"
        assert row.reply.startswith("451 4.7.1 Le domaine cabinet-b.test change d'opérateur")
        assert row.next_attempt == world.clock.at + timedelta(hours=1)
        world.clock.advance(timedelta(hours=22, minutes=30))
        relay.wake()
        await world.settled(3)
        assert row.next_attempt == world.clock.at + timedelta(minutes=30)
        world.clock.advance(timedelta(minutes=30))
        relay.wake()
        await world.settled(4)
    assert world.store.results == ["failed"]
