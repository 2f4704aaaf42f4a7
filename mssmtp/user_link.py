"""One connection of a mail program, by IMAP or ManageSieve: what both doors have of sockets.

Octets in and out with their bounds, being woken, TLS behind STARTTLS, an orderly stop, and an end
that is always counted and logged. What is said in it is the protocol's (`imap_server`,
`managesieve`). SMTP's is apart (`smtp_link`): its replies leave in batches, and one timer watches
how fast a letter comes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

from cryptography import x509

from mssmtp import metrics, tls
from mssmtp.config import Settings
from mssmtp.errors import Ended, MailError
from mssmtp.identity.sasl import Answer, Channel, Claim
from mssmtp.identity.scram import ScramSalt
from mssmtp.log import connection_id
from mssmtp.logins import Left, Logins, Peer
from mssmtp.mail import AccountId, counted_as
from mssmtp.storage import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manners:
    """What one protocol has of its own. `room` is its name in metrics, `name` in the log."""

    room: str
    name: str
    high_water: int
    """Octets waiting to be sent, or to be read, before that side has to wait (D11)."""
    stalled_s: float
    """A client that takes nothing for so long is gone."""
    crowded: bytes
    """Said to one connection too many."""
    broken: bytes = b""
    """Said after a bug of ours, where a last word can be told from what came before it."""


class UserDoor:
    """One listening port. `start` once, `stop` once."""

    manners: ClassVar[Manners]
    logins: Logins

    def __init__(self, settings: Settings, store: Store, context: tls.ServerContext) -> None:
        self.settings = settings
        self.store = store
        self.context = context
        self.connections: set[UserLink] = set()
        self._per_address: Counter[str] = Counter()
        self._server: asyncio.AbstractServer | None = None
        self._counted = metrics.connections.labels(self.manners.room)
        self._open = metrics.open_connections.labels(self.manners.room)

    async def listen(
        self, sock: socket.socket, link: Callable[[], UserLink], *, implicit_tls: bool
    ) -> None:
        """Serve who connects to `sock`, bound already."""
        context = self.context if implicit_tls else None
        self._server = await tls.listen(sock, link, context, on_failure=self.handshake_failed)

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
        self.logins.close()

    def ask_again(self) -> None:
        """Rights may have ended without a change in any mailbox: who waits looks at them now."""
        for connection in self.connections:
            connection.ask_again()

    # ------------------------------------------------------------ for connections

    def admit(self, connection: UserLink) -> bool:
        """Count it. False when it is one too many (ATT-41); generous: a hospital is one NAT."""
        limits, peer = self.settings.limits, counted_as(connection.address)
        admitted = (
            len(self.connections) < limits.connections
            and self._per_address[peer] < limits.connections_per_address
        )
        self.connections.add(connection)
        self._per_address[peer] += 1
        self._counted.inc()
        self._open.inc()
        return admitted

    def release(self, connection: UserLink) -> None:
        """It is over."""
        self.connections.discard(connection)
        peer = counted_as(connection.address)
        self._per_address[peer] -= 1
        if not self._per_address[peer]:
            del self._per_address[peer]
        self._open.dec()

    async def enter(self, claim: Claim, peer: Peer) -> Answer:
        """Who that is. Raises what the logins raise, and Ended for who has left."""
        try:
            answer = await self.logins.enter(claim, peer)
        except Left as error:
            raise Ended from error
        except MailError:
            metrics.logins.labels(self.manners.room, "refused").inc()
            raise
        if not isinstance(answer, ScramSalt):
            metrics.logins.labels(self.manners.room, "accepted").inc()
        return answer

    def handshake_failed(self, reason: str) -> None:
        """Count and log it."""
        metrics.handshakes_failed.labels(self.manners.room).inc()
        logger.info("tls handshake failed", extra={"reason": reason})


class UserLink(asyncio.Protocol):
    """One client: what arrives is in `_pending` until it is taken, what is said waits for who reads
    slowly. One task converses."""

    def __init__(self, door: UserDoor) -> None:
        self._door = door
        self._manners = door.manners
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + door.settings.limits.idle_prelogin_s
        self._pending = bytearray()
        self._enough = 1
        """Octets it is worth waking for; less than what may be pending (`high_water`)."""
        self._reading_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._upgraded: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost = self._ended = self._stopping = False
        self._octets_in = self._octets_out = 0
        self._transport: asyncio.Transport
        self.address = ""
        self.task: asyncio.Task[None]

    # ------------------------------------------------------------ what a protocol adds

    async def _converse(self) -> None:
        """All of the conversation. Raises Ended, with what is said last."""
        raise NotImplementedError

    def _reached(self, channel: Channel) -> None:
        """The connection is made, or made anew inside TLS: what a login on it can be bound to."""
        raise NotImplementedError

    def _account(self) -> AccountId | None:
        """Who has logged in."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """The conversation is over: let go of what it held."""

    def _packed(self, octets: bytes) -> bytes:
        """As they go on the wire."""
        return octets

    # ------------------------------------------------------------ called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called for the raw transport and, after STARTTLS, once more for TLS on it."""
        is_first = not hasattr(self, "_transport")
        self._transport = cast(asyncio.Transport, transport)
        self._reached(Channel(tls.bindings_of(transport)))
        self._transport.set_write_buffer_limits(high=self._manners.high_water)
        if is_first:
            self._begin()
        elif self._upgraded is not None and not self._upgraded.done():
            self._upgraded.set_result(None)

    def _begin(self) -> None:
        peer = self._transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # OLC-08: routers forget silent flows; the kernel notices for us who is gone.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.task = self._loop.create_task(self._serve(admitted=self._door.admit(self)))

    def data_received(self, data: bytes) -> None:
        self._octets_in += len(data)
        self._pending += data
        if len(self._pending) > self._manners.high_water and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        if len(self._pending) >= self._enough:
            self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # what was asked before is still answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self._lost = True
        self._writable.set()
        if self._upgraded is not None and not self._upgraded.done():
            self._upgraded.set_exception(Ended())
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # ------------------------------------------------------------ called by the door

    def stop(self) -> None:
        """Say BYE as soon as no command is running."""
        self._stopping = True
        self._wake()

    def ask_again(self) -> None:
        """Look at the rights of now, soon."""
        self._wake()

    # ------------------------------------------------------------ the task

    async def _serve(self, *, admitted: bool) -> None:
        connection_id.set(self._door.store.new_envelope_id())
        try:
            if admitted:
                await self._converse()
            else:
                logger.warning("too many connections")
                self._say_last(self._manners.crowded)
        except Ended as end:
            self._say_last(end.farewell)
        except Exception:
            logger.exception("%s connection failed", self._manners.name)
            metrics.internal_errors.labels(self._manners.room).inc()
            self._say_last(self._manners.broken)
        finally:
            self._close()

    def _close(self) -> None:
        self._let_go()
        self._transport.close()
        self._door.release(self)
        told = {
            "account": self._account(),
            "octets_in": self._octets_in,
            "octets_out": self._octets_out,
        }
        logger.info("%s connection closed", self._manners.name, extra=told)

    # ------------------------------------------------------------ for the conversation

    def _peer(self, client: str = "") -> Peer:
        """Who asks to enter; `client` is what it calls itself."""
        chain = self._transport.get_extra_info("peer_chain") or ()
        presented = cast("tuple[x509.Certificate, ...]", chain)
        return Peer(self.address, lambda: self._lost, presented, client)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _until_woken(self, until: float) -> None:
        """Octets, an end, a stop, news, or that time of the loop."""
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def _pause(self, seconds: float) -> None:
        """Nobody else waits (ATT-14); who leaves is not waited for."""
        until = self._loop.time() + seconds
        while not (self._lost or self._stopping) and self._loop.time() < until:
            await self._until_woken(until)

    def _take(self) -> bytes:
        """What has arrived."""
        octets = bytes(self._pending)
        self._pending.clear()
        self._read_on()
        return octets

    def _read_on(self) -> None:
        if self._reading_paused and len(self._pending) <= self._manners.high_water:
            self._reading_paused = False
            self._transport.resume_reading()

    async def _say(self, octets: bytes) -> None:
        """Send it. Raises Ended for who has left, or takes nothing."""
        if self._lost:
            raise Ended
        octets = self._packed(octets)
        self._octets_out += len(octets)
        self._transport.write(octets)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(self._manners.stalled_s):
                await self._writable.wait()
        except TimeoutError as error:
            self._transport.abort()
            raise Ended from error
        if self._lost:
            raise Ended

    def _say_last(self, octets: bytes) -> None:
        if octets and not self._lost:
            self._transport.write(self._packed(octets))

    async def _upgrade(self, go_ahead: bytes, objection: bytes) -> None:
        """STARTTLS: TLS on this connection from here on. Raises Ended."""
        if self._pending or self._lost:
            # ATT-02: what came in clear behind STARTTLS is never executed, not even later.
            raise Ended(objection)
        self._transport.pause_reading()
        self._transport.write(go_ahead)
        self._upgraded = self._loop.create_future()
        tls.start_tls(
            self._transport,
            self,
            self._door.context,
            handshake_timeout_s=self._door.settings.tls.handshake_timeout_s,
            on_failure=self._door.handshake_failed,
        )
        await self._upgraded
