"""Login and password -> Principal, with a cache that revocation empties at once (CL-24, ATT-18)."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Protocol, TypeVar

from mssmtp import processors
from mssmtp.errors import BadAddress, MailError, Reply
from mssmtp.identity import app_password
from mssmtp.identity.guesses import Guesses
from mssmtp.mail import AccountId, Address, Bal, BalId, BalState, PersonState, Principal
from mssmtp.outside import Clock, Entropy

UNUSED_EXPIRES = timedelta(days=90)
"""CL-31: an application password ends after 90 days without use."""
TOUCH_EVERY = timedelta(hours=1)
"""The last use is written at most this often, so that a login is normally only a read."""
MOST_CACHED = 20_000
MOST_LOGIN = 320
"""Characters of a login or password that are looked at; more cannot be one of ours."""

_NOBODY = AccountId(0)
"""No account has this id: its passwords are asked for an unknown login, to do the same work."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class LoginRefused(MailError):
    """Base: the door waits `delay_s` before it answers; other sessions are not affected.

    `is_guess`: a password may have been tried, and a door makes its client wait. `imap_text` is
    what IMAP says, in ASCII, where it is not what it always says with that code.
    """

    is_guess: ClassVar[bool] = True
    imap_text: ClassVar[str] = ""

    def __init__(self, message: str = "", *, delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class BadCredentials(LoginRefused):
    """Unknown login, wrong, revoked or expired password, suspended account: one answer for all."""

    smtp = Reply(
        535,
        "5.7.8",
        "Identifiant ou mot de passe d'application incorrect ; "
        "créez un nouveau mot de passe pour cet appareil.",
    )
    imap = "AUTHENTICATIONFAILED"


class TooManyGuesses(LoginRefused):
    """This login from this address has to wait; the password was not looked at."""

    smtp = Reply(454, "4.7.0", "Trop d'essais de connexion ; attendez une minute puis réessayez.")
    imap = "UNAVAILABLE"


class AccountRow(Protocol):
    """What is read of an account."""

    @property
    def id(self) -> AccountId: ...
    @property
    def active(self) -> bool: ...


class AppPasswordRow(Protocol):
    """What is read of an application password."""

    @property
    def id(self) -> int: ...
    @property
    def argon2(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def last_used_at(self) -> datetime | None: ...
    @property
    def revoked_at(self) -> datetime | None: ...
    @property
    def account(self) -> AccountId: ...
    @property
    def box(self) -> BalId | None: ...


class AccountReading(Protocol):
    """The part of `storage.Reading` a login needs."""

    def account(self, login: str) -> AccountRow | None: ...
    def app_passwords(self, account: AccountId) -> tuple[AppPasswordRow, ...]: ...
    def box_passwords(self, bal: BalId) -> tuple[AppPasswordRow, ...]: ...
    def principal(self, account: AccountId) -> Principal: ...
    def bal(self, address: Address) -> Bal | None: ...
    def bal_by_usual(self, address: Address) -> Bal | None: ...


class AccountWriting(Protocol):
    """The part of `storage.Writing` a login needs."""

    def touch_app_password(self, password: int, at: datetime) -> None: ...


class Accounts(Protocol):
    """`storage.Store` as a login sees it: both doors answer with a future."""

    def read(self, query: Callable[[AccountReading], T]) -> Future[T]: ...
    def write(self, job: Callable[[AccountWriting], T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class _State:
    """One snapshot: the account with its live passwords, its own box, what it may act in."""

    account: AccountId
    active: bool
    passwords: tuple[AppPasswordRow, ...]
    own: Bal | None
    principal: Principal

    def may_log_in(self) -> bool:
        """Area E, OP-50: an active account that has a box, whose own box is not suspended or
        closed, of a person who is not merely pre-registered.
        """
        boxes = self.principal.bals if self.own is None else (self.own, *self.principal.bals)
        return (
            self.active
            and bool(self.principal.bals)
            and boxes[0].state is BalState.ACTIVE
            and boxes[0].person is not PersonState.PRE_REGISTERED
        )

    def password(self, number: int | None) -> AppPasswordRow | None:
        return next((row for row in self.passwords if row.id == number), None)


class Authenticator:
    """One per process; thread-safe. Its methods block: call them in a thread."""

    def __init__(self, store: Accounts, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._key = entropy.token_bytes(32)
        self._guesses = Guesses()
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
        self._guesses.right(login, address)
        self._remember(secret, row.id)
        self._touch(row)
        return replace(state.principal, app_password=row.id)

    def recognize(self, login: str, password: str, address: str = "") -> Future[Principal | None]:
        """As `authenticate` for a password that was right before, without a thread of one's own.

        None: that `authenticate` has to decide.
        """
        login, password = _bounded(login, password)
        secret = self._digest(login, password)

        def look(reading: AccountReading) -> Principal | None:
            state, row = self._resolved(reading, login, self._cached(secret))
            if state is None or row is None or not state.may_log_in() or self._is_touch_due(row):
                return None
            self._guesses.right(login, address)
            self._remember(secret, row.id)
            return replace(state.principal, app_password=row.id)

        return self._store.read(look)

    def is_known(self, login: str, password: str) -> bool:
        """True when this password was right before: `authenticate` then needs no slow hash.

        Does not block, and proves nothing: what was revoked since is still refused.
        """
        return self._cached(self._digest(*_bounded(login, password))) is not None

    def refresh(self, principal: Principal) -> Principal:
        """`principal` as of now, for a session that is already open. Raises BadCredentials.

        ATT-18: one cheap read at the next command sees a suspended account, a revoked password
        and a membership that was taken away.
        """
        return self._store.read(lambda reading: self.refreshed(reading, principal)).result()

    def refreshed(self, reading: AccountReading, principal: Principal) -> Principal:
        """`refresh` inside a query: no thread of a door waits for the store."""
        if principal.box is not None:
            return self._refreshed_member(reading, principal)
        state = self._state(reading, principal.login.casefold())
        if state is None or state.account != principal.account or not state.may_log_in():
            raise BadCredentials
        if principal.app_password is not None and state.password(principal.app_password) is None:
            raise BadCredentials
        return replace(state.principal, app_password=principal.app_password)

    def _current(
        self, login: str, number: int | None
    ) -> tuple[_State | None, AppPasswordRow | None]:
        """The account and its live password `number`, in one snapshot."""
        if number is None:
            return None, None
        return self._store.read(lambda reading: self._resolved(reading, login, number)).result()

    def _resolved(
        self, reading: AccountReading, login: str, number: int | None
    ) -> tuple[_State | None, AppPasswordRow | None]:
        """Whom the password `number` of `login` lets in: the account, or a member of its box."""
        state = self._state(reading, login)
        row = None if state is None else state.password(number)
        if row is not None and row.box is not None:
            state = self._as_member(reading, row)
        return state, row

    def _as_member(self, reading: AccountReading, row: AppPasswordRow) -> _State | None:
        """The person of a password for one box: in that box alone, while he is a member and may
        log in himself. The trace names both (client-access.md 1)."""
        person = self._state(reading, reading.principal(row.account).login.casefold())
        if person is None or person.account != row.account or not person.may_log_in():
            return None
        boxes = tuple(bal for bal in person.principal.bals if bal.id == row.box)
        if not boxes:
            return None
        principal = replace(person.principal, bals=boxes, box=row.box)
        return _State(row.account, person.active, (row,), boxes[0], principal)

    def _refreshed_member(self, reading: AccountReading, principal: Principal) -> Principal:
        for row in self._alive(reading.app_passwords(principal.account)):
            if row.id == principal.app_password and row.box == principal.box:
                state = self._as_member(reading, row)
                if state is not None and state.may_log_in():
                    return replace(state.principal, app_password=row.id)
        raise BadCredentials

    def _state(self, reading: AccountReading, login: str) -> _State | None:
        account = reading.account(login)
        if account is None:
            return None
        principal = reading.principal(account.id)
        # By the login as stored: another spelling of it must not miss a suspended box.
        own = _own(reading, principal.login)
        live = self._live(reading, account.id, own)
        return _State(account.id, account.active, live, own, principal)

    def _live(
        self, reading: AccountReading, account: AccountId, own: Bal | None
    ) -> tuple[AppPasswordRow, ...]:
        """Passwords of a login: its own, and for the box it is named after those of members."""
        rows = tuple(row for row in reading.app_passwords(account) if row.box is None)
        return self._alive(rows if own is None else (*rows, *reading.box_passwords(own.id)))

    def _alive(self, rows: Collection[AppPasswordRow]) -> tuple[AppPasswordRow, ...]:
        now = self._clock.now()
        return tuple(
            row
            for row in rows
            if row.revoked_at is None
            and now - (row.last_used_at or row.created_at) < UNUSED_EXPIRES
        )

    def _verified(self, login: str, password: str, address: str) -> int | None:
        """The id of the live row of `password`: the same work whoever the login is."""
        self._may_guess(login, address)

        def rows_of(reading: AccountReading) -> tuple[AppPasswordRow, ...]:
            account = reading.account(login)
            own = None if account is None else _own(reading, login)
            return self._live(reading, _NOBODY if account is None else account.id, own)

        rows = self._store.read(rows_of).result()

        def matching() -> Collection[str]:
            # Again: hundreds may have passed the first look before one of them was found wrong.
            self._may_guess(login, address)
            return app_password.matching(password, [row.argon2 for row in rows])

        found = self._slow.submit(matching).result()
        return next((row.id for row in rows if row.argon2 in found), None)

    def _may_guess(self, login: str, address: str) -> None:
        wait = self._guesses.wait_s(login, address, self._clock.monotonic())
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)

    def _refusal(self, login: str, address: str, secret: bytes, *, right: bool) -> BadCredentials:
        if right:  # suspended: not a guess, and the wait would tell that the password is good
            return BadCredentials()
        delay = self._guesses.wrong(login, address, secret, self._clock.monotonic())
        return BadCredentials(delay_s=delay)

    def _digest(self, login: str, password: str) -> bytes:
        """Keyed per process, so that a memory dump cannot be tested against a dictionary."""
        name = login.encode("utf-8", "surrogatepass")
        text = name + b"\0" + password.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, hashlib.sha256)

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

    def _touch(self, row: AppPasswordRow) -> None:
        if not self._is_touch_due(row):
            return
        now, number = self._clock.now(), row.id
        try:
            self._store.write(lambda writing: writing.touch_app_password(number, now)).result()
        except MailError as error:
            # A full or read-only disk must not keep people from reading their mail.
            logger.warning("last use not written", extra={"kind": type(error).__name__})


def _bounded(login: str, password: str) -> tuple[str, str]:
    """Login and password as they are looked at; nothing that is too long is ever hashed.

    Folded as the store folds it: every spelling of one login is one pair for `Guesses` (ATT-18).
    """
    login = login.strip().casefold()
    if len(login) > MOST_LOGIN or len(password) > MOST_LOGIN or "\0" in login + password:
        return login[:MOST_LOGIN].replace("\0", ""), ""
    return login, password


def _own(reading: AccountReading, login: str) -> Bal | None:
    """The box a login is named after, by its address or its usual address (client-access.md 1)."""
    try:
        address = Address.parse(login)
    except BadAddress:
        return None
    return reading.bal(address) or reading.bal_by_usual(address)
