"""Whether a door's clients are who they say (ATT-14, ATT-41).

Passwords are checked away from the loop and in fair turns; who judges tokens and certificates is
given by the door that takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from cryptography import x509

from mssmtp import processors
from mssmtp.awaiting import awaited
from mssmtp.cloud_relays import CloudGuard
from mssmtp.config import Settings
from mssmtp.errors import StorageUnavailable
from mssmtp.identity import (
    MECHANISMS,
    Answer,
    Authenticator,
    BadCredentials,
    Bearer,
    Claim,
    Credentials,
    Mechanisms,
    Presented,
    with_tokens,
)
from mssmtp.identity.scram import ScramName, ScramProof, ScramProven, ScramSalt
from mssmtp.mail import Principal, counted_as
from mssmtp.storage import deadlines
from mssmtp.storage.answers import Answers

PER_ADDRESS = 4
"""Slow checks of one address at once: a guesser queues behind himself."""
_SLOW_THREADS = 16
_QUICK_THREADS = 2

T = TypeVar("T")


def _forget(job: asyncio.Future[T]) -> None:
    if not job.cancelled():
        job.exception()


class Left(ConnectionResetError):
    """The client has gone while it waited: its password is not worth a slow hash."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as the transport knows it. `chain`: what it has presented.

    `client`: what it calls itself (RFC 2971).
    """

    address: str
    is_gone: Callable[[], bool]
    chain: Sequence[x509.Certificate] = ()
    client: str = ""


@dataclass(slots=True)
class _Line:
    """Those of one address who wait or are being served."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PER_ADDRESS))
    members: int = 0


class Passwords(Protocol):
    """Who knows which passwords are right: `identity.Authenticator`, or `machines.Machines`."""

    def authenticate(self, login: str, password: str, address: str = "") -> Principal: ...
    def recognize(
        self, login: str, password: str, address: str = ""
    ) -> Future[Principal | None]: ...
    def is_known(self, login: str, password: str) -> bool: ...
    def salted(self, asked: ScramName, address: str = "") -> Future[ScramSalt]: ...
    def prove(self, shown: ScramProof, address: str = "") -> ScramProven: ...


def offered(settings: Settings) -> Mechanisms:
    """What a door of persons offers: tokens only where their issuer can be asked."""
    if settings.psc is None:
        return MECHANISMS
    return with_tokens(MECHANISMS, challenge=settings.auth.xoauth2_challenge)


class Bearers(Protocol):
    """Who judges tokens."""

    async def enter(self, claim: Bearer, address: str) -> Principal:
        """Raises LoginRefused."""
        ...


class Systems(Protocol):
    """Who knows the certificates of systems."""

    async def enter(self, claim: Presented, chain: Sequence[x509.Certificate]) -> Principal:
        """Raises LoginRefused."""
        ...


class Again:
    """Who was recognized a moment ago: a mail program opens several connections at once.

    The answer is one of the newest snapshot of the store: what anybody has committed since takes
    it away, and a second does (ATT-18, `storage.answers`). On the loop of the store's doors.
    """

    def __init__(self, authenticator: Authenticator, answers: Answers) -> None:
        self._authenticator, self._answers = authenticator, answers

    async def recognized(self, login: str, password: str, address: str) -> Principal | None:
        """As `Authenticator.recognize`."""
        secret = self._authenticator.named(login, password)
        asked = self._answers.asked(("login", secret))
        if isinstance(asked.known, Principal):
            self._authenticator.came_again(login, address)
            return asked.known
        found = await awaited(self._authenticator.recognize(login, password, address))
        if found is not None:
            self._answers.keep(asked, found)
        return found


class Logins:
    """One per door. A password that was right before never waits behind slow hashes, so that
    guessing delays neither those elsewhere nor those behind the same address who are known."""

    def __init__(
        self,
        authenticator: Passwords,
        name: str,
        *,
        bearers: Bearers | None = None,
        systems: Systems | None = None,
        guard: CloudGuard | None = None,
        again: Again | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._again = again
        self._bearers, self._systems = bearers, systems
        self._guard = guard
        self._service = "smtp" if name.startswith("smtp") else "imap"
        self._lines: dict[str, _Line] = {}
        self._slow = ThreadPoolExecutor(_SLOW_THREADS, f"{name}-login", processors.roam)
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, f"{name}-known")

    async def enter(self, claim: Claim, peer: Peer) -> Answer:
        """Who that is, or what SCRAM goes on with. Raises LoginRefused kinds, Left; what the store
        raises passes."""
        if self._guard is not None:
            self._guard.judge(claim, peer.address, peer.client)
        match claim:
            case Credentials():
                return self._fitting(
                    await self.check(claim.login, claim.password, peer.address, peer.is_gone)
                )
            case ScramName():
                return await awaited(self._authenticator.salted(claim, peer.address))
            case ScramProof():
                proving = partial(self._authenticator.prove, claim, peer.address)
                proven = await self._run(self._quick, proving)
                self._fitting(proven.principal)
                return proven
            case Bearer() if self._bearers is not None:
                return await self._bearers.enter(claim, peer.address)
            case Presented() if self._systems is not None:
                return await self._systems.enter(claim, peer.chain)
        raise TypeError(f"{type(claim).__name__} is not offered at this door")

    def _fitting(self, principal: Principal) -> Principal:
        """A password made for the other service is wrong here (CL-31). Raises BadCredentials."""
        if principal.scope not in ("", self._service):
            raise BadCredentials
        return principal

    async def check(
        self, login: str, password: str, address: str, is_gone: Callable[[], bool]
    ) -> Principal:
        """`Authenticator.authenticate`. Raises what it raises, and Left."""
        checking = partial(self._authenticator.authenticate, login, password, address)
        if self._authenticator.is_known(login, password):
            known = await self._recognized(login, password, address)
            if known is not None:
                return known
            return await self._run(self._quick, checking)
        async with self._turn(address):
            if is_gone():
                raise Left
            return await self._run(self._slow, checking)

    async def _recognized(self, login: str, password: str, address: str) -> Principal | None:
        if self._again is not None:
            return await self._again.recognized(login, password, address)
        return await awaited(self._authenticator.recognize(login, password, address))

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        job = asyncio.get_running_loop().run_in_executor(pool, work)
        done, _ = await asyncio.wait({job}, timeout=deadlines.ANSWER_WITHIN_S)
        if not done:
            # Every thread waits for a store that does not answer (CL-79), or computes for others.
            job.add_done_callback(_forget)
            job.cancel()
            raise StorageUnavailable("no turn in time")
        return job.result()

    @asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        peer = counted_as(address)
        line = self._lines.setdefault(peer, _Line())
        line.members += 1
        try:
            async with line.turns:
                yield
        finally:
            line.members -= 1
            if not line.members:
                del self._lines[peer]

    def close(self) -> None:
        """No more checks."""
        for pool in (self._slow, self._quick):
            pool.shutdown(wait=False, cancel_futures=True)
