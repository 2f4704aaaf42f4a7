"""Clock, resolver and store of the relay's tests: plain memory, no threads, no sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from mssmtp.errors import Damaged, MailError
from mssmtp.mail import (
    Address,
    Bal,
    Change,
    Domain,
    Envelope,
    EnvelopeId,
    Recipient,
)
from mssmtp.outside import LookupFailed
from mssmtp.storage import Lease, LocalDelivery, Outcome, Settled, Step, Transfer, Want

T = TypeVar("T")


class FakeClock:
    """Stands still until it is told to go on."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, by: timedelta) -> None:
        self.at += by


class FakeResolver:
    """MX hosts by domain; every host has the address 127.0.0.1. An exception is raised as is."""

    def __init__(self, **hosts: tuple[str, ...]) -> None:
        self.hosts: dict[str, tuple[str, ...] | MailError] = dict(hosts)
        self.missing: set[str] = set()

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        found = self.hosts.get(name, (str(name),))
        if isinstance(found, MailError):
            raise found
        return found

    async def addresses(self, host: str) -> tuple[str, ...]:
        if host in self.missing:
            raise LookupFailed
        return ("127.0.0.1",)


@dataclass(slots=True)
class Row:
    """One waiting recipient."""

    envelope: Envelope
    recipient: Recipient
    octets: bytes
    skip: int
    queued_at: datetime
    next_attempt: datetime
    attempts: int = 0
    warned: bool = False
    leased_by: str | None = None
    lease_until: datetime | None = None
    reply: str = ""
    result: str = "queued"


@dataclass(frozen=True, slots=True)
class Sealed:
    """In the place of a Letter."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """In the place of a LetterWriter."""

    octets: bytearray

    def write(self, block: bytes) -> None:
        self.octets.extend(block)

    def finish(self) -> Sealed:
        return Sealed(bytes(self.octets))

    def abort(self) -> None:
        self.octets.clear()


@dataclass(frozen=True, slots=True)
class Report:
    """A message the relay accepted by itself."""

    envelope: Envelope
    octets: bytes
    local: tuple[LocalDelivery, ...]
    queued: tuple[Recipient, ...]


@dataclass(slots=True)
class FakeStore:
    """The part of the store that the relay uses."""

    clock: FakeClock
    bals: dict[Address, Bal] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    damaged: set[EnvelopeId] = field(default_factory=set)
    steps: dict[EnvelopeId, list[Step]] = field(default_factory=dict)
    discarded: int = 0
    heeded: Callable[[], None] = lambda: None
    """Called when somebody has looked at what a new list concerns."""
    recorded: asyncio.Event = field(default_factory=asyncio.Event)
    kept_waiting: list[Callable[[], None]] | None = None
    """Of a disk that does not answer: what it has been given and not done."""
    _numbers: int = 0
    _listeners: list[Callable[[tuple[Change, ...]], None]] = field(default_factory=list)

    def queue(self, envelope: Envelope, octets: bytes, *, tell: bool = True) -> None:
        """As a submission does: the stored letter has a Return-Path line that does not travel."""
        line = f"Return-Path: <{envelope.sender or ''}>\r\n".encode()
        now = self.clock.now()
        for each in envelope.recipients:
            self.rows.append(Row(envelope, each, line + octets, len(line), now, now))
        if tell:
            for listener in self._listeners:
                listener(())

    # the doors

    def read(self, query: Callable[[FakeStore], T]) -> Future[T]:
        return _settled(lambda: query(self))

    def write(self, job: Callable[[FakeStore], T]) -> Future[T]:
        if self.kept_waiting is None:
            return _settled(lambda: job(self))
        future: Future[T] = Future()
        self.kept_waiting.append(lambda: _settle(future, lambda: job(self)))
        return future

    def answer(self) -> None:
        """The disk answers again."""
        waiting, self.kept_waiting = self.kept_waiting or [], None
        for each in waiting:
            each()

    def subscribe(
        self, listener: Callable[[tuple[Change, ...]], None], hurries: Callable[[], bool]
    ) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def new_envelope_id(self) -> EnvelopeId:
        self._numbers += 1
        return EnvelopeId(f"01TEST{self._numbers:020d}")

    def seal(self, octets: bytes) -> Sealed:
        return Sealed(octets)

    def writer(self) -> Copy:
        return Copy(bytearray())

    def discard(self, letter: Sealed) -> None:
        self.discarded += 1

    # reading

    def bal(self, address: Address) -> Bal | None:
        return self.bals.get(address)

    def journey(self, envelope: EnvelopeId) -> tuple[Step, ...]:
        return tuple(self.steps.get(envelope, ()))

    def letter_octets(self, envelope: EnvelopeId, start: int = 0, stop: int | None = None) -> bytes:
        if envelope in self.damaged:
            raise Damaged
        row = next(row for row in self.rows if row.envelope.id == envelope)
        return row.octets[start:stop]

    def letters_octets(self, ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, bytes | MailError]:
        kept = {row.envelope.id: row.octets for row in self.rows}
        return {each: Damaged() if each in self.damaged else kept[each] for each in ids}

    def queue_depth(self) -> int:
        return self.results.count("queued")

    def queue_domains(self) -> frozenset[Domain]:
        return frozenset(r.recipient.address.domain for r in self.rows if r.result == "queued")

    def queue_due(self) -> tuple[tuple[Domain, datetime | None], ...]:
        due: dict[Domain, datetime] = {}
        for row in self.rows:
            if row.result == "queued":
                first = max(row.next_attempt, row.lease_until or row.next_attempt)
                name = row.recipient.address.domain
                due[name] = min(due.get(name, first), first)
        return tuple(due.items())

    # writing

    def heed_clock(self, now: datetime, duration: timedelta) -> int:
        return 0

    def give_back(self, leases: Sequence[Lease], worker: str) -> int:
        ours = {(lease.envelope.id, lease.until) for lease in leases}
        held = [row for row in self.rows if (row.envelope.id, row.lease_until) in ours]
        for row in held:
            row.leased_by = row.lease_until = None
        return len(held)

    def taken_over(self, worker: str, journal: object, until: datetime) -> tuple[Lease, ...]:
        return ()

    def take_back(self, worker: str, journal: object) -> int:
        return self.release(worker)

    def lease_for(
        self, now: datetime, wants: Sequence[Want], worker: str, *, duration: timedelta
    ) -> tuple[Lease, ...]:
        wanted = {want.domain: want.most for want in wants}
        for want in wants:
            if any(row.envelope.priority > 0 for row in self._due(now, want.domain)):
                wanted[want.domain] += want.express
        return self.lease(now, wanted, worker, duration=duration)

    def _due(self, now: datetime, domain: Domain | None = None) -> list[Row]:
        due = [row for row in self.rows if row.result == "queued" and row.next_attempt <= now]
        free = [row for row in due if row.lease_until is None or row.lease_until <= now]
        ours = [row for row in free if domain in (None, row.recipient.address.domain)]
        return sorted(ours, key=lambda row: -row.envelope.priority)

    def retry_domains(self, domains: Iterable[Domain], now: datetime) -> int:
        names = set(domains)
        found = [r for r in self.rows if r.recipient.address.domain in names]
        late = [r for r in found if r.result == "queued" and r.next_attempt > now]
        for row in late:
            row.next_attempt = now
        self.heeded()
        return len(late)

    def lease(
        self, now: datetime, wanted: dict[Domain, int], worker: str, *, duration: timedelta
    ) -> tuple[Lease, ...]:
        groups: dict[tuple[str, str, int], list[Row]] = {}
        for row in self._due(now):
            if wanted.get(row.recipient.address.domain, 0) <= 0:
                continue
            wanted[row.recipient.address.domain] -= 1
            row.leased_by, row.lease_until = worker, now + duration
            key = (row.envelope.id, row.recipient.address.domain, row.attempts)
            groups.setdefault(key, []).append(row)
        return tuple(_lease(rows, now + duration) for rows in groups.values())

    def record(
        self, outcomes: Sequence[Outcome], transfer: Transfer, *, held_until: datetime | None
    ) -> list[Outcome]:
        if self.failures:
            raise self.failures.pop(0)
        self.outcomes += outcomes
        self.transfers.append(transfer)
        for outcome in outcomes:
            row = self.row(outcome.envelope, outcome.recipient)
            assert row.result == "queued", "recorded twice"
            assert held_until == row.lease_until
            row.attempts += 1
            row.reply = outcome.reply
            row.leased_by = row.lease_until = None
            row.warned = row.warned or outcome.warned
            if outcome.next_attempt is not None:
                row.next_attempt = outcome.next_attempt
            else:
                row.result = outcome.result
        self.recorded.set()
        return list(outcomes)

    def record_all(self, settled: Sequence[Settled]) -> None:
        for one in settled:
            self.record([one.outcome], one.transfer, held_until=one.held_until)

    def accept(  # noqa: PLR0913 - the store's own signature
        self,
        envelope: Envelope,
        letter: Sealed,
        *,
        local: Sequence[LocalDelivery],
        queued: Sequence[Recipient],
        skip: int,
        owner: object,
        transfer: Transfer,
        facts: bytes,
    ) -> None:
        octets = letter.octets[skip:]
        self.reports.append(Report(envelope, octets, tuple(local), tuple(queued)))

    def release(self, worker: str) -> int:
        held = [row for row in self.rows if row.leased_by == worker]
        for row in held:
            row.leased_by = row.lease_until = None
        return len(held)

    # for assertions

    def row(self, envelope: EnvelopeId, recipient: Recipient) -> Row:
        return next(r for r in self.rows if (r.envelope.id, r.recipient) == (envelope, recipient))

    @property
    def results(self) -> list[str]:
        return [row.result for row in self.rows]

    async def until(self, condition: Callable[[FakeStore], bool]) -> None:
        """Wait for recorded outcomes until `condition` holds."""
        while not condition(self):
            self.recorded.clear()
            await self.recorded.wait()


def _settled(call: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    _settle(future, call)
    return future


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - handed on, as the store does
        future.set_exception(error)


def _lease(rows: list[Row], until: datetime) -> Lease:
    first = rows[0]
    return Lease(
        envelope=replace(first.envelope),
        domain=first.recipient.address.domain,
        recipients=tuple(row.recipient for row in rows),
        attempts=first.attempts,
        warned=first.warned,
        queued_at=first.queued_at,
        until=until,
        skip=first.skip,
        size_octets=len(first.octets),
        owner=Domain("hopital-a.test"),
        positions=tuple(range(len(rows))),
    )
