"""The way out: leases what is due, delivers it to other operators, records every outcome.

Each accepted recipient is delivered, bounced or queued with a next attempt (D3); a letter is sent
twice only when the final reply of the peer was lost, and that is marked (D4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from mssmtp import metrics
from mssmtp.awaiting import awaited
from mssmtp.config import QueueSettings, Settings
from mssmtp.errors import INTERNAL, MailError
from mssmtp.gateways import NO_GATEWAYS, Gateways
from mssmtp.log import connection_id
from mssmtp.mail import (
    Change,
    Domain,
)
from mssmtp.outside import Clock, Entropy, Resolver
from mssmtp.own import OwnKeys
from mssmtp.own_rows import own_names
from mssmtp.pki import listed_name
from mssmtp.policy import Engine
from mssmtp.responder import Responder
from mssmtp.smtp_delivering import CopyNotKept, Delivering
from mssmtp.smtp_hospital import Hospitals, React, Whose, plainly
from mssmtp.smtp_lanes import Lanes
from mssmtp.smtp_leaving import Leaving
from mssmtp.smtp_letters import Letters
from mssmtp.smtp_pool import Pool, Reach
from mssmtp.smtp_record import Attempt, Recorder, next_attempt
from mssmtp.smtp_routes import Routed
from mssmtp.smtp_speaker import OwnSpeaker
from mssmtp.smtp_wire import (
    FinalReplyLost,
    PeerFailed,
    PeerReply,
    from_reply,
)
from mssmtp.storage import (
    Handed,
    Lease,
    QueuePlace,
    RelayJournal,
    Store,
    Want,
    Writing,
)
from mssmtp.trust import Trust
from mssmtp.whitelist import Whitelist

__all__ = ["Relay", "next_attempt"]

logger = logging.getLogger(__name__)

_LEASES_AT_ONCE = 200
_CONNECTIONS = 200
_POLL_S = 5.0
"""Between two looks at the queue for retries and leases that have become due: what is queued, by
this or another process, wakes the relay at once."""
_TOGETHER_S = 0.02
"""Commits that follow one another so closely are looked at together."""
_TAKEN = PeerReply(250, "2.0.0 taken by the peer before the worker ended")
_LEASE_MARGIN_S = 20.0


def towards_hospitals(
    settings: Settings, keys: OwnKeys, resolver: Resolver, trust: Trust, clock: Clock
) -> Whose:
    """What connections to hospitals' own servers are made of. Raises ConfigError."""
    speaker = OwnSpeaker(settings, keys)
    return Whose(speaker, resolver, trust, clock, settings.queue.idle_connection_s)


class Relay:
    """The outbound door of one worker. `run` once; `wake` and `stop` from the same event loop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        trust: Trust,
        engine: Engine,
        resolver: Resolver,
        clock: Clock,
        entropy: Entropy,
        *,
        worker: str | None = None,
        keys: OwnKeys | None = None,
        responder: Responder | None = None,
        gateways: Gateways = NO_GATEWAYS,
        react: React = plainly,
    ) -> None:
        """Raises ConfigError when the operators' certificate cannot be used.

        `keys`: the certificates of this worker; read from their files without them.
        `worker`: a name that stays the same when this worker is replaced after its death; what
        the dead one held is then tried at once instead of when its leases end.
        `react`: what boxes here do by themselves with a letter that comes into them late.
        """
        self._store = store
        self._trust = trust
        self._engine = engine
        self._clock = clock
        self._queue: QueueSettings = settings.queue
        self._worker = f"relay-{worker or entropy.token_bytes(6).hex()}"
        self._keys = keys or OwnKeys(settings, trust, clock)
        self._leaving = Leaving(
            settings.operator.domains, engine, trust, store, clock, lambda: self._keys.unlisted
        )
        speaker = OwnSpeaker(settings, self._keys)
        names = frozenset(key for text in own_names(settings) if (key := listed_name(text)))
        reach = Reach(settings.smtp_out.ports, settings.queue.idle_connection_s, names)
        routed = Routed(resolver, engine.hosts)
        self._pool = Pool(speaker, reach, routed, trust, clock, responder)
        queue, contact, ways = settings.queue, trust.contact, gateways.ways
        self._recorder = Recorder(
            settings.operator, queue, store, clock, contact=contact, moves=engine.moves, ways=ways
        )
        whose = Whose(speaker, resolver, trust, clock, settings.queue.idle_connection_s)
        self._hospitals = Hospitals(gateways, whose, store, react)
        self._lanes = Lanes(settings.queue.connections_per_operator, _CONNECTIONS)
        self._journal = RelayJournal(settings.store.home / "run" / f"{self._worker}.journal")
        letters = Letters(store, self._journal, clock)
        self._delivering = Delivering(
            self._leaving, self._hospitals, self._pool, self._lanes, letters, self._journal, clock
        )
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._started = self._stopping = False
        self._stopped = asyncio.Event()
        self._is_called = self._is_starting = False
        self._heeded: Whitelist | None = None
        self._kept_house_at = float("-inf")
        self._clock_was = datetime.max.replace(tzinfo=UTC)

    # ------------------------------------------------------------ life

    async def run(self) -> None:
        """Deliver until `stop`. What is queued anywhere in the home wakes it; so does `wake`."""
        self._started = True
        loop = asyncio.get_running_loop()

        def look() -> None:
            self._is_called = False
            self._wake.set()

        def changed(changes: tuple[Change, ...]) -> None:
            # What becomes due in any process: under load one look answers for many commits.
            if not changes and not self._is_called:
                self._is_called = True
                loop.call_soon_threadsafe(loop.call_later, _TOGETHER_S, look)

        unsubscribe = self._store.subscribe(changed, lambda: False)
        deaf = self._trust.subscribe(lambda: loop.call_soon_threadsafe(self._wake.set))
        left = self._journal.left()
        try:
            await self._tell_of_taken(left or {})
            if await self._give_back(lambda w: w.take_back(self._worker, left)):
                self._journal.begin()
            async with asyncio.TaskGroup() as group:
                sweepers = [
                    group.create_task(each.sweep()) for each in (self._pool, self._hospitals)
                ]
                while not self._stopping:
                    await self._heed_list()
                    await self._wait(await self._look(group))
                for sweeper in sweepers:
                    sweeper.cancel()
        finally:
            unsubscribe()
            deaf()
            await self._pool.close()
            await self._hospitals.close()
            self._recorder.hurry()
            # Cut short at the end: what a peer took before must not go out again (D4).
            left = self._journal.unsettled
            await self._tell_of_taken(left)
            if await self._give_back(lambda w: w.take_back(self._worker, left)):
                self._journal.end()
            self._stopped.set()

    async def _tell_of_taken(self, left: Mapping[QueuePlace, Handed]) -> None:
        """A predecessor died between a peer's 250 and its record: senders who asked hear of it."""
        until = self._clock.now() + self._queue.lease
        try:
            leases = await awaited(
                self._store.write(lambda w: w.taken_over(self._worker, left, until))
            )
            for lease in leases:
                attempt = Attempt(lease)
                attempt.all_get(_TAKEN)
                await self._recorder.record(attempt)
        except MailError as error:
            logger.warning("taken letters not told of", extra={"kind": type(error).__name__})

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    async def stop(self, grace_s: float) -> None:
        """Finish the deliveries under way within `grace_s`; give every lease back."""
        self._stopping = True
        self._wake.set()
        if not self._started:
            return
        try:
            async with asyncio.timeout(grace_s):
                await self._stopped.wait()
        except TimeoutError:
            for task in self._running:
                task.cancel()
            await self._stopped.wait()

    async def _give_back(self, how: Callable[[Writing], int]) -> bool:
        """Every lease in this worker's name: a predecessor's that died, or our own at the end."""
        try:
            await awaited(self._store.write(how))
        except MailError as error:
            logger.warning("leases not given back", extra={"kind": type(error).__name__})
            return False
        return True

    async def _wait(self, within_s: float) -> None:
        """Until something is queued, there is room, or the next look at what has become due."""
        try:
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _heed_list(self) -> None:
        """OP-34: a new list is felt at once by what waits. A domain that has left it comes back
        with the cause, one with other names is tried; what an announced move holds is left."""
        listed, before = self._trust.snapshot.whitelist, self._heeded
        if listed is None or listed is before:
            return
        now, moves = self._clock.now(), self._engine.moves

        def concerned(domain: Domain) -> bool:
            if self._leaving.is_home(domain):  # its gateway was undone before this worker began
                return before is None and self._hospitals.lane(domain) is None
            if not listed.lists(domain):
                return moves.leaving_until(domain, now) is None
            return before is not None and before.names(domain) != listed.names(domain)

        def job(writing: Writing) -> int:
            return writing.retry_domains(filter(concerned, writing.queue_domains()), now)

        try:
            made_due = await awaited(self._store.write(job))
        except MailError as error:
            logger.warning("queue not readable", extra={"kind": type(error).__name__})
            return  # asked again at the next look
        except Exception:
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("new list not heeded")
            return
        self._heeded = listed
        if made_due:
            logger.info("new list: tried at once", extra={"recipients": made_due})

    # ------------------------------------------------------------ lanes

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Lease what is due as far as there is room for it; seconds until the next look."""
        self._wake.clear()
        try:
            await self._housekeeping()
            while not self._stopping:
                due = await awaited(self._store.read(lambda r: r.queue_due()))
                now, at = self._clock.now(), self._clock.monotonic()
                wants = self._lanes.wants(due, now, at)
                if not await self._take(wants, group):
                    return min(_POLL_S, max(0.0, self._lanes.next_look(due, now, at)))
        except MailError as error:
            logger.warning("queue not readable", extra={"kind": type(error).__name__})
        except Exception:
            # Raised on, it would end this worker and every session of it (D10).
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("queue not readable")
        return _POLL_S

    async def _housekeeping(self) -> None:
        """Every few seconds: how much waits, whether the clock was put back, which leases run out
        before their turn."""
        at = self._clock.monotonic()
        if at < self._kept_house_at + _POLL_S:
            return
        self._kept_house_at = at
        metrics.queue_recipients.set(await awaited(self._store.read(lambda r: r.queue_depth())))
        now = self._clock.now()
        self._lanes.forget_idle(at)
        late = self._lanes.take_out(now + 2 * timedelta(seconds=_LEASE_MARGIN_S))
        worker, duration = self._worker, self._queue.lease

        def job(writing: Writing) -> int:
            return writing.heed_clock(now, duration) + writing.give_back(late, worker)

        if late or now < self._clock_was:
            await awaited(self._store.write(job))
        self._clock_was = now

    async def _take(self, wants: Sequence[Want], group: asyncio.TaskGroup) -> bool:
        """Lease what is wanted, a bounded number in one commit; whether there was anything."""
        found = False
        for some in _portions(wants):
            leases = await awaited(self._store.write(self._lease(some)))
            for lease in leases:
                self._lanes.add(lease, self._operator_of(lease.domain))
            self._start(group)
            found = found or bool(leases)
            if self._stopping:
                return False
        return found

    def _lease(self, wants: list[Want]) -> Callable[[Writing], tuple[Lease, ...]]:
        now, worker, duration = self._clock.now(), self._worker, self._queue.lease
        return lambda writing: writing.lease_for(now, wants, worker, duration=duration)

    def _start(self, group: asyncio.TaskGroup) -> None:
        """Deliver whatever there is room for."""
        self._is_starting = False
        if self._stopping:
            return
        for lease in self._lanes.start():
            task = group.create_task(self._deliver_one(lease, group))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _deliver_one(self, lease: Lease, group: asyncio.TaskGroup) -> None:
        connection_id.set(lease.envelope.id)
        try:
            attempt = await self._tried(lease)
        finally:
            road = self._lanes.road(lease.domain)
            lane = self._lanes.done(lease)
            if 2 * road.recipients <= road.ahead:
                self._wake.set()
            self._start_soon(group)
        # The connection is another letter's by now: no peer waits for our disk.
        try:
            if attempt is not None:
                await self._record(attempt)
        finally:
            self._lanes.recorded(lane)
            self._start_soon(group)

    def _start_soon(self, group: asyncio.TaskGroup) -> None:
        if not self._is_starting:
            self._is_starting = True  # once for all that end in this round of the loop
            asyncio.get_running_loop().call_soon(self._start, group)

    def _operator_of(self, domain: Domain) -> Hashable:
        """Domains with the same certificate names belong to one operator."""
        if (hospital := self._hospitals.lane(domain)) is not None:
            return hospital
        listed = self._trust.snapshot.whitelist
        return (listed.names(domain) if listed is not None else None) or domain

    # ------------------------------------------------------------ one delivery

    async def _tried(self, lease: Lease) -> Attempt | None:
        """What became of it, to be recorded; None: nothing that is ours to say."""
        left_s = (lease.until - self._clock.now()).total_seconds() - _LEASE_MARGIN_S
        if left_s <= 0:
            # It waited too long in its lane: another worker may hold it by now.
            logger.info("lease lost", extra={"domain": lease.domain})
            return None
        attempt = Attempt(lease)
        try:
            async with asyncio.timeout(left_s):
                await self._delivering.run(attempt)
        except asyncio.CancelledError:
            # With a copy for a box here nothing is marked: the journal leaves it at its first try.
            if attempt.in_doubt and attempt.brought_home is None:
                attempt.all_get(from_reply(FinalReplyLost.smtp))
                self._recorder.mark(attempt)
            raise
        except TimeoutError:
            attempt.all_get(from_reply((FinalReplyLost if attempt.in_doubt else PeerFailed).smtp))
        except CopyNotKept:
            return None  # the lease ends by itself, and this is the first try still
        except Exception as error:
            # Our own bug must neither bounce the letter nor stop the queue (D10).
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("delivery failed", extra={"kind": type(error).__name__})
            attempt.all_get(from_reply(FinalReplyLost.smtp if attempt.in_doubt else INTERNAL))
        return attempt

    async def _record(self, attempt: Attempt) -> None:
        lease = attempt.lease
        try:
            await self._recorder.record(attempt)
        except Exception as error:
            # The lease ends by itself and the recipients are tried again: late, never lost (D3).
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("outcome not recorded", extra={"kind": type(error).__name__})
        else:
            self._journal.settled(lease.envelope.id, lease.positions)


def _portions(wants: Sequence[Want]) -> Iterator[list[Want]]:
    """So many at once as one commit may well lease: others write too."""
    portion: list[Want] = []
    size = 0
    for want in wants:
        portion.append(want)
        size += want.most
        if size >= _LEASES_AT_ONCE:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
