"""Login and password -> Principal, with a cache that revocation empties at once (CL-24, ATT-18)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol, TypeVar

from mssmtp import processors
from mssmtp.errors import MailError
from mssmtp.identity import app_password, scram
from mssmtp.identity.guesses import Guesses
from mssmtp.identity.noting import EVERY as TOUCH_EVERY
from mssmtp.identity.noting import Hourly
from mssmtp.identity.refusals import BadCredentials, TooManyGuesses
from mssmtp.identity.scram import ScramName, ScramProof, ScramProven, ScramSalt
from mssmtp.identity.standing import (
    AccountReading,
    AccountRow,
    AppPasswordRow,
    State,
    alive,
    refreshed,
    resolved,
    rows_of,
)
from mssmtp.mail import AccountId, BalId, Principal
from mssmtp.outside import Clock, Entropy

MOST_CACHED = 20_000
NONCE_OCTETS = 18
MOST_LOGIN = 320
"""Characters of a login or password that are looked at; more cannot be one of ours."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class AccountWriting(Protocol):
    """The part of `storage.Writing` a login needs."""

    def touch_app_password(self, password: int, at: datetime, every: timedelta) -> bool: ...
    def trace(
        self,
        kind: Literal["login"],
        author: str,
        request: str,
        answer: str = "ok",
        *,
        account: AccountId | None = None,
        bal: BalId | None = None,
    ) -> None: ...


class Accounts(Protocol):
    """`storage.Store` as a login sees it: both doors answer with a future."""

    def read(self, query: Callable[[AccountReading], T]) -> Future[T]: ...
    def write(self, job: Callable[[AccountWriting], T]) -> Future[T]: ...


class _Proof(NamedTuple):
    """The password a proof was made with; it may be revoked."""

    row: AppPasswordRow
    signature: bytes


class Authenticator:
    """One per process; thread-safe. Its methods block: call them in a thread."""

    def __init__(
        self, store: Accounts, clock: Clock, entropy: Entropy, guesses: Guesses | None = None
    ) -> None:
        """`guesses`: counted together with other workers; this process's own when None."""
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self.guesses = guesses or Guesses.alone(entropy)
        self._refused = Hourly()
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, int] = OrderedDict()
        # A slow hash holds 16 MiB, and the C library keeps as much for every thread that ever
        # computed one: few threads of their own, not whichever thread asks.
        self._slow = ThreadPoolExecutor(
            max(2, os.cpu_count() or 1), "slow-hash", initializer=processors.roam
        )

    def authenticate(self, login: str, password: str, address: str = "") -> Principal:
        """The principal of `login`. Raises BadCredentials, TooManyGuesses; storage errors pass.

        `address` is the client's, for counting wrong secrets. Every refusal carries `delay_s`.
        """
        login, password = _bounded(login, password)
        secret = self._digest(login, password)
        state, row = self._current(login, self._cached(secret))
        if row is None:
            self._forget(secret)
            number = self._verified(login, password, address)
            # Read again: what was revoked during the slow hash is refused too.
            state, row = self._current(login, number)
        if state is None or row is None or not state.may_log_in():
            raise self._refusal(login, address, secret, right=row is not None)
        self.guesses.right(login, address, self._clock.monotonic())
        self._remember(secret, row.id)
        self._touch(row, login, address)
        return replace(state.principal, app_password=row.id, scope=row.scope)

    def recognize(self, login: str, password: str, address: str = "") -> Future[Principal | None]:
        """As `authenticate` for a password that was right before, without a thread of one's own.

        None: that `authenticate` has to decide.
        """
        login, password = _bounded(login, password)
        secret = self._digest(login, password)

        def look(reading: AccountReading) -> Principal | None:
            state, row = resolved(reading, login, self._cached(secret), self._clock.now())
            if state is None or row is None or not state.may_log_in() or self._is_touch_due(row):
                return None
            self.guesses.right(login, address, self._clock.monotonic())
            self._remember(secret, row.id)
            return replace(state.principal, app_password=row.id, scope=row.scope)

        return self._store.read(look)

    def salted(self, asked: ScramName, address: str = "") -> Future[ScramSalt]:
        """What a client needs for its proof, whether the login exists or not (ATT-21).

        Raises TooManyGuesses.
        """
        login, _ = _bounded(asked.login, "")
        self._may_guess(login, address)
        now = self._clock.now()
        nonce = base64.b64encode(self._entropy.token_bytes(NONCE_OCTETS))

        def look(reading: AccountReading) -> ScramSalt:
            rows = alive(rows_of(reading, login), now)
            stand_in = reading.stand_in(login)
            return ScramSalt(scram.salt_of((row.scram for row in rows), stand_in), nonce)

        return self._store.read(look)

    def prove(self, shown: ScramProof, address: str = "") -> ScramProven:
        """The principal whose proof that is. Raises what `authenticate` raises."""
        login, _ = _bounded(shown.login, "")
        self._begin_guess(login, address)
        now = self._clock.now()

        def look(
            reading: AccountReading,
        ) -> tuple[_Proof | None, State | None, AppPasswordRow | None]:
            found = _proof(rows_of(reading, login), shown)
            number = None if found is None else found.row.id
            return found, *resolved(reading, login, number, now)

        found, state, row = self._store.read(look).result()
        if found is None or row is None or state is None or not state.may_log_in():
            # A device that repeats one old password is one wrong secret here too (F13).
            secret = shown.proof if found is None else b"%d" % found.row.id
            raise self._refusal(login, address, secret, right=row is not None)
        self.guesses.right(login, address, self._clock.monotonic())
        self._touch(row, login, address)
        principal = replace(state.principal, app_password=row.id, scope=row.scope)
        return ScramProven(principal, found.signature)

    def is_known(self, login: str, password: str) -> bool:
        """True when this password was right before: `authenticate` then needs no slow hash.

        Does not block, and proves nothing: what was revoked since is still refused.
        """
        return self._cached(self._digest(*_bounded(login, password))) is not None

    def named(self, login: str, password: str) -> bytes:
        """What stands for the two in memory: a digest that is keyed, as nobody may guess at it."""
        return self._digest(*_bounded(login, password))

    def came_again(self, login: str, address: str) -> None:
        """Somebody who was recognized in this snapshot of the store was so once more."""
        self.guesses.right(_bounded(login, "")[0], address, self._clock.monotonic())

    def refresh(self, principal: Principal) -> Principal:
        """`principal` as of now, for a session that is already open. Raises BadCredentials.

        ATT-18: one cheap read at the next command sees a suspended account, a revoked password
        and a membership that was taken away.
        """
        return self._store.read(lambda reading: self.refreshed(reading, principal)).result()

    def refreshed(self, reading: AccountReading, principal: Principal) -> Principal:
        """`refresh` inside a query: no thread of a door waits for the store."""
        return refreshed(reading, principal, self._clock.now())

    def _current(
        self, login: str, number: int | None
    ) -> tuple[State | None, AppPasswordRow | None]:
        """The account and its live password `number`, in one snapshot."""
        if number is None:
            return None, None
        now = self._clock.now()
        return self._store.read(lambda reading: resolved(reading, login, number, now)).result()

    def _verified(self, login: str, password: str, address: str) -> int | None:
        """The id of the live row of `password`: the same work whoever the login is."""
        self._may_guess(login, address)

        now = self._clock.now()
        rows = self._store.read(lambda reading: alive(rows_of(reading, login), now)).result()

        def matching() -> Collection[str]:
            # Again: hundreds may have passed the first look before one of them was found wrong.
            self._begin_guess(login, address)
            return app_password.matching(password, [row.argon2 for row in rows])

        found = self._slow.submit(matching).result()
        return next((row.id for row in rows if row.argon2 in found), None)

    def _may_guess(self, login: str, address: str) -> None:
        wait = self.guesses.wait_s(login, address, self._clock.monotonic())
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)

    def _begin_guess(self, login: str, address: str) -> None:
        wait = self.guesses.begin(login, address, self._clock.monotonic())
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)

    def _refusal(self, login: str, address: str, secret: bytes, *, right: bool) -> BadCredentials:
        self._note_refusal(login, address)
        if right:  # suspended: not a guess, and the wait would tell that the password is good
            return BadCredentials()
        delay = self.guesses.wrong(login, address, secret, self._clock.monotonic())
        return BadCredentials(delay_s=delay)

    def _digest(self, login: str, password: str) -> bytes:
        """Keyed, so that no dump of memory can be tested against a dictionary; alike in all
        workers, to which one wrong password is one."""
        name = login.encode("utf-8", "surrogatepass")
        text = name + b"\0" + password.encode("utf-8", "surrogatepass")
        return hmac.digest(self.guesses.key, text, hashlib.sha256)

    def _cached(self, secret: bytes) -> int | None:
        with self._lock:
            return self._known.get(secret)

    def _forget(self, secret: bytes) -> None:
        with self._lock:
            self._known.pop(secret, None)

    def _remember(self, secret: bytes, number: int) -> None:
        with self._lock:
            self._known[secret] = number
            self._known.move_to_end(secret)
            while len(self._known) > MOST_CACHED:
                self._known.popitem(last=False)

    def _is_touch_due(self, row: AppPasswordRow) -> bool:
        return row.last_used_at is None or self._clock.now() - row.last_used_at >= TOUCH_EVERY

    def _touch(self, row: AppPasswordRow, login: str, address: str) -> None:
        """The last use, and the one trace of this device and hour (SEED-48)."""
        if not self._is_touch_due(row):
            return
        now = self._clock.now()

        def job(writing: AccountWriting) -> None:
            if writing.touch_app_password(row.id, now, TOUCH_EVERY):
                request = f"messagerie, appareil {row.name}{_whence(address)}"
                writing.trace("login", login, request, account=row.account, bal=row.box)

        try:
            self._store.write(job).result()
        except MailError as error:
            # A full or read-only disk must not keep people from reading their mail.
            logger.warning("last use not written", extra={"kind": type(error).__name__})

    def _note_refusal(self, login: str, address: str) -> None:
        """Tell whose login that is, once an hour; nobody waits for it, known or not (ATT-21), and
        a login of nobody writes nothing."""

        def note(read: Future[AccountRow | None]) -> None:
            found = None if _missed(read) else read.result()
            if found is None or not self._refused.is_due(found.id, self._clock.now()):
                return
            id, request = found.id, f"messagerie, mot de passe d'application{_whence(address)}"
            self._store.write(
                lambda w: w.trace("login", login, request, "refused", account=id)
            ).add_done_callback(_missed)

        self._store.read(lambda reading: reading.account(login)).add_done_callback(note)


def _whence(address: str) -> str:
    """As traces say from where somebody logged in."""
    return f", depuis {address}" if address else ""


def _missed(done: Future[T]) -> bool:
    """Whether that went wrong; it is told in the log and to nobody else."""
    error = None if done.cancelled() else done.exception()
    if error is not None:
        logger.warning("refused login not traced", extra={"kind": type(error).__name__})
    return done.cancelled() or error is not None


def _bounded(login: str, password: str) -> tuple[str, str]:
    """Login and password as they are looked at; nothing that is too long is ever hashed.

    Folded as the store folds it: every spelling of one login is one pair for `Guesses` (ATT-18).
    """
    login = login.strip().casefold()
    if len(login) > MOST_LOGIN or len(password) > MOST_LOGIN or "\0" in login + password:
        return login[:MOST_LOGIN].replace("\0", ""), ""
    return login, password


def _proof(rows: Collection[AppPasswordRow], shown: ScramProof) -> _Proof | None:
    """Every verifier is tried, in the same order and time whichever is right (ATT-21)."""
    found = None
    for row in rows:
        for verifier in scram.opened(row.scram):
            if verifier.salt == shown.salt and scram.proven(verifier, shown.message, shown.proof):
                found = _Proof(row, scram.signature_of(verifier, shown.message))
    return found
