"""A store of accounts in memory, a clock that stands still, randomness that repeats."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from mssmtp.identity.app_password import verifiers
from mssmtp.mail import AccountId, Address, Bal, BalId, BalType, Principal, Structure, StructureId

T = TypeVar("T")


class Entropy:
    """Counted SHA-256: repeatable, never the same twice."""

    def __init__(self, seed: bytes = b"") -> None:
        self._seed, self._count, self._lock = seed, 0, threading.Lock()

    def token_bytes(self, octets: int) -> bytes:
        found = b""
        while len(found) < octets:
            with self._lock:
                self._count += 1
                found += hashlib.sha256(self._seed + self._count.to_bytes(8, "big")).digest()
        return found[:octets]


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Account:
    id: AccountId
    login: str
    active: bool


@dataclass(frozen=True)
class Password:
    id: int
    name: str
    argon2: str
    scram: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    account: AccountId = AccountId(0)
    box: BalId | None = None
    scope: str = ""
    expires_at: datetime | None = None


def box(login: str, kind: BalType = BalType.PER) -> Bal:
    return Bal(BalId(1), Address.parse(login), kind, national_id="899900000110")


class Store:
    """What `storage.Store` offers to a login; counts reads and writes."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self.clock, self.entropy = clock, entropy
        self.accounts: dict[str, Account] = {}
        self.boxes: dict[AccountId, tuple[Bal, ...]] = {}
        self.passwords: dict[int, Password] = {}
        self.owners: dict[int, AccountId] = {}
        self.structures: dict[StructureId, Structure] = {}
        self.reads = self.writes = 0
        self.traces: list[tuple[str, str, str]] = []
        self.broken: Exception | None = None

    def read(self, query: Callable[[Store], T]) -> Future[T]:
        self.reads += 1
        return self._done(query)

    def write(self, job: Callable[[Store], T]) -> Future[T]:
        self.writes += 1
        return self._done(job)

    def _done(self, work: Callable[[Store], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(work(self))
        return future

    # reading
    def account(self, login: str) -> Account | None:
        return self.accounts.get(login)

    def app_passwords(self, account: AccountId) -> tuple[Password, ...]:
        return tuple(p for i, p in self.passwords.items() if self.owners[i] == account)

    def box_passwords(self, bal: BalId) -> tuple[Password, ...]:
        return ()

    def principal(self, account: AccountId) -> Principal:
        (login,) = (a.login for a in self.accounts.values() if a.id == account)
        active = tuple(b for b in self.boxes[account] if b.state == "active")
        return Principal(account, login, active)

    def bal(self, address: Address) -> Bal | None:
        every = (b for boxes in self.boxes.values() for b in boxes)
        return next((b for b in every if b.address == address), None)

    def bal_by_usual(self, address: Address) -> Bal | None:
        every = (b for boxes in self.boxes.values() for b in boxes)
        return next((b for b in every if b.usual_address == address), None)

    def structure(self, id: StructureId) -> Structure | None:
        return self.structures.get(id)

    def stand_in(self, login: str) -> bytes:
        return hashlib.sha256(login.encode()).digest()

    # writing
    def touch_app_password(self, password: int, at: datetime, every: timedelta) -> bool:
        if self.broken is not None:
            raise self.broken
        self.passwords[password] = replace(self.passwords[password], last_used_at=at)
        return True

    def trace(
        self,
        kind: str,
        author: str,
        request: str,
        answer: str = "ok",
        *,
        account: AccountId | None = None,
        bal: BalId | None = None,
    ) -> None:
        self.traces.append((author, request, answer))

    # preparing
    def add(self, login: str, *boxes: Bal) -> AccountId:
        number = AccountId(len(self.accounts) + 1)
        self.accounts[login] = Account(number, login, active=True)
        self.boxes[number] = boxes or (box(login),)
        return number

    def add_password(self, account: AccountId, password: str) -> int:
        number = len(self.passwords) + 1
        beside = [p.argon2 for p in self.app_passwords(account)]
        made = verifiers(password, self.entropy, beside=beside)
        self.passwords[number] = Password(
            number, f"appareil {number}", made.argon2, made.scram, self.clock.at
        )
        self.owners[number] = account
        return number
