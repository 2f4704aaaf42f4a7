"""The way out: leases what is due, delivers it to other operators, records every outcome.

Each accepted recipient is delivered, bounced or queued with a next attempt (D3); a letter is sent
twice only when the final reply of the peer was lost, and that is marked (D4).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from mssmtp import metrics
from mssmtp.config import QueueSettings, Settings
from mssmtp.errors import INTERNAL, MailError, Reply
from mssmtp.gateways import NO_GATEWAYS, Gateways
from mssmtp.log import connection_id
from mssmtp.mail import (
    Action,
    Address,
    Change,
    Domain,
    Door,
    Facts,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.outside import Clock, Entropy, Resolver
from mssmtp.own import OwnKeys
from mssmtp.own_rows import own_names
from mssmtp.pki import listed_name
from mssmtp.policy import Engine
from mssmtp.responder import Responder
from mssmtp.smtp_client import ClientSettings, Content, PeerConnection
from mssmtp.smtp_hospital import Hospitals, Whose
from mssmtp.smtp_pool import Pool, Reach
from mssmtp.smtp_record import Attempt, Recorder, next_attempt
from mssmtp.smtp_wire import FinalReplyLost, NotTransmissible, PeerFailed, PeerTakesLess, from_reply
from mssmtp.storage import Lease, Store, Writing
from mssmtp.tls_settings import ClientContext, OwnCertificate, client_context
from mssmtp.trust import PeerRefused, Trust
from mssmtp.whitelist import Whitelist

__all__ = ["Relay", "next_attempt"]

logger = logging.getLogger(__name__)

_LEASES_AT_ONCE = 100
_LEASES_HELD = 2_000
_CONNECTIONS = 200
_POLL_S = 5.0
"""Between two looks at the queue for retries and leases that have become due: what is queued, by
this or another process, wakes the relay at once."""
_TOGETHER_S = 0.02
"""Commits that follow one another so closely are looked at together."""
_LEASE_MARGIN_S = 20.0


@dataclass(slots=True)
class _Lane:
    """What waits for one operator, and how many deliveries to it are under way."""

    key: Hashable
    waiting: deque[Lease] = field(default_factory=deque)
    running: int = 0


class _Speaker:
    """Our TLS side for each certificate of ours that is in use."""

    def __init__(self, settings: Settings, keys: OwnKeys) -> None:
        self._settings, self._keys = settings, keys
        self._clients: dict[OwnCertificate, ClientSettings] = {}
        self.may_speak, self.met = keys.may_speak, keys.met
        for slot in keys.slots:
            self._client(slot.own)  # what cannot be used is said at the start

    def for_sender(self, domain: Domain | None) -> ClientSettings:
        return self._client(self._keys.for_sender(domain))

    def _client(self, own: OwnCertificate) -> ClientSettings:
        known = self._clients.get(own)
        if known is None:
            held, settings = {slot.own for slot in self._keys.slots}, self._settings
            self._clients = {each: made for each, made in self._clients.items() if each in held}
            known = self._clients[own] = ClientSettings(
                host_name=settings.operator.host_name,
                context=(
                    client_context(settings.tls, own)
                    if settings.pki.ocsp == "off"
                    else ClientContext(settings.tls, own)
                ),
                connect_timeout_s=settings.smtp_out.connect_timeout_s,
                command_timeout_s=settings.smtp_out.command_timeout_s,
                handshake_timeout_s=settings.tls.handshake_timeout_s,
                own=own,
            )
        return known


def towards_hospitals(
    settings: Settings, keys: OwnKeys, resolver: Resolver, trust: Trust, clock: Clock
) -> Whose:
    """What connections to hospitals' own servers are made of. Raises ConfigError."""
    speaker = _Speaker(settings, keys)
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
    ) -> None:
        """Raises ConfigError when the operators' certificate cannot be used.

        `keys`: the certificates of this worker; read from their files without them.
        `worker`: a name that stays the same when this worker is replaced after its death; what
        the dead one held is then tried at once instead of when its leases end.
        """
        self._store = store
        self._trust = trust
        self._engine = engine
        self._clock = clock
        self._queue: QueueSettings = settings.queue
        self._domains = frozenset(settings.operator.domains)
        self._worker = f"relay-{worker or entropy.token_bytes(6).hex()}"
        self._keys = keys or OwnKeys(settings, trust, clock)
        speaker = _Speaker(settings, self._keys)
        names = frozenset(key for text in own_names(settings) if (key := listed_name(text)))
        reach = Reach(settings.smtp_out.ports, settings.queue.idle_connection_s, names)
        self._pool = Pool(speaker, reach, resolver, trust, clock, responder)
        self._recorder = Recorder(
            settings.operator,
            settings.queue,
            store,
            clock,
            contact=trust.contact,
            moves=engine.moves,
            ways=gateways.ways,
        )
        whose = Whose(speaker, resolver, trust, clock, settings.queue.idle_connection_s)
        self._hospitals = Hospitals(gateways, whose, store)
        self._lanes: dict[Hashable, _Lane] = {}
        self._held = 0
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._started = False
        self._stopping = False
        self._stopped = asyncio.Event()
        self._is_called = False
        self._heeded: Whitelist | None = None

    # ------------------------------------------------------------ life

    async def run(self) -> None:
        """Deliver until `stop`. What is queued anywhere in the home wakes it; so does `wake`."""
        self._started = True
        loop = asyncio.get_running_loop()

        def look() -> None:
            self._is_called = False
            self._wake.set()

        def changed(changes: tuple[Change, ...]) -> None:
            # Every commit of every process: under load one look answers for many of them.
            if not self._is_called:
                self._is_called = True
                loop.call_soon_threadsafe(loop.call_later, _TOGETHER_S, look)

        unsubscribe = self._store.subscribe(changed)
        deaf = self._trust.subscribe(lambda: loop.call_soon_threadsafe(self._wake.set))
        try:
            await self._give_back(lambda w: w.take_back(self._worker))
            async with asyncio.TaskGroup() as group:
                sweepers = [
                    group.create_task(each.sweep()) for each in (self._pool, self._hospitals)
                ]
                while not self._stopping:
                    await self._heed_list()
                    await self._lease(group)
                    await self._wait()
                for sweeper in sweepers:
                    sweeper.cancel()
        finally:
            unsubscribe()
            deaf()
            await self._pool.close()
            await self._hospitals.close()
            await self._give_back(lambda w: w.release(self._worker))
            self._stopped.set()

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

    async def _give_back(self, how: Callable[[Writing], int]) -> None:
        """Every lease in this worker's name: a predecessor's that died, or our own at the end."""
        try:
            await asyncio.wrap_future(self._store.write(how))
        except MailError as error:
            logger.warning("leases not given back", extra={"kind": type(error).__name__})

    async def _wait(self) -> None:
        """Until something is queued, a place is free, or the next look at what has become due."""
        try:
            async with asyncio.timeout(_POLL_S):
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
            if not listed.lists(domain):
                return moves.leaving_until(domain, now) is None
            return before is not None and before.names(domain) != listed.names(domain)

        def job(writing: Writing) -> int:
            return writing.retry_domains(filter(concerned, writing.queue_domains()), now)

        try:
            made_due = await asyncio.wrap_future(self._store.write(job))
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

    async def _lease(self, group: asyncio.TaskGroup) -> None:
        """Take everything that is due, up to what this worker may hold."""
        self._wake.clear()
        while self._held < _LEASES_HELD and not self._stopping:
            try:
                depth = await asyncio.wrap_future(self._store.read(lambda r: r.queue_depth()))
                metrics.queue_recipients.set(depth)
                if not depth:
                    return
                leases = await asyncio.wrap_future(self._store.write(self._due))
            except MailError as error:
                logger.warning("queue not readable", extra={"kind": type(error).__name__})
                return
            except Exception:
                # Raised on, it would end this worker and every session of it (D10).
                metrics.internal_errors.labels("smtp_out").inc()
                logger.exception("queue not readable")
                return
            for lease in leases:
                self._submit(lease, group)
            if not leases:
                return

    def _due(self, writing: Writing) -> tuple[Lease, ...]:
        now = self._clock.now()
        return writing.lease(now, _LEASES_AT_ONCE, self._worker, duration=self._queue.lease)

    # ------------------------------------------------------------ lanes

    def _submit(self, lease: Lease, group: asyncio.TaskGroup) -> None:
        """Queue `lease` for its operator; a slow one fills only its own lane."""
        key = self._operator_of(lease.domain)
        lane = self._lanes.setdefault(key, _Lane(key))
        lane.waiting.append(lease)
        self._held += 1
        if lane.running < self._queue.connections_per_operator:
            lane.running += 1
            task = group.create_task(self._serve(lane))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _operator_of(self, domain: Domain) -> Hashable:
        """Domains with the same certificate names belong to one operator."""
        if (hospital := self._hospitals.lane(domain)) is not None:
            return hospital
        listed = self._trust.snapshot.whitelist
        return (listed.names(domain) if listed is not None else None) or domain

    async def _serve(self, lane: _Lane) -> None:
        try:
            while lane.waiting and not self._stopping:
                lease = lane.waiting.popleft()
                self._held -= 1
                if self._held == _LEASES_HELD // 2:
                    self._wake.set()
                await self._deliver(lease)
        finally:
            lane.running -= 1
            if not lane.running and not lane.waiting:
                self._lanes.pop(lane.key, None)

    # ------------------------------------------------------------ one delivery

    async def _deliver(self, lease: Lease) -> None:
        connection_id.set(lease.envelope.id)
        left_s = (lease.until - self._clock.now()).total_seconds() - _LEASE_MARGIN_S
        if left_s <= 0:
            # It waited too long in its lane: another worker may hold it by now.
            logger.info("lease lost", extra={"domain": lease.domain})
            return
        attempt = Attempt(lease)
        try:
            async with self._connections, asyncio.timeout(left_s):
                await self._attempt(attempt)
        except asyncio.CancelledError:
            if attempt.in_doubt:
                attempt.all_get(from_reply(FinalReplyLost.smtp))
                self._recorder.mark(attempt)
            raise
        except TimeoutError:
            attempt.all_get(from_reply((FinalReplyLost if attempt.in_doubt else PeerFailed).smtp))
        except Exception as error:
            # Our own bug must neither bounce the letter nor stop the queue (D10).
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("delivery failed", extra={"kind": type(error).__name__})
            attempt.all_get(from_reply(FinalReplyLost.smtp if attempt.in_doubt else INTERNAL))
        try:
            await self._recorder.record(attempt)
        except Exception as error:
            # The lease ends by itself and the recipients are tried again: late, never lost (D3).
            metrics.internal_errors.labels("smtp_out").inc()
            logger.exception("outcome not recorded", extra={"kind": type(error).__name__})

    async def _attempt(self, attempt: Attempt) -> None:
        """Ask the policy again, find a judged connection, hand the letter over."""
        if self._hospitals.lane(attempt.lease.domain) is not None:
            await self._hospitals.deliver(attempt)
            return
        if self._is_home(attempt.lease.domain):
            await self._hospitals.bring_home(attempt)
            return
        refused = self._refused_by_policy(attempt)
        if refused is not None:
            attempt.all_get(from_reply(refused))
            return
        sender = attempt.lease.envelope.sender
        try:
            domain = attempt.lease.domain
            connection = await self._pool.borrow(
                domain, sender.domain if sender else None, beside_us=self._leaves(domain)
            )
        except MailError as error:
            attempt.failure = error
            attempt.all_get(from_reply(error.reply))
            return
        attempt.connection = connection
        try:
            await self._hand_over(attempt, connection)
        except BaseException:
            connection.abort()
            raise
        self._pool.give_back(connection)

    async def _hand_over(self, attempt: Attempt, connection: PeerConnection) -> None:
        lease = attempt.lease
        content = self._content(lease)
        largest = connection.largest_octets
        if largest is not None and content.size_octets > largest:
            attempt.all_get(from_reply(PeerTakesLess.smtp))
            return
        try:
            sender = lease.envelope.sender
            if sender is not None and self._leaves(lease.domain) and not self._is_ours(sender):
                await self._hand_on(attempt, connection, content)
                return
            answers = await connection.send(sender, lease.recipients, content)
        except PeerFailed as error:
            attempt.failure = error
            attempt.all_get(from_reply(error.reply))
        except NotTransmissible as error:
            attempt.all_get(from_reply(error.reply))
        else:
            attempt.replies |= answers.by_recipient
            attempt.final = answers.final

    async def _hand_on(
        self, attempt: Attempt, connection: PeerConnection, content: Content
    ) -> None:
        """OP-101: mail for boxes that have left us, one letter each, from the box itself.

        The author's domain is not listed for our certificate, and the peer would have to refuse it
        (whitelist.md §6, step 8); the box's own domain is. The wishes of RFC 3461 do not go along
        with another reverse-path (5.2.7.3). Raises PeerFailed, NotTransmissible.
        """
        content = replace(content, envid=None, ret=None)
        attempt.handed_on = True
        for recipient in attempt.lease.recipients:
            bare = Recipient(recipient.address)
            answers = await connection.send(recipient.address, (bare,), content)
            attempt.replies[recipient] = answers.by_recipient[bare]
            attempt.final = answers.final

    def _is_ours(self, sender: Address) -> bool:
        return sender.domain in self._domains

    def _is_home(self, domain: Domain) -> bool:
        """Served here, and queued only because a gateway that is gone was in front of it."""
        settled = self._engine.moves.is_settled(domain, self._clock.now())
        return domain in self._domains and settled

    def _leaves(self, domain: Domain) -> bool:
        """A domain of ours whose mail is forwarded to its other operator (OP-101)."""
        until = self._engine.moves.leaving_until(domain, self._clock.now())
        return domain in self._domains and until is not None

    def _content(self, lease: Lease) -> Content:
        """The letter as the wire sees it, read from the store block by block."""
        envelope, skip = lease.envelope, lease.skip

        async def read(start: int, stop: int) -> bytes:
            return await asyncio.wrap_future(
                self._store.read(lambda r: r.letter_octets(envelope.id, skip + start, skip + stop))
            )

        return Content(lease.size_octets - skip, read, envid=envelope.envid, ret=envelope.ret)

    def _refused_by_policy(self, attempt: Attempt) -> Reply | None:
        """The list in force decides at each attempt (OP-34): a domain may have left it."""
        snapshot = self._trust.snapshot
        if snapshot.whitelist is None:
            return PeerRefused("no list").reply
        lease = attempt.lease
        for recipient in lease.recipients:
            verdict = self._engine.decide(self._facts(lease, recipient)).final
            if verdict.action in (Action.REJECT, Action.DEFER):
                return verdict.reply  # of the domain, hence of all recipients of this lease
        return None

    def _facts(self, lease: Lease, recipient: Recipient) -> Facts:
        snapshot = self._trust.snapshot
        sender = lease.envelope.sender
        return Facts(
            stage=Stage.RELAY,
            door=Door.INTERNAL,
            now=self._clock.now(),
            sender=sender,
            sender_is_local=sender is not None and sender.domain in self._domains,
            recipients=(
                RecipientFacts(
                    address=recipient.address,
                    is_local_domain=lease.domain in self._domains,
                    is_listed=snapshot.lists(lease.domain),
                    typed=recipient.typed,
                ),
            ),
            size_octets=lease.size_octets - lease.skip,
            list_date=snapshot.list_date,
            own_unlisted=self._keys.unlisted,
        )
