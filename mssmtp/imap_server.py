"""Door: IMAP on 143 (STARTTLS) and 993 (implicit TLS): sockets and threads around `imap`.

One task per connection performs the effects of `imap.conversation`. Nothing slow runs on the
loop: the store has its own threads, passwords and letters have theirs.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

from cryptography import x509

from mssmtp import metrics, processors, tls
from mssmtp.awaiting import awaited
from mssmtp.bearers import Bearers, as_of_now
from mssmtp.cloud_relays import CloudGuard
from mssmtp.config import Settings
from mssmtp.errors import MailError
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.sasl import Answer, Channel, Claim, Mechanisms
from mssmtp.identity.scram import ScramSalt
from mssmtp.imap import effects, responses
from mssmtp.imap.conversation import converse
from mssmtp.imap.deflate import BadStream, Deflate
from mssmtp.imap.effects import Effect, Woken
from mssmtp.imap.incoming import UNAVAILABLE, Ended
from mssmtp.imap.session import Session, State, Timing
from mssmtp.log import connection_id
from mssmtp.logins import Left, Logins, Peer, offered
from mssmtp.mail import BalId, Change, MailboxId, Principal
from mssmtp.outside import Clock
from mssmtp.storage import Reading, Store, deadlines
from mssmtp.tls_settings import Presenter

logger = logging.getLogger(__name__)

HIGH_WATER = 262_144
"""Octets waiting to be sent, or to be read, before that side has to wait (D11)."""
TOGETHER_OCTETS = 4_096
"""Answers shorter than this leave with what follows: each write is a TLS record and a system call,
as dear as the rest of a short command."""
STALLED_S = 300.0
"""A client that takes nothing for so long is gone."""
TURNS = 32
"""Effects without a pause: thousands of pipelined NOOPs must not stop everybody else (ATT-27)."""
_LETTER_THREADS = 4
_LONG_READS = 1
"""Of the store's reading threads (four by default) the searches of one door use no more."""

Key = tuple[BalId, MailboxId]


class _Hub:
    """Who watches which mailbox: one subscription to the store for all connections of a door."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[Key, set[_Connection]] = {}
        self._listeners: dict[BalId, set[_Connection]] = {}
        self.times_heard = 0

    def heard(self, changes: tuple[Change, ...]) -> None:
        """Called by a thread of the store, for the commits of every worker."""
        self._loop.call_soon_threadsafe(self._dispatch, changes)

    def _dispatch(self, changes: tuple[Change, ...]) -> None:
        self.times_heard += 1
        for key in {(change.bal, change.mailbox) for change in changes}:
            for connection in self._watchers.get(key, ()):
                connection.mailbox_changed()
        if self._listeners:
            for change in changes:
                for connection in self._listeners.get(change.bal, ()):
                    connection.box_changed(change)

    def move(self, connection: _Connection, old: Key | None, new: Key | None) -> None:
        """`connection` watches `new` in place of `old`."""
        if old is not None and (watchers := self._watchers.get(old)):
            watchers.discard(connection)
            if not watchers:
                del self._watchers[old]
        if new is not None:
            self._watchers.setdefault(new, set()).add(connection)

    def listen(self, connection: _Connection, old: frozenset[BalId], new: frozenset[BalId]) -> None:
        """`connection` listens to the boxes `new` in place of `old`."""
        for bal in old - new:
            self._listeners[bal].discard(connection)
            if not self._listeners[bal]:
                del self._listeners[bal]
        for bal in new - old:
            self._listeners.setdefault(bal, set()).add(connection)


class ImapDoor:
    """One listening port. `start` once, `stop` once."""

    asks_certificate = False
    """CL-16: never of persons."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        authenticator: Authenticator,
        clock: Clock,
        *,
        implicit_tls: bool = False,
        timing: Timing | None = None,
        presenter: Presenter | None = None,
        bearers: Bearers | None = None,
    ) -> None:
        """`presenter`: of the users' certificate; read from its files without one. `bearers`: who
        judges tokens, where the settings offer them.

        Raises ConfigError when it cannot be loaded.
        """
        self.settings = settings
        self.store = store
        self.authenticator = authenticator
        self.bearers = bearers
        self.clock = clock
        self.timing = timing or Timing()
        self.mechanisms = self._mechanisms()
        self.implicit_tls = implicit_tls
        self.context = tls.server_context(
            settings.tls,
            presenter or settings.tls.users,
            ask_certificate=self.asks_certificate,
        )
        self.connections: set[_Connection] = set()
        self.per_address: Counter[str] = Counter()
        self.long_reads = asyncio.Semaphore(_LONG_READS)
        self._server: asyncio.AbstractServer | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._logins = self._made_logins()
        self._letters = ThreadPoolExecutor(_LETTER_THREADS, "imap-letter", processors.roam)
        # Apart from both: neither slow hashes nor slow disks hold up who is logged in already.

    def _mechanisms(self) -> Mechanisms:
        return offered(self.settings)

    def _made_logins(self) -> Logins:
        guard = CloudGuard(self.settings.auth, self.store, self.clock)
        return Logins(self.authenticator, "imap", bearers=self.bearers, guard=guard)

    async def start(self, sock: socket.socket) -> None:
        """Listen on `sock`, bound already."""
        self.hub = _Hub(asyncio.get_running_loop())
        self._unsubscribe = self.store.subscribe(self.hub.heard)
        self._server = await tls.listen(
            sock,
            lambda: _Connection(self),
            self.context if self.implicit_tls else None,
            on_failure=_handshake_failed,
        )

    async def stop(self, grace_s: float) -> None:
        """No more connections; running commands end, then everybody hears BYE."""
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.stop()
        tasks = [connection.task for connection in self.connections]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._logins.close()
        self._letters.shutdown(wait=False, cancel_futures=True)

    def ask_again(self) -> None:
        """Rights may have ended without a change in any mailbox: who idles looks at them now."""
        for connection in self.connections:
            connection.mailbox_changed()

    # ------------------------------------------------------------ for connections

    def admits(self, address: str) -> bool:
        """False when this connection is one too many (ATT-41); generous: a hospital is one NAT."""
        limits = self.settings.limits
        return (
            len(self.connections) < limits.connections
            and self.per_address[address] < limits.connections_per_address
        )

    async def enter(self, claim: Claim, peer: Peer) -> Answer:
        """Who that is. Raises what the authenticator raises, and Ended for who has left."""
        try:
            answer = await self._logins.enter(claim, peer)
        except Left as error:
            raise Ended from error
        except MailError:
            metrics.logins.labels("imap", "refused").inc()
            raise
        if not isinstance(answer, ScramSalt):
            metrics.logins.labels("imap", "accepted").inc()
        return answer

    async def refresh(self, principal: Principal) -> Principal:
        """The principal as of now. Raises BadCredentials."""
        return await awaited(self.store.read(lambda reading: self._refreshed(reading, principal)))

    def _refreshed(self, reading: Reading, principal: Principal) -> Principal:
        return as_of_now(self.authenticator, reading, principal)

    async def off_loop(self, work: Callable[[Store], object]) -> object:
        """Run `work` in a thread for letters.

        Raises Ended when the disk holds it up (CL-79): what the thread has in hand cannot be used
        any more, and is swept when the thread comes back.
        """
        job = asyncio.get_running_loop().run_in_executor(self._letters, work, self.store)
        done, _ = await asyncio.wait({job}, timeout=deadlines.ANSWER_WITHIN_S)
        if not done:
            job.add_done_callback(_forget)
            raise Ended(UNAVAILABLE)
        return job.result()


def _is_short(effect: Effect) -> bool:
    """What was sent may wait for it: the next part of the answer comes in a moment."""
    return isinstance(effect, effects.Watch) or (
        isinstance(effect, effects.Read) and not effect.is_long
    )


def _forget(job: asyncio.Future[object]) -> None:
    """Nobody waits for it any more, nor for its failure."""
    if not job.cancelled():
        job.exception()


def _handshake_failed(reason: str) -> None:
    metrics.handshakes_failed.labels("imap").inc()
    logger.info("tls handshake failed", extra={"reason": reason})


@dataclass(slots=True)
class _Counts:
    """What the last log line of a connection tells."""

    octets_in: int = 0
    octets_out: int = 0


class _Connection(asyncio.Protocol):
    """One client: octets in, effects performed, octets out."""

    def __init__(self, door: ImapDoor) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._session = Session(
            door.settings.limits,
            door.clock,
            secure=door.implicit_tls,
            timing=door.timing,
            mechanisms=door.mechanisms,
            patient_domains=frozenset(door.settings.policy.patient_domains),
        )
        self._pending = bytearray()
        self._unsent = b""
        self._deflate: Deflate | None = None
        self._reading_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._upgraded: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wakes_on_change = False
        self._lost = False
        self._ended = False
        self._stopping = False
        self._coming = ExitStack()
        """Closed, it tells the store that no letter of this client is about to be written."""
        self._watched: Key | None = None
        self._listened: frozenset[BalId] = frozenset()
        self._unwatched_at = -1
        self._address = ""
        self._counts = _Counts()
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None]
        self._deadline = self._loop.time() + door.settings.limits.idle_prelogin_s

    # ------------------------------------------------------------ called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = not hasattr(self, "_transport")
        self._transport = cast(asyncio.Transport, transport)
        self._session.channel = Channel(tls.bindings_of(transport))
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if first:
            self._begin()
        elif self._upgraded is not None and not self._upgraded.done():
            self._upgraded.set_result(None)

    def _begin(self) -> None:
        peer = self._transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # OLC-08: routers forget silent flows; the kernel notices for us who is gone.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        metrics.connections.labels("imap").inc()
        self.task = self._loop.create_task(self._serve(self._door.admits(self._address)))
        self._door.connections.add(self)
        self._door.per_address[self._address] += 1
        metrics.open_connections.labels("imap").inc()

    def data_received(self, data: bytes) -> None:
        self._counts.octets_in += len(data)
        self._pending += data
        if len(self._pending) > HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # what was asked before is still answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._writable.set()
        if self._upgraded is not None and not self._upgraded.done():
            self._upgraded.set_exception(Ended())
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ------------------------------------------------------------ called by the door

    def mailbox_changed(self) -> None:
        """A commit touched the selected mailbox."""
        self._session.is_changed = True
        if self._wakes_on_change:
            self._wake()

    def box_changed(self, change: Change) -> None:
        """A commit touched a box that NOTIFY listens to."""
        if self._session.watching is not None:
            self._session.watching.hear(change)
            if self._wakes_on_change and self._session.has_news:
                self._wake()

    def stop(self) -> None:
        """Say BYE as soon as no command is running."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ the task

    async def _serve(self, admitted: bool) -> None:
        connection_id.set(self._door.store.new_envelope_id())
        try:
            if admitted:
                await self._converse()
            else:
                logger.warning("too many connections")
                farewell = b"Too many connections, try again later"
                self._transport.write(responses.untagged(b"BYE", farewell, b"LIMIT"))
        except Ended:
            logger.debug("connection lost")
        except Exception:
            logger.exception("imap connection failed")
            metrics.internal_errors.labels("imap").inc()
        finally:
            self._close()

    def _close(self) -> None:
        self._coming.close()
        self._watch(None)
        self._listen(frozenset())
        self._transport.close()
        door = self._door
        door.connections.discard(self)
        door.per_address[self._address] -= 1
        if not door.per_address[self._address]:
            del door.per_address[self._address]
        metrics.open_connections.labels("imap").dec()
        who = self._session.principal_or_none
        logger.info(
            "imap connection closed",
            extra={
                "account": who.account if who else None,
                "octets_in": self._counts.octets_in,
                "octets_out": self._counts.octets_out,
            },
        )

    async def _converse(self) -> None:
        """Perform effect after effect; a failure goes back to the generator that asked."""
        steps = converse(self._session)
        turns = 0
        try:
            effect = next(steps)
            while True:
                turns += 1
                if turns % TURNS == 0:
                    await asyncio.sleep(0)
                try:
                    await self._perform(effect)
                except Exception as error:
                    effect = steps.throw(error)
                else:
                    effect = next(steps)
        except StopIteration:
            await self._flush()
        finally:
            steps.close()

    async def _perform(self, effect: Effect) -> None:
        if isinstance(effect, effects.Send):
            self._unsent += effect.octets
            if len(self._unsent) >= TOGETHER_OCTETS:
                await self._flush()
            return
        if isinstance(effect, effects.Note):
            await self._note(effect)
            return
        if self._unsent and not _is_short(effect):
            await self._flush()
        match effect:
            case effects.Wait():
                self._coming.close()  # a group waits for no client
                effect.answer(await self._wait(effect))
            case effects.Read(is_long=True):
                async with self._door.long_reads:
                    found = await awaited(self._door.store.read(effect.query))
                effect.answer(found)
            case effects.Read():
                effect.answer(await awaited(self._door.store.read(effect.query)))
            case effects.Write():
                with self._coming.pop_all():
                    written = self._door.store.write(effect.job, octets=effect.octets)
                    effect.answer(await awaited(written))
            case effects.OffLoop():
                if effect.for_commit:
                    self._coming.close()  # one at a time
                    self._coming.enter_context(self._door.store.coming())
                if effect.is_little:
                    effect.answer(effect.work(self._door.store))
                else:
                    effect.answer(await self._door.off_loop(effect.work))
            case _:
                await self._perform_rare(effect)

    def _peer(self) -> Peer:
        chain = self._transport.get_extra_info("peer_chain") or ()
        presented = cast("tuple[x509.Certificate, ...]", chain)
        return Peer(self._address, lambda: self._lost, presented, self._session.client)

    async def _note(self, note: effects.Note) -> None:
        store = self._door.store
        who, now = (note.account, note.mailbox), self._door.clock.now()
        if not store.noted.add(*who, note.uids, note.kind, now):
            return
        try:
            await awaited(store.write(lambda writing: writing.record_readings()))
        except MailError as error:  # a full disk must not keep mail from being read
            logger.warning("readings not written", extra={"code": error.imap})

    async def _perform_rare(self, effect: Effect) -> None:
        match effect:
            case effects.Watch():
                self._watch(effect.mailbox)
            case effects.Listen():
                self._listen(effect.bals)
            case effects.Authenticate():
                effect.answer(await self._door.enter(effect.claim, self._peer()))
            case effects.Refresh():
                effect.answer(await self._door.refresh(effect.principal))
            case effects.Pause():
                await self._pause(effect.seconds)
            case effects.StartTls():
                await self._start_tls(effect.reply)
            case effects.Compress():
                self._compress(effect.reply)
            case _:
                raise TypeError(type(effect).__name__)

    async def _flush(self) -> None:
        if not self._unsent:
            return
        if self._lost:
            raise Ended
        octets, self._unsent = self._unsent, b""
        if self._deflate is not None:
            octets = self._deflate.packed(octets)
        self._counts.octets_out += len(octets)
        self._transport.write(octets)
        if not self._writable.is_set():
            await _in_time(self._writable.wait(), self._transport)
            if self._lost:
                raise Ended

    async def _wait(self, wanted: effects.Wait) -> bytes | Woken:
        until = self._loop.time() + wanted.timeout_s
        if self._session.state is State.NOT_AUTHENTICATED:
            until = min(until, self._deadline)  # the whole time before login, not per octet
        self._wakes_on_change = wanted.changes
        while True:
            if self._pending or (self._deflate and self._deflate.holds_more):
                if octets := self._take():
                    return octets
                continue
            if self._lost or self._ended:
                return Woken.CLOSED
            if self._stopping:
                return Woken.STOPPING
            if wanted.changes and self._session.has_news:
                return Woken.CHANGED
            if self._loop.time() >= until:
                return Woken.TIMEOUT
            await self._until_woken(until)

    async def _until_woken(self, until: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _take(self) -> bytes:
        octets = bytes(self._pending)
        self._pending.clear()
        if self._deflate is not None:
            try:
                octets, rest = self._deflate.unpacked(octets)
            except BadStream as error:
                raise Ended(responses.untagged(b"BYE", b"Not DEFLATE", b"CLIENTBUG")) from error
            self._pending += rest
        if self._reading_paused and len(self._pending) <= HIGH_WATER:
            self._reading_paused = False
            self._transport.resume_reading()
        return octets

    def _watch(self, mailbox: Key | None) -> None:
        hub = self._door.hub
        hub.move(self, self._watched, mailbox)
        self._watched = mailbox
        if mailbox is None:
            self._unwatched_at = hub.times_heard
        elif hub.times_heard != self._unwatched_at:
            self._session.is_changed = True

    def _listen(self, bals: frozenset[BalId]) -> None:
        self._door.hub.listen(self, self._listened, bals)
        self._listened = bals

    async def _pause(self, seconds: float) -> None:
        until = self._loop.time() + seconds
        while not (self._lost or self._stopping) and self._loop.time() < until:
            await self._until_woken(until)

    def _compress(self, reply: bytes) -> None:
        if self._pending or self._lost:
            raise Ended(responses.untagged(b"BYE", b"Nothing may follow COMPRESS"))
        self._transport.write(reply)
        self._deflate = Deflate()

    async def _start_tls(self, reply: bytes) -> None:
        if self._pending or self._lost:
            # ATT-02: what came in clear behind STARTTLS is never executed, not even later.
            raise Ended(responses.untagged(b"BYE", b"Nothing may follow STARTTLS"))
        self._transport.pause_reading()
        self._transport.write(reply)
        self._upgraded = self._loop.create_future()
        tls.start_tls(
            self._transport,
            self,
            self._door.context,
            handshake_timeout_s=self._door.settings.tls.handshake_timeout_s,
            on_failure=_handshake_failed,
        )
        await self._upgraded


async def _in_time(progress: Awaitable[object], transport: asyncio.Transport) -> None:
    try:
        async with asyncio.timeout(STALLED_S):
            await progress
    except TimeoutError as error:
        transport.abort()
        raise Ended from error
