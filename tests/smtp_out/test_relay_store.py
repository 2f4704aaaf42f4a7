"""The relay on the real store: what is left behind after a delivery and after a failure."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, cast

import pytest

from mssmtp import smtp_out
from mssmtp.config import StoreSettings
from mssmtp.identity.authenticator import Authenticator
from mssmtp.mail import Address, Bal, BalState, BalType, Door, Envelope, EnvelopeId, Recipient
from mssmtp.outside import SystemEntropy
from mssmtp.own import OwnKeys
from mssmtp.policy import Engine
from mssmtp.reactions import Reactions
from mssmtp.sieve.auto_reply import AutoReply
from mssmtp.smtp_lookup import Services
from mssmtp.storage import Reading, RelayJournal, Store, Transfer, TransferTrace, Writing
from mssmtp.storage.scripts import AUTO_REPLY
from mssmtp.trust import Suspended
from tests.smtp_out.fakes import FakeClock, FakeStore
from tests.smtp_out.peer import Script
from tests.smtp_out.test_relay import EVE, LETTER, LUC, PEER, ZOE, World, identities, world

__all__ = ["identities", "world"]

T = TypeVar("T")
RETURN_PATH = b"Return-Path: <zoe.tartempion@hopital-a.test>\r\n"


@dataclass(frozen=True, slots=True)
class Home:
    """A store with Zoé's box in it."""

    store: Store
    clock: FakeClock
    zoe: Bal

    def queue(
        self,
        *recipients: Recipient,
        octets: bytes = LETTER,
        held: bool = False,
        **wishes: object,
    ) -> EnvelopeId:
        envelope = Envelope(self.store.new_envelope_id(), ZOE, recipients, self.clock.now())
        envelope = replace(envelope, **wishes)  # type: ignore[arg-type]
        letter = self.store.seal(RETURN_PATH + octets)

        def job(writing: Writing) -> None:
            writing.accept(
                envelope,
                letter,
                local=(),
                queued=recipients,
                skip=len(RETURN_PATH),
                owner=self.zoe.id,
                transfer=Transfer("in", Door.SUBMISSION, "127.0.0.1", "accept", "250 ok"),
                facts=b"{}",
            )
            if held:
                writing.hold(envelope.id)

        self.store.write(job).result(10)
        return envelope.id

    async def empty(self) -> None:
        """Until nobody waits in the queue any more."""
        async with asyncio.timeout(10):
            while await asyncio.wrap_future(self.store.read(lambda r: r.queue_depth())):  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0.02)


@pytest.fixture
def home(world: World, tmp_path: Path) -> Iterator[Home]:
    settings = StoreSettings(home=tmp_path / "home", master_key_file=tmp_path / "master.key")
    Store.create(settings, world.clock, SystemEntropy())
    store = Store(settings, world.clock, SystemEntropy())

    def people(writing: Writing) -> Bal:
        return writing.create_bal(ZOE, BalType.PER, national_id="810000000000", login=str(ZOE))

    zoe = store.write(people).result(10)
    world.store = cast(FakeStore, store)
    yield Home(store, world.clock, zoe)
    report = store.check()
    store.close()
    assert report.is_sound, report.problems


@pytest.mark.requirement("OP-01", "OP-11")
async def test_a_delivery_leaves_an_event_a_trace_and_an_empty_queue(
    world: World, home: Home
) -> None:
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        name = home.queue(LUC, EVE)
        await home.empty()
    assert peer.messages[0].body == LETTER
    assert len(peer.messages[0].recipients) == 2
    events = home.store.read(lambda r: r.events(name)).result(10)
    assert [event.kind for event in events] == ["scellement", "relais", "relais"]
    trace = home.store.read(lambda r: r.transfers(name)).result(10)[-1]
    assert trace.transfer.direction == "out"
    assert trace.transfer.peer_serial
    assert trace.transfer.reply == "250 2.0.0 stored"


@pytest.mark.requirement("OP-19", "SEED-68")
async def test_a_failure_comes_back_into_the_senders_inbox(world: World, home: Home) -> None:
    peer = world.peer(script=Script(replies={"RCPT eve.durand": b"550 5.1.1 inconnue"}))
    async with world.relaying(**{PEER: peer}):
        name = home.queue(LUC, EVE)
        await home.empty()

    def inbox(reading: Writing) -> bytes:
        mailbox = reading.mailbox(home.zoe.id, "INBOX")
        assert mailbox is not None
        assert mailbox.messages == 1
        return reading.body(mailbox.id, reading.messages(mailbox.id)[0].uid)

    octets = home.store.write(inbox).result(10)
    assert octets.startswith(b"Return-Path: <>\r\nFrom: MAILER-DAEMON@hopital-a.test (Mail ")
    assert b"Subject: Undelivered Mail Returned to Sender\r\n" in octets
    assert b"Final-Recipient: rfc822; eve.durand@cabinet-b.test\r\n" in octets
    assert b"Original-Envelope-Id: " + name.encode() in octets
    assert b"Subject: essai" in octets
    events = home.store.read(lambda r: r.events(name)).result(10)
    assert [event.kind for event in events] == ["scellement", "relais", "rejet"]


@pytest.mark.requirement("OP-18")
async def test_a_deferral_waits_for_its_time(world: World, home: Home) -> None:
    peer = world.peer(script=Script(starttls=False))
    async with world.relaying(**{PEER: peer}):
        name = home.queue(LUC)
        async with asyncio.timeout(10):
            while not peer.sessions:  # noqa: ASYNC110 - the peer only notes
                await asyncio.sleep(0.02)
    entry = home.store.read(lambda r: r.queue_entry(name)).result(10)[0]
    assert entry.attempts == 1
    assert entry.next_attempt - home.clock.now() == timedelta(minutes=5)
    assert entry.leased_by is None
    assert entry.last_reply is not None
    assert "4.7.4" in entry.last_reply


async def test_a_large_letter_is_read_from_its_file_in_blocks(world: World, home: Home) -> None:
    octets = LETTER + (b"." + b"x" * 74 + b"\r\n") * 136_000
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        home.queue(LUC, octets=octets)
        await home.empty()
    assert peer.messages[0].sha256 == hashlib.sha256(octets).hexdigest()


async def test_leases_of_a_dead_worker_are_taken_back_by_its_successor(
    world: World, home: Home
) -> None:
    name = home.queue(LUC)
    home.store.write(lambda w: w.lease(world.clock.now(), 10, "relay-worker-1")).result(10)
    peer = world.peer()
    world.worker = "worker-1"
    async with world.relaying(**{PEER: peer}):
        await home.empty()
    assert len(peer.messages) == 1
    assert home.store.read(lambda r: r.queue_entry(name)).result(10) == ()


@pytest.mark.requirement("CL-61")
async def test_who_asked_hears_of_what_a_peer_took_from_a_worker_that_died(
    world: World, home: Home
) -> None:
    """The peer had said 250, and the outcome was in the journal only (D4)."""
    name = home.queue(replace(LUC, notify=frozenset({"SUCCESS"})), EVE)
    home.store.write(lambda w: w.lease(world.clock.now(), 10, "relay-worker-1")).result(10)
    run = world.settings().store.home / "run"
    run.mkdir(parents=True, exist_ok=True)
    journal = RelayJournal(run / "relay-worker-1.journal")
    journal.begin()
    journal.note(name, [0, 1], "taken")
    journal.close()
    peer = world.peer()
    world.worker = "worker-1"
    async with world.relaying(**{PEER: peer}):
        await home.empty()
    assert peer.messages == []

    def inbox(reading: Writing) -> list[bytes]:
        mailbox = reading.mailbox(home.zoe.id, "INBOX")
        assert mailbox is not None
        return [reading.body(mailbox.id, row.uid) for row in reading.messages(mailbox.id)]

    (octets,) = home.store.write(inbox).result(10)
    assert b"Action: relayed" in octets
    assert str(LUC.address).encode() in octets
    assert str(EVE.address).encode() not in octets
    events = home.store.read(lambda r: r.events(name)).result(10)
    assert [event.kind for event in events] == ["scellement", "relais", "relais"]


async def test_what_is_queued_or_made_due_leaves_without_a_look_at_the_clock(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_out, "_POLL_S", 3_600.0)
    waits = asyncio.Event()
    genuine = smtp_out.Relay._wait

    async def noted(relay: smtp_out.Relay, within_s: float) -> None:
        waits.set()
        await genuine(relay, within_s)

    monkeypatch.setattr(smtp_out.Relay, "_wait", noted)
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        await asyncio.wait_for(waits.wait(), 30)
        home.queue(LUC)
        await home.empty()
        waits.clear()
        held = home.queue(EVE, held=True)
        await asyncio.wait_for(waits.wait(), 30)
        home.store.write(lambda w: w.hold(held, on=False)).result(10)
        await home.empty()
    assert len(peer.messages) == 2


async def test_what_is_wished_later_leaves_then_also_into_a_box_here(
    world: World, home: Home
) -> None:
    """RFC 4865; the box may have been suspended meanwhile."""
    until = home.clock.now() + timedelta(hours=3)
    peer = world.peer()
    async with world.relaying(**{PEER: peer}) as relay:
        home.queue(LUC, Recipient(ZOE), hold_until=until)
        home.queue(EVE)
        await relay_has_delivered(home, 2)
        assert [message.recipients for message in peer.messages] == [(str(EVE.address),)]
        home.clock.advance(timedelta(hours=3))
        relay.wake()
        await home.empty()
    assert [message.recipients for message in peer.messages][1:] == [(str(LUC.address),)]
    mailbox = home.store.read(lambda r: r.mailbox(home.zoe.id, "INBOX")).result(10)
    assert mailbox is not None
    assert mailbox.messages == 1


def reacting(world: World, home: Home) -> Bal:
    """A box with a script and an automatic reply, and a relay that asks it."""
    address = Address.parse("eva.absente@hopital-a.test")

    def job(writing: Writing) -> Bal:
        bal = writing.create_bal(address, BalType.MED)
        script = b'require ["fileinto", "mailbox"]; fileinto :create "Plus tard";'
        writing.put_script(bal.id, "tri", script)
        writing.activate_script(bal.id, "tri")
        writing.prefer("bal", bal.id, AUTO_REPLY, AutoReply("Je suis absente.").to_bytes())
        writing.note_reactions(bal.id)
        return bal

    settings = world.settings()
    services = Services(
        settings,
        home.store,
        world.trust,
        Engine(settings.policy, settings.limits),
        cast(Authenticator, None),
        world.clock,
        SystemEntropy(),
        OwnKeys(settings, world.trust, world.clock),
    )
    world.react = Reactions(services).late
    return home.store.write(job).result(10)


@pytest.mark.requirement("DEF-13", "SEED-44")
async def test_a_letter_that_comes_late_meets_script_and_absence_once(
    world: World, home: Home
) -> None:
    """RFC 4865: neither when it was handed in nor twice, but when it comes into the box."""
    eva = reacting(world, home)
    until = home.clock.now() + timedelta(hours=3)
    async with world.relaying() as relay:
        to_her = LETTER.replace(b"From: zoe", f"From: <{ZOE}>\r\nTo: <{eva.address}>".encode())
        home.queue(Recipient(eva.address), octets=to_her, hold_until=until)
        assert home.store.read(lambda r: r.mailbox(eva.id, "Plus tard")).result(10) is None
        home.clock.advance(timedelta(hours=3))
        relay.wake()
        await home.empty()
    found = home.store.read(lambda r: {each.name: each for each in r.mailboxes(eva.id)}).result(10)
    assert (found["Plus tard"].messages, found["INBOX"].messages) == (1, 0)
    inbox = home.store.read(lambda r: r.mailbox(home.zoe.id, "INBOX")).result(10)
    assert inbox is not None
    assert inbox.messages == 1  # the answer of the absence


@pytest.mark.attack("ATT-25")
@pytest.mark.requirement("OP-79")
@pytest.mark.parametrize("what", ["domain of theirs", "domain of ours", "account"])
async def test_what_waits_stays_while_it_is_suspended_and_leaves_afterwards(
    world: World, home: Home, what: str
) -> None:
    """OP-79: neither bounced nor lost."""
    stopped = {
        "domain of theirs": Suspended(domains=frozenset({LUC.address.domain})),
        "domain of ours": Suspended(domains=frozenset({ZOE.domain})),
        "account": Suspended(boxes=frozenset({home.zoe.id})),
    }
    if what == "account":
        home.store.write(lambda w: w.set_bal_state(home.zoe.id, BalState.SUSPENDED)).result(10)
    world.trust.suspended = stopped[what]
    peer = world.peer()
    async with world.relaying(**{PEER: peer}) as relay:
        home.queue(LUC)
        async with asyncio.timeout(10):
            while not (await asyncio.wrap_future(home.store.read(lambda r: r.queue())))[0].attempts:  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0.02)
        assert not peer.messages
        world.trust.suspended = Suspended()
        home.clock.advance(timedelta(hours=1))
        relay.wake()
        await home.empty()
    assert [message.recipients for message in peer.messages] == [(str(LUC.address),)]


async def relay_has_delivered(home: Home, left: int) -> None:
    async with asyncio.timeout(10):
        while await asyncio.wrap_future(home.store.read(lambda r: r.queue_depth())) > left:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.02)


@pytest.mark.requirement("SEED-58")
async def test_what_a_peer_took_before_the_worker_died_is_not_sent_again(
    world: World, home: Home
) -> None:
    """D4: the 250 is in the journal, the commit that would have recorded it never came."""
    taken, begun, waiting = home.queue(LUC), home.queue(LUC), home.queue(LUC)
    home.store.write(lambda w: w.lease(world.clock.now(), 10, "relay-worker-1")).result(10)
    journal = RelayJournal(world.settings().store.home / "run" / "relay-worker-1.journal")
    journal.begin()
    journal.note(taken, (0,), "begun")
    journal.note(taken, (0,), "taken")
    journal.note(begun, (0,), "begun")
    journal.close()
    peer = world.peer()
    world.worker = "worker-1"
    async with world.relaying(**{PEER: peer}):
        await home.empty()
    assert len(peer.messages) == 2
    doubts = []
    for name in (taken, begun, waiting):
        hops = home.store.read(partial(_transfers, name=name)).result(10)
        doubts.append([hop.transfer.verdict for hop in hops].count("in doubt"))
    assert doubts == [0, 1, 0]


class _AnswersOnce(asyncio.Event):
    """The first message is answered, the next one never; `again`: it is here."""

    def __init__(self) -> None:
        super().__init__()
        self.again = asyncio.Event()
        self._messages = 0

    async def wait(self) -> Literal[True]:
        self._messages += 1
        if self._messages > 1:
            self.again.set()
            await super().wait()
        return True


@pytest.mark.requirement("SEED-58")
async def test_what_a_peer_took_of_a_letter_is_recorded_when_the_rest_is_cut_short(
    world: World, home: Home
) -> None:
    """D4, RFC 9422: the service stops between two pieces of one letter."""
    hold = _AnswersOnce()
    limited = (*Script().extensions, b"LIMITS RCPTMAX=1")
    peer = world.peer(script=Script(extensions=limited, hold=hold))
    async with world.relaying(**{PEER: peer}) as relay:
        name = home.queue(LUC, EVE)
        async with asyncio.timeout(30):
            await hold.again.wait()
        await relay.stop(0.05)
    (left,) = home.store.read(lambda r: r.queue_entry(name)).result(10)
    assert left.recipient == EVE
    assert "peut-être reçu" in str(left.last_reply)
    kinds = [event.kind for event in home.store.read(lambda r: r.events(name)).result(10)]
    assert kinds == ["scellement", "relais"]
    assert home.store.check().problems == ()


def _transfers(reading: Reading, name: EnvelopeId) -> tuple[TransferTrace, ...]:
    return reading.transfers(name)
