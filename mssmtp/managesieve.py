"""Door: ManageSieve on 4190 (RFC 5804), STARTTLS: sockets, time and logins around its session."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import TypeVar, cast

from mssmtp import metrics, tls
from mssmtp.awaiting import awaited
from mssmtp.bearers import as_of_now
from mssmtp.config import Settings
from mssmtp.errors import MailError
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.refusals import BadCredentials, BadExchange
from mssmtp.identity.sasl import Answer, Channel, Claim, Exchange, announced
from mssmtp.identity.scram import ScramSalt
from mssmtp.identity.standing import is_over
from mssmtp.log import connection_id
from mssmtp.logins import Bearers, Left, Logins, Peer, offered
from mssmtp.mail import Principal
from mssmtp.managesieve_session import Ended, Session
from mssmtp.sieve.wire import BadCommand, Broken, Framer, TooLarge, Word, answer, string
from mssmtp.storage import Reading, Store, Writing
from mssmtp.tls_settings import Presenter

logger = logging.getLogger(__name__)
T = TypeVar("T")

HIGH_WATER = 131_072
"""Octets waiting, to be sent or to be used, before that side has to wait."""
STALLED_S = 60.0
"""A client that takes nothing for so long is gone."""
IDLE_S = 1_800.0
"""Silence after login (RFC 5804 1.2 asks for half an hour)."""
MAX_ERRORS = 20
"""Commands in a row that are none."""
_ROOM = "sieve"


class SieveDoor:
    """One listening port. `start` once, `stop` once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        authenticator: Authenticator,
        *,
        presenter: Presenter | None = None,
        bearers: Bearers | None = None,
    ) -> None:
        """`presenter`: of the users' certificate; read from its files without one.

        Raises ConfigError when it cannot be loaded.
        """
        self.settings, self.store, self.authenticator = settings, store, authenticator
        self.mechanisms = offered(settings)
        self.context = tls.server_context(
            settings.tls, presenter or settings.tls.users, ask_certificate=False
        )
        self.logins = Logins(authenticator, _ROOM, bearers=bearers)
        self.connections: set[_Connection] = set()
        self.per_address: Counter[str] = Counter()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen on `sock`, bound already."""
        self._server = await tls.listen(sock, lambda: _Connection(self), None)

    async def stop(self, grace_s: float) -> None:
        """No more connections; running commands end, then everybody hears BYE."""
        if self._server is not None:
            self._server.close()
        tasks = [connection.stop() for connection in self.connections]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self.logins.close()

    def admits(self, address: str) -> bool:
        """False when this connection is one too many (ATT-41)."""
        limits = self.settings.limits
        return (
            len(self.connections) < limits.connections
            and self.per_address[address] < limits.connections_per_address
        )


class _Connection(asyncio.Protocol):
    """One client; the `Peer` of its session."""

    def __init__(self, door: SieveDoor) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._framer = Framer()
        self._session = Session(self)
        self._channel = Channel()
        self._waiter: asyncio.Future[None] | None = None
        self._upgraded: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading_paused = self._ended = self._lost = self._stopping = False
        self._deadline = self._loop.time() + door.settings.limits.idle_prelogin_s
        self._address = ""
        self._logged_in_at = 0.0
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]
        self.is_secure = False
        self.wrong_passwords = door.settings.limits.wrong_passwords

    # ------------------------------------------------------------ called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = not hasattr(self, "_transport")
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if first:
            peer = transport.get_extra_info("peername")
            self._address = peer[0] if isinstance(peer, tuple) else ""
            self._task = self._loop.create_task(self._serve(self._door.admits(self._address)))
            self._door.connections.add(self)
            self._door.per_address[self._address] += 1
            metrics.connections.labels(_ROOM).inc()
            metrics.open_connections.labels(_ROOM).inc()
        elif self._upgraded is not None and not self._upgraded.done():
            self._channel = Channel(tls.bindings_of(transport))
            self.is_secure = True
            self._upgraded.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._framer.feed(data)
        if self._framer.buffered > HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
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

    def stop(self) -> asyncio.Task[None]:
        """Say BYE as soon as no command is running."""
        self._stopping = True
        self._wake()
        return self._task

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
                self._transport.write(answer("BYE", "Trop de connexions ; réessayez.", "TRYLATER"))
        except Ended as ended:
            if not self._lost:
                self._transport.write(ended.last)
        except Exception:
            logger.exception("managesieve connection failed")
            metrics.internal_errors.labels(_ROOM).inc()
            if not self._lost:
                self._transport.write(answer("BYE", "Erreur interne.", "TRYLATER"))
        finally:
            self._close()

    def _close(self) -> None:
        self._transport.close()
        door = self._door
        door.connections.discard(self)
        door.per_address[self._address] -= 1
        if not door.per_address[self._address]:
            del door.per_address[self._address]
        metrics.open_connections.labels(_ROOM).dec()
        who = self._session.principal
        logger.info(
            "managesieve connection closed", extra={"account": who.account if who else None}
        )

    async def _converse(self) -> None:
        await self._say(self._session.greeting())
        errors = 0
        while True:
            try:
                words = await self._next()
            except BadCommand:
                errors += 1
                if errors >= MAX_ERRORS:
                    raise Ended(answer("BYE", "Trop de commandes mal formées.")) from None
                await self._say(answer("NO", "Commande mal formée."))
            except TooLarge:
                await self._say(answer("NO", "Texte trop long.", "QUOTA/MAXSIZE"))
            else:
                if words:
                    errors = 0
                    await self._say(await self._session.obey(words))

    async def _next(self) -> list[Word]:
        """The next command. Raises BadCommand, TooLarge, Ended."""
        while True:
            if self._stopping:
                raise Ended(answer("BYE", "Le service s'arrête ; reconnectez-vous.", "TRYLATER"))
            try:
                words = self._framer.next()
            except Broken:
                raise Ended(answer("BYE", "Commande trop longue.")) from None
            if words is not None:
                await asyncio.sleep(0)  # a client that pipelines gives way to others (ATT-27)
                return words
            if self._ended:
                raise Ended
            self._read_on()
            await self._until_woken()

    def _read_on(self) -> None:
        if self._reading_paused and self._framer.buffered <= HIGH_WATER:
            self._reading_paused = False
            self._transport.resume_reading()

    async def _until_woken(self) -> None:
        """Octets, an end, or time. Raises Ended."""
        if self._session.principal is not None:
            self._deadline = self._loop.time() + IDLE_S
        if self._loop.time() >= self._deadline:
            raise Ended(answer("BYE", "Sans activité depuis trop longtemps.", "TRYLATER"))
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(self._deadline, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def _say(self, octets: bytes) -> None:
        if self._lost:
            raise Ended
        self._transport.write(octets)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(STALLED_S):
                await self._writable.wait()
        except TimeoutError as error:
            self._transport.abort()
            raise Ended from error

    # ------------------------------------------------------------ for the session

    def announced(self) -> tuple[str, ...]:
        """Mechanisms, on this connection."""
        return announced(self._door.mechanisms, self._channel)

    def exchange(self, mechanism: str) -> Exchange:
        """Raises UnknownMechanism."""
        return Exchange(mechanism, self._door.mechanisms, self._channel)

    async def ask(self, challenge: bytes) -> bytes:
        """One string of the client for one of ours (RFC 5804 2.1). Raises BadExchange, Ended."""
        await self._say(string(challenge) + b"\r\n")
        try:
            words = await self._next()
        except (BadCommand, TooLarge) as error:
            raise BadExchange("no string") from error
        if len(words) != 1 or not isinstance(words[0], bytes):
            raise BadExchange("no string")
        return words[0]

    async def enter(self, claim: Claim) -> Answer:
        """Who that is. Raises LoginRefused, Ended."""
        try:
            found = await self._door.logins.enter(claim, Peer(self._address, lambda: self._lost))
        except Left as error:
            raise Ended from error
        except MailError:
            metrics.logins.labels(_ROOM, "refused").inc()
            raise
        if not isinstance(found, ScramSalt):
            metrics.logins.labels(_ROOM, "accepted").inc()
        return found

    def logged_in(self, principal: Principal) -> None:
        """Scripts may come from now on."""
        self._framer.trust()
        self._logged_in_at = self._loop.time()
        logger.info("logged in", extra={"account": principal.account})

    async def start_tls(self, go_ahead: bytes) -> None:
        """Raises Ended."""
        if self._framer.buffered or self._lost:
            # ATT-02: what came in clear behind STARTTLS is never executed, not even later.
            raise Ended(answer("BYE", "Rien ne peut suivre STARTTLS."))
        self._transport.pause_reading()
        self._transport.write(go_ahead)
        self._upgraded = self._loop.create_future()
        tls.start_tls(
            self._transport,
            self,
            self._door.context,
            handshake_timeout_s=self._door.settings.tls.handshake_timeout_s,
            on_failure=_handshake_failed,
        )
        await self._upgraded

    async def pause(self, seconds: float) -> None:
        """Nobody else waits; who leaves is not waited for."""
        until = self._loop.time() + seconds
        while not (self._lost or self._stopping) and (left := until - self._loop.time()) > 0:
            self._waiter = self._loop.create_future()
            await asyncio.wait([self._waiter], timeout=left)
            self._waiter = None

    async def refreshed(self, principal: Principal) -> Principal:
        """As of now, by password or token. Raises LoginRefused."""
        if is_over(principal, self._loop.time() - self._logged_in_at):
            raise BadCredentials("as long as a token opens a session (OP-83)")
        authenticator = self._door.authenticator
        return await self.read(lambda reading: as_of_now(authenticator, reading, principal))

    async def read(self, query: Callable[[Reading], T]) -> T:
        """Ask the store."""
        return await awaited(self._door.store.read(query))

    async def write(self, job: Callable[[Writing], T]) -> T:
        """Change it."""
        return await awaited(self._door.store.write(job))


def _handshake_failed(reason: str) -> None:
    metrics.handshakes_failed.labels(_ROOM).inc()
    logger.info("tls handshake failed", extra={"reason": reason})
