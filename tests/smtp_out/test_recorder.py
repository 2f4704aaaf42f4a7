"""Outcomes and their reports belong together: no failure without report, no report twice (D3)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from mssmtp.errors import StorageFull
from mssmtp.mail import EnvelopeId
from mssmtp.smtp_record import Attempt, Recorder
from mssmtp.smtp_wire import PeerReply
from mssmtp.storage import Lease, Letter, Reading
from tests.smtp_out.test_relay import EVE, LUC, PEER, World, identities, world
from tests.smtp_out.test_relay_store import Home, home

__all__ = ["home", "identities", "world"]

UNKNOWN = PeerReply(550, "5.1.1 inconnu")
STORED = PeerReply(250, "2.0.0 stored")
LATER = PeerReply(450, "4.2.0 plus tard")


class Pauses:
    """In the place of asyncio.sleep; `then` is done at the first one."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then
        self.count = 0

    async def __call__(self, seconds: float) -> None:
        self.count += 1
        if self.count == 1:
            self.then()


def recorder(world: World, home: Home, pauses: Pauses | None = None) -> Recorder:
    settings = world.settings()
    pauses = pauses or Pauses(lambda: None)
    return Recorder(settings.operator, settings.queue, home.store, world.clock, sleep=pauses)


def lease(home: Home, worker: str) -> Lease:
    now = home.clock.now()
    return home.store.write(lambda w: w.lease(now, 10, worker)).result(10)[0]


def reports(home: Home) -> int:
    def messages(reading: Reading) -> int:
        inbox = reading.mailbox(home.zoe.id, "INBOX")
        assert inbox is not None
        return inbox.messages

    return home.store.read(messages).result(10)


def waiting(home: Home, name: EnvelopeId) -> int:
    return len(home.store.read(lambda r: r.queue_entry(name)).result(10))


async def test_a_letter_that_was_dropped_during_its_attempt_is_not_reported(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = home.queue(LUC)
    held = lease(home, "w1")
    seal = home.store.seal

    def overtaken(octets: bytes) -> Letter:
        assert home.store.write(lambda w: w.drop(name, "erreur")).result(10) == 1
        return seal(octets)

    monkeypatch.setattr(home.store, "seal", overtaken)
    await recorder(world, home).record(Attempt(held, {LUC: UNKNOWN}))
    assert reports(home) == 0


@pytest.mark.requirement("OP-80")
async def test_the_log_says_whom_to_call_when_delivery_is_late_or_in_vain(
    world: World, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Our people read it, and the sender in each report."""
    home.queue(LUC)
    settings = world.settings()
    telling = Recorder(
        settings.operator,
        settings.queue,
        home.store,
        world.clock,
        contact=lambda domain: {"support": f"support of {domain}"},
    )
    for hours, said in ((0, []), (5, ["delivery delayed"]), (1, []), (43, ["delivery given up"])):
        world.clock.advance(timedelta(hours=hours))
        caplog.clear()
        await telling.record(Attempt(lease(home, "w"), {LUC: LATER}))
        told = [r for r in caplog.records if r.getMessage().startswith("delivery ")]
        assert [record.getMessage() for record in told] == said
        assert {vars(record)["support"] for record in told} <= {f"support of {LUC.address.domain}"}

    def bodies(reading: Reading) -> list[bytes]:
        mailbox = reading.mailbox(home.zoe.id, "INBOX")
        assert mailbox is not None
        return [reading.body(mailbox.id, each.uid) for each in reading.messages(mailbox.id)]

    told_to_the_sender = home.store.read(bodies).result(10)
    assert len(told_to_the_sender) == 2
    assert all(b"support of" in octets for octets in told_to_the_sender)


async def test_two_workers_of_which_one_lost_its_lease_report_once(
    world: World, home: Home
) -> None:
    home.queue(LUC, EVE)
    first = lease(home, "w1")
    world.clock.advance(timedelta(minutes=16))
    second = lease(home, "w2")
    for held in (second, first):
        await recorder(world, home).record(Attempt(held, {LUC: UNKNOWN, EVE: LATER}))
    assert reports(home) == 1


async def test_a_failure_whose_report_cannot_be_kept_waits_for_the_store(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written without its report, the letter would be lost and nobody would know."""

    def full(octets: bytes) -> Letter:
        raise StorageFull

    name = home.queue(LUC)
    held = lease(home, "w1")
    monkeypatch.setattr(home.store, "seal", full)
    pauses = Pauses(monkeypatch.undo)
    await recorder(world, home, pauses).record(Attempt(held, {LUC: UNKNOWN}))
    assert (pauses.count, waiting(home, name), reports(home)) == (1, 0, 1)


async def test_a_failure_whose_report_can_never_be_kept_stays_in_the_queue(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(octets: bytes) -> Letter:
        raise StorageFull

    name = home.queue(LUC)
    held = lease(home, "w1")
    monkeypatch.setattr(home.store, "seal", full)
    pauses = Pauses(lambda: None)
    await recorder(world, home, pauses).record(Attempt(held, {LUC: UNKNOWN}))
    assert pauses.count > 5
    assert (waiting(home, name), reports(home)) == (1, 0)


async def test_a_queue_that_cannot_be_read_for_a_moment_does_not_end_the_relay(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay is a task of its worker: all doors would close with it (D10)."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    depth = Reading.queue_depth

    def malformed(self: Reading) -> int:
        loop.call_soon_threadsafe(asked.set)
        raise sqlite3.DatabaseError("database disk image is malformed")

    peer = world.peer()
    monkeypatch.setattr(Reading, "queue_depth", malformed)
    async with world.relaying(**{PEER: peer}) as relay:
        await asyncio.wait_for(asked.wait(), 5)
        monkeypatch.setattr(Reading, "queue_depth", depth)
        home.queue(LUC)
        relay.wake()
        await home.empty()
    assert len(peer.messages) == 1


async def test_a_delivery_is_recorded_even_when_its_worker_is_told_to_stop_meanwhile(
    world: World, home: Home
) -> None:
    """The peer has said 250: forgotten, the letter would be delivered twice and unmarked (D4)."""
    name = home.queue(LUC)
    held = lease(home, "w1")
    go = threading.Event()
    home.store.write(lambda w: go.wait(10))  # the committer is busy
    recording = asyncio.create_task(recorder(world, home).record(Attempt(held, {LUC: STORED})))
    for _ in range(5):
        await asyncio.sleep(0)
    recording.cancel()
    await asyncio.wait([recording])
    go.set()
    assert recording.cancelled()
    assert home.store.write(lambda w: len(w.queue_entry(name))).result(10) == 0
