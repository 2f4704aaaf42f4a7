"""A store, a login and a clock for tests of the SMTP doors."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar, cast

from mssmtp.identity import BadCredentials
from mssmtp.identity.guesses import Guesses
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalType,
    Domain,
    Envelope,
    EnvelopeId,
    PersonState,
    Principal,
    Recipient,
)
from mssmtp.message.scanner import Scanner
from mssmtp.message.tree import Scan, ScanLimits
from mssmtp.outside import SystemEntropy
from mssmtp.storage import LocalDelivery, Receipt, Transfer
from mssmtp.storage.letters import traced_fields
from mssmtp.storage.quotas import Room

T = TypeVar("T")

OURS = Domain("hopital-a.test")
ZOE = Address.parse("zoe.tartempion@hopital-a.test")
PAUL = Address.parse("paul.marelle@hopital-a.test")
URGENCES = Address.parse("urgences@hopital-a.test")
PEER = Address.parse("anne.tournesol@cabinet-b.test")
USUAL = Address.parse("paul.marelle@ordinaire.example")
PASSWORD = "abcdefghij0123456789"


def per(number: int, address: Address, **changes: object) -> Bal:
    return Bal(
        BalId(number),
        address,
        cast(BalType, changes.get("type", BalType.PER)),
        person=cast(PersonState, changes.get("person", PersonState.CERTIFIED)),
        national_id=f"8{10100000000 + number}",
        usual_address=cast("Address | None", changes.get("usual")),
    )


@dataclass(frozen=True)
class Kept:
    """One accepted message."""

    envelope: Envelope
    octets: bytes
    local: tuple[LocalDelivery, ...]
    queued: tuple[Recipient, ...]
    skip: int
    owner: object
    transfer: Transfer
    facts: bytes

    @property
    def message(self) -> bytes:
        """What the peer sent: everything below our trace headers."""
        lines = self.octets[self.skip :]
        at = 0
        while True:  # Received is folded with tabs
            end = lines.index(b"\r\n", at) + 2
            if lines[end : end + 1] != b"\t":
                return lines[end:]
            at = end


class FakeWriter:
    """Scans like the real one; keeps the octets unless the store only counts."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.scanner = Scanner(ScanLimits(header_octets=300_000))
        self.octets = bytearray()
        self.size = 0
        self.open = True
        self.largest_block = 0

    def write(self, block: bytes) -> None:
        if self.store.write_error is not None:
            raise self.store.write_error
        self.scanner.feed(block)
        self.size += len(block)
        self.largest_block = max(self.largest_block, len(block))
        if not self.store.only_counts:
            self.octets += block

    def finish(self) -> FakeLetter:
        self.open = False
        self.store.open_writers -= 1
        letter = FakeLetter(bytes(self.octets), self.size, self.scanner.close())
        self.store.letters.append(letter)
        return letter

    def abort(self) -> None:
        if self.open:
            self.open = False
            self.store.open_writers -= 1


@dataclass(eq=False)
class FakeLetter:
    octets: bytes
    size_octets: int
    scan: Scan
    held_octets: int = 0
    summary: bytes = b""

    @property
    def traced(self) -> tuple[tuple[str, str], ...]:
        return traced_fields(self.scan)


class FakeLately:
    """Remembers nothing: every recipient is looked up."""

    def mark(self) -> int:
        return 0

    def keep(self, mark: int, bal: Bal) -> None:
        return

    def bal(self, address: Address) -> None:
        return


@dataclass
class FakeStore:
    """Both doors at once, in memory; every future is done when it is returned, or held."""

    bals: dict[Address, Bal] = field(default_factory=dict)
    written: set[tuple[int, Address]] = field(default_factory=set)
    kept: list[Kept] = field(default_factory=list)
    rejected: list[tuple[Envelope, Transfer]] = field(default_factory=list)
    filed: list[tuple[BalId, EnvelopeId, frozenset[str]]] = field(default_factory=list)
    told: list[tuple[object, ...]] = field(default_factory=list)
    traces: list[tuple[object, ...]] = field(default_factory=list)
    letters: list[FakeLetter] = field(default_factory=list)
    open_writers: int = 0
    is_behind: bool = False
    only_counts: bool = False
    write_error: Exception | None = None
    commit_error: Exception | None = None
    held: list[Callable[[], None]] | None = None
    lately: FakeLately = field(default_factory=FakeLately)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    is_waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self) -> None:
        """From now on commits wait for `release`."""
        self.held = []

    def release(self) -> None:
        """Let every waiting commit happen."""
        waiting, self.held = self.held or [], None
        for run in waiting:
            run()

    # ---- doors

    def coming(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, query: Callable[[FakeStore], T]) -> Future[T]:
        return self._done(lambda: query(self))

    def write(self, job: Callable[[FakeStore], T], *, octets: int = 0) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                if self.commit_error is not None:
                    raise self.commit_error
                future.set_result(job(self))
            except Exception as error:
                future.set_exception(error)

        if self.held is not None:
            self.held.append(run)
            self.is_waiting.set()
        else:
            run()
        return future

    def _done(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future

    def writer(self, *, may_be_sent: bool = False) -> FakeWriter:
        self.open_writers += 1
        return FakeWriter(self)

    def seal(self, octets: bytes) -> FakeLetter:
        writer = self.writer()
        writer.write(octets)
        return writer.finish()

    def discard(self, letter: FakeLetter) -> None:
        self.letters.remove(letter)

    def new_envelope_id(self) -> EnvelopeId:
        return EnvelopeId(f"01TEST{next(self.numbers):020d}")

    # ---- reading

    def bal(self, address: Address) -> Bal | None:
        return self.bals.get(address)

    def bal_by_usual(self, address: Address) -> Bal | None:
        return next((b for b in self.bals.values() if b.usual_address == address), None)

    def has_written(self, bal: BalId, address: Address) -> bool:
        return (bal, address) in self.written

    def room(self, bal: BalId) -> Room:
        return Room(0, 0, None, None)

    # ---- writing

    def accept(
        self,
        envelope: Envelope,
        letter: FakeLetter,
        *,
        local: list[LocalDelivery],
        queued: list[Recipient],
        skip: int,
        owner: object,
        transfer: Transfer,
        facts: bytes,
        invited: Sequence[Recipient] = (),
    ) -> None:
        self.kept.append(
            Kept(
                envelope,
                letter.octets,
                tuple(local),
                tuple(queued),
                skip,
                owner,
                transfer,
                facts,
            )
        )

    def file_sent(
        self, bal: BalId, letter: FakeLetter, envelope: Envelope, flags: frozenset[str]
    ) -> None:
        self.filed.append((bal, envelope.id, flags))

    def tell(self, envelope: EnvelopeId, receipts: Sequence[Receipt]) -> None:
        self.told.append((envelope, *receipts))

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
        self.traces.append((kind, author, request, answer, account, bal))

    def receive(self, *_: object) -> None:
        """No letter of the fake is known from before."""

    def reject(
        self, envelope: Envelope, transfer: Transfer, facts: bytes, *, owner: object
    ) -> None:
        self.rejected.append((envelope, transfer))


@dataclass
class FakeLogins:
    """One account; counts what was asked."""

    principal: Principal
    revoked: bool = False
    asked: list[str] = field(default_factory=list)
    slow_login: str = ""
    slow_is_over: threading.Event = field(default_factory=threading.Event)
    guesses: Guesses = field(default_factory=lambda: Guesses.alone(SystemEntropy()))

    def authenticate(self, login: str, password: str, address: str = "") -> Principal:
        self.asked.append(login)
        if login == self.slow_login:
            self.slow_is_over.wait(10)
        if password != PASSWORD or login != self.principal.login:
            raise BadCredentials
        return self.principal

    def is_known(self, login: str, password: str) -> bool:
        return False

    def refreshed(self, reading: object, principal: Principal) -> Principal:
        if self.revoked:
            raise BadCredentials
        return self.principal


class FakeClock:
    """Stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 9, 15, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def people() -> dict[Address, Bal]:
    boxes = [
        per(1, ZOE),
        per(2, PAUL, usual=USUAL),
        per(3, URGENCES, type=BalType.ORG),
    ]
    return {box.address: box for box in boxes}


def zoe(*boxes: Bal) -> Principal:
    return Principal(AccountId(1), str(ZOE), boxes or (per(1, ZOE), per(3, URGENCES)))
