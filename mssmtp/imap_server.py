"""Door: IMAP on 143 (STARTTLS) and 993 (implicit TLS): sockets and threads around `imap`.

One task per connection performs the effects of `imap.conversation`. Nothing slow runs on the
loop: the store has its own threads, passwords and letters have theirs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from mssmtp import processors, tls
from mssmtp.awaiting import awaited
from mssmtp.bearers import Bearers, as_of_now
from mssmtp.cloud_relays import CloudGuard
from mssmtp.config import Settings
from mssmtp.errors import Ended, MailError
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.sasl import Channel, Mechanisms
from mssmtp.imap import effects, responses
from mssmtp.imap.conversation import converse
from mssmtp.imap.deflate import BadStream, Deflate
from mssmtp.imap.effects import Effect, Woken
from mssmtp.imap.incoming import UNAVAILABLE
from mssmtp.imap.session import Session, State, Timing
from mssmtp.logins import Again, Logins, offered
from mssmtp.mail import WHOLE_BOX, AccountId, BalId, Change, MailboxId, Principal
from mssmtp.outside import Clock
from mssmtp.storage import Reading, Store, deadlines
from mssmtp.tls_settings import Presenter
from mssmtp.user_link import Manners, UserDoor, UserLink

logger = logging.getLogger(__name__)

MANNERS = Manners(
    "imap",
    "imap",
    high_water=262_144,
    stalled_s=300.0,
    crowded=responses.untagged(b"BYE", b"Too many connections, try again later", b"LIMIT"),
)
TOGETHER_OCTETS = 4_096
"""Answers shorter than this leave with what follows: each write is a TLS record and a system call,
as dear as the rest of a short command."""
TURNS = 32
"""Effects without a pause: thousands of pipelined NOOPs must not stop everybody else (ATT-27)."""
_LETTER_THREADS = 4
_LONG_READS = 1
"""Of the store's reading threads (four by default) the searches of one door use no more."""

Key = tuple[BalId, MailboxId]


def _keys(watched: Key | None) -> tuple[Key, ...]:
    return () if watched is None else (watched, (watched[0], WHOLE_BOX))


class _Hub:
    """Who watches which mailbox: one subscription to the store for all connections of a door."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[Key, set[_Connection]] = {}
        self._listeners: dict[BalId, set[_Connection]] = {}
        self.times_heard = 0

    def heard(self, changes: tuple[Change, ...]) -> None:
        """Called by a thread of the store, for the commits of every worker: most are of boxes that
        nobody looks at, and waking the loop costs more than all that is done there."""
        # First: who begins to watch behind the look below is told by this number.
        self.times_heard += 1
        if any(
            change.bal in self._listeners or (change.bal, change.mailbox) in self._watchers
            for change in changes
        ):
            self._loop.call_soon_threadsafe(self._dispatch, changes)

    def hurries(self) -> bool:
        """Somebody has a mailbox open, or listens to a box."""
        return bool(self._watchers or self._listeners)

    def _dispatch(self, changes: tuple[Change, ...]) -> None:
        for key in {(change.bal, change.mailbox) for change in changes}:
            for connection in self._watchers.get(key, ()):
                if key[1] == WHOLE_BOX:
                    connection.ask_again()
                else:
                    connection.mailbox_changed()
        if self._listeners:
            for change in changes:
                for connection in self._listeners.get(change.bal, ()):
                    connection.box_changed(change)

    def move(self, connection: _Connection, old: Key | None, new: Key | None) -> None:
        """`connection` watches `new` in place of `old`, and what concerns the whole box of it:
        its state, and who may open it."""
        for key in _keys(old):
            if watchers := self._watchers.get(key):
                watchers.discard(connection)
                if not watchers:
                    del self._watchers[key]
        for key in _keys(new):
            self._watchers.setdefault(key, set()).add(connection)

    def listen(self, connection: _Connection, old: frozenset[BalId], new: frozenset[BalId]) -> None:
        """`connection` listens to the boxes `new` in place of `old`."""
        for bal in old - new:
            self._listeners[bal].discard(connection)
            if not self._listeners[bal]:
                del self._listeners[bal]
        for bal in new - old:
            self._listeners.setdefault(bal, set()).add(connection)


class ImapDoor(UserDoor):
    """One listening port. `start` once, `stop` once."""

    manners = MANNERS
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
        context = tls.server_context(
            settings.tls,
            presenter or settings.tls.users,
            ask_certificate=self.asks_certificate,
            resumes=not self.asks_certificate,
        )
        super().__init__(settings, store, context)
        self.authenticator = authenticator
        self.bearers = bearers
        self.clock = clock
        self.timing = timing or Timing()
        self.mechanisms = self._mechanisms()
        self.implicit_tls = implicit_tls
        self.long_reads = asyncio.Semaphore(_LONG_READS)
        self._unsubscribe: Callable[[], None] | None = None
        self.logins = self._made_logins()
        self._letters = ThreadPoolExecutor(_LETTER_THREADS, "imap-letter", processors.roam)
        # Apart from both: neither slow hashes nor slow disks hold up who is logged in already.

    def _mechanisms(self) -> Mechanisms:
        return offered(self.settings)

    def _made_logins(self) -> Logins:
        guard = CloudGuard.of(self.settings, self.store, self.clock)
        again = Again(self.authenticator, self.store.answers)
        return Logins(self.authenticator, "imap", bearers=self.bearers, guard=guard, again=again)

    async def start(self, sock: socket.socket) -> None:
        """Listen on `sock`, bound already."""
        self.hub = _Hub(asyncio.get_running_loop())
        self.store.answers.begin()
        self._unsubscribe = self.store.subscribe(self.hub.heard, self.hub.hurries)
        await self.listen(sock, lambda: _Connection(self), implicit_tls=self.implicit_tls)

    async def stop(self, grace_s: float) -> None:
        """No more connections; running commands end, then everybody hears BYE."""
        await super().stop(grace_s)
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._letters.shutdown(wait=False, cancel_futures=True)

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


class _Connection(UserLink):
    """One client: octets in, effects performed, octets out."""

    _door: ImapDoor

    def __init__(self, door: ImapDoor) -> None:
        super().__init__(door)
        self._session = Session(
            door.settings.limits,
            door.clock,
            secure=door.implicit_tls,
            timing=door.timing,
            mechanisms=door.mechanisms,
            patient_domains=frozenset(door.settings.policy.patient_domains),
        )
        self._unsent = b""
        self._deflate: Deflate | None = None
        self._wakes_on_change = False
        self._coming = ExitStack()
        """Closed, it tells the store that no letter of this client is about to be written."""
        self._watched: Key | None = None
        self._listened: frozenset[BalId] = frozenset()
        self._unwatched_at = -1

    # ------------------------------------------------------------ for the link

    def _reached(self, channel: Channel) -> None:
        self._session.channel = channel

    def _account(self) -> AccountId | None:
        who = self._session.principal_or_none
        return who.account if who else None

    def _let_go(self) -> None:
        self._coming.close()
        self._watch(None)
        self._listen(frozenset())

    def _packed(self, octets: bytes) -> bytes:
        return octets if self._deflate is None else self._deflate.packed(octets)

    # ------------------------------------------------------------ called by hub and door

    def ask_again(self) -> None:
        """Rights may have changed: now, not a second after the last time (SEC-06, ATT-18)."""
        self._session.refreshed_at = -math.inf
        self.mailbox_changed()

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

    # ------------------------------------------------------------ the task

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
                effect.answer(await self._read(effect))
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

    async def _read(self, wanted: effects.Read[object]) -> object:
        store = self._door.store
        if wanted.question is None:
            return await awaited(store.read(wanted.query))
        asked = store.answers.asked(wanted.question)
        if asked.known is not None:
            return asked.known
        found = await awaited(store.read(wanted.query))
        store.answers.keep(asked, found)
        return found

    async def _note(self, note: effects.Note) -> None:
        store, now = self._door.store, self._door.clock.now()
        if not store.noted.add(note.account, note.bal, note.letters, "releve", now):
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
                effect.answer(
                    await self._door.enter(effect.claim, self._peer(self._session.client))
                )
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
        octets, self._unsent = self._unsent, b""
        await self._say(octets)

    async def _wait(self, wanted: effects.Wait) -> bytes | Woken:
        until = self._loop.time() + wanted.timeout_s
        if self._session.state is State.NOT_AUTHENTICATED:
            until = min(until, self._deadline)  # the whole time before login, not per octet
        self._wakes_on_change = wanted.changes
        # What is packed says nothing of how much it is.
        self._enough = wanted.enough if self._deflate is None else 1
        while True:
            if self._has_enough(until):
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

    def _has_enough(self, until: float) -> bool:
        if self._deflate is not None and self._deflate.holds_more:
            return True
        if len(self._pending) >= self._enough:
            return True
        # Nothing more comes, or has come for long: the rest is all there is.
        is_over = self._lost or self._ended or self._stopping or self._loop.time() >= until
        return is_over and bool(self._pending)

    def _take(self) -> bytes:
        octets = bytes(self._pending)
        self._pending.clear()
        if self._deflate is not None:
            try:
                octets, rest = self._deflate.unpacked(octets)
            except BadStream as error:
                raise Ended(responses.untagged(b"BYE", b"Not DEFLATE", b"CLIENTBUG")) from error
            self._pending += rest
        self._read_on()
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

    def _compress(self, reply: bytes) -> None:
        if self._pending or self._lost:
            raise Ended(responses.untagged(b"BYE", b"Nothing may follow COMPRESS"))
        self._transport.write(reply)
        self._deflate = Deflate()

    async def _start_tls(self, reply: bytes) -> None:
        await self._upgrade(reply, responses.untagged(b"BYE", b"Nothing may follow STARTTLS"))
