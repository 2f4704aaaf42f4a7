"""Door: ManageSieve on 4190 (RFC 5804), STARTTLS: sockets, time and logins around its session."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TypeVar

from mssmtp import tls
from mssmtp.awaiting import awaited
from mssmtp.bearers import as_of_now
from mssmtp.config import Settings
from mssmtp.errors import Ended
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.refusals import BadCredentials, BadExchange
from mssmtp.identity.sasl import Answer, Channel, Claim, Exchange, announced
from mssmtp.identity.standing import is_over
from mssmtp.logins import Bearers, Logins, offered
from mssmtp.mail import AccountId, Principal
from mssmtp.managesieve_session import Session
from mssmtp.sieve.wire import BadCommand, Broken, Framer, TooLarge, Word, answer, string
from mssmtp.storage import Reading, Store, Writing
from mssmtp.tls_settings import Presenter
from mssmtp.user_link import Manners, UserDoor, UserLink

logger = logging.getLogger(__name__)
T = TypeVar("T")

MANNERS = Manners(
    "sieve",
    "managesieve",
    high_water=131_072,
    stalled_s=60.0,
    crowded=answer("BYE", "Trop de connexions ; réessayez.", "TRYLATER"),
    broken=answer("BYE", "Erreur interne.", "TRYLATER"),
)
IDLE_S = 1_800.0
"""Silence after login (RFC 5804 1.2 asks for half an hour)."""
MAX_ERRORS = 20
"""Commands in a row that are none."""


class SieveDoor(UserDoor):
    """One listening port. `start` once, `stop` once."""

    manners = MANNERS

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
        context = tls.server_context(
            settings.tls, presenter or settings.tls.users, ask_certificate=False
        )
        super().__init__(settings, store, context)
        self.authenticator = authenticator
        self.mechanisms = offered(settings)
        self.logins = Logins(authenticator, self.manners.room, bearers=bearers)

    async def start(self, sock: socket.socket) -> None:
        """Listen on `sock`, bound already."""
        await self.listen(sock, lambda: _Connection(self), implicit_tls=False)


class _Connection(UserLink):
    """One client; the `Peer` of its session."""

    _door: SieveDoor

    def __init__(self, door: SieveDoor) -> None:
        super().__init__(door)
        self._framer = Framer()
        self._session = Session(self)
        self._channel = Channel()
        self._logged_in_at = 0.0
        self.is_secure = False
        self.wrong_passwords = door.settings.limits.wrong_passwords

    # ------------------------------------------------------------ for the link

    def _reached(self, channel: Channel) -> None:
        self._channel = channel
        self.is_secure = self._upgraded is not None

    def _account(self) -> AccountId | None:
        who = self._session.principal
        return who.account if who else None

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
            if self._pending:
                self._framer.feed(self._take())
            elif self._ended:
                raise Ended
            else:
                await self._more()

    async def _more(self) -> None:
        """Octets, an end, or time. Raises Ended."""
        if self._session.principal is not None:
            self._deadline = self._loop.time() + IDLE_S
        if self._loop.time() >= self._deadline:
            raise Ended(answer("BYE", "Sans activité depuis trop longtemps.", "TRYLATER"))
        await self._until_woken(self._deadline)

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
        return await self._door.enter(claim, self._peer())

    def logged_in(self, principal: Principal) -> None:
        """Scripts may come from now on."""
        self._framer.trust()
        self._logged_in_at = self._loop.time()
        logger.info("logged in", extra={"account": principal.account})

    async def start_tls(self, go_ahead: bytes) -> None:
        """Raises Ended."""
        objection = answer("BYE", "Rien ne peut suivre STARTTLS.")
        if self._framer.buffered:
            raise Ended(objection)  # ATT-02, as for what has not been framed yet
        await self._upgrade(go_ahead, objection)

    async def pause(self, seconds: float) -> None:
        """Nobody else waits; who leaves is not waited for."""
        await self._pause(seconds)

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
