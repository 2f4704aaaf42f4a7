"""What an outbound attempt leaves behind: outcomes, the trace of the hop, and reports (DSN).

All of one attempt is one commit, so that a recipient is never both bounced and still queued (D3).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from mssmtp import dsn, metrics
from mssmtp.awaiting import Gathering, awaited
from mssmtp.config import OperatorSettings, QueueSettings
from mssmtp.errors import Damaged, MailError, StorageFull, StorageUnavailable
from mssmtp.gateways import NO_GATEWAYS, Ways
from mssmtp.mail import (
    Address,
    Domain,
    Door,
    EnvelopeId,
    Facts,
    Recipient,
    Stage,
)
from mssmtp.outside import Clock
from mssmtp.policy import Moves, facts_to_bytes
from mssmtp.smtp_client import PeerConnection
from mssmtp.smtp_reports import Reader, Ready, returned
from mssmtp.smtp_wire import PeerReply, TlsUnavailable, from_reply
from mssmtp.storage import (
    Lease,
    Letter,
    LocalDelivery,
    Outcome,
    Settled,
    Store,
    Transfer,
    Writing,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

NO_MOVES = Moves()
EXPIRED_STATUS = "5.4.7"
_HEADER_OCTETS = 262_144
_REPORTED = Transfer("in", Door.INTERNAL, "", "accept", "250 2.0.0 report")
_TLS_ALARM_AFTER = timedelta(hours=1)
_SETTLED_TOGETHER = 64
_COMMIT_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Coming(Protocol):
    """A letter on its way into boxes here, and what they do with it by themselves; the way there
    knows no service mail (DEF-04), so that it is no more than this to whoever records it."""

    @property
    def local(self) -> Sequence[LocalDelivery]:
        """Where it goes."""
        ...

    def prepare(self, writing: Writing) -> None:
        """Before it is accepted, in the job that does."""
        ...

    def accept(self, writing: Writing, now: datetime) -> None:
        """After it, in the same job."""
        ...

    def count(self) -> None:
        """When that is committed."""
        ...


@dataclass(slots=True)
class Attempt:
    """One lease, tried once: who got which reply, over which connection."""

    lease: Lease
    replies: dict[Recipient, PeerReply] = field(default_factory=dict)
    connection: PeerConnection | None = None
    failure: MailError | None = None
    final: PeerReply | None = None
    handed_on: bool = False
    """Forwarded to a domain's other operator, without the sender's wishes (OP-101)."""
    brought_home: tuple[Letter, tuple[Recipient, ...], Coming] | None = None
    """For boxes here, kept by the commit that records the outcome (`gateway undo`, RFC 4865): for
    whom, and what those boxes do with it."""

    @property
    def waiting(self) -> tuple[Recipient, ...]:
        """Who has no reply yet."""
        if len(self.replies) == len(self.lease.recipients):
            return ()
        return tuple(each for each in self.lease.recipients if each not in self.replies)

    def fails(self, error: MailError) -> None:
        """Whoever has no reply yet gets that of `error`."""
        self.failure = error
        self.all_get(from_reply(error.reply))

    def all_get(self, reply: PeerReply) -> None:
        """The same reply for every recipient that has none yet."""
        for recipient in self.lease.recipients:
            self.replies.setdefault(recipient, reply)

    @property
    def in_doubt(self) -> bool:
        """The final dot went out and no answer came back (D4)."""
        return self.connection is not None and self.connection.in_doubt

    @property
    def decisive(self) -> PeerReply:
        """The reply that stands for the attempt in the trace."""
        if self.final is not None:
            return self.final
        return next(iter(self.replies.values()))


def next_attempt(
    failures: int, failed_at: datetime, queued_at: datetime, settings: QueueSettings
) -> datetime | None:
    """When to try a recipient again; None: give up and send a DSN.

    OP-18: first after `first_retry`, doubling to `longest_retry`, until `give_up_after` from
    `queued_at`; the last attempt falls on that moment (RFC 5321 4.5.4.1). `failures` >= 1.
    """
    limit = queued_at + settings.give_up_after
    if failed_at >= limit:
        return None
    delay = settings.first_retry * (1 << min(failures - 1, 16))
    return min(failed_at + min(delay, settings.longest_retry), limit)


@dataclass(frozen=True, slots=True)
class _Notice:
    """A report to be delivered with the outcomes it is about."""

    concerned: tuple[Outcome, ...]
    ready: Ready
    coming: Coming | None = None

    def accept(self, writing: Writing, now: datetime) -> None:
        """In the job that writes those outcomes."""
        if self.coming is not None:
            self.coming.prepare(writing)
        self.ready.accept(writing, _REPORTED)
        if self.coming is not None:
            self.coming.accept(writing, now)


_Render = Callable[[dsn.Report], bytes]


class Recorder:
    """Turns attempts into one commit each. `contact` says whom to call about a domain.

    `sleep` is asyncio's, a parameter for tests.
    """

    def __init__(
        self,
        operator: OperatorSettings,
        queue: QueueSettings,
        store: Store,
        clock: Clock,
        *,
        contact: Callable[[Domain], dict[str, str]] = lambda _: {},
        moves: Moves = NO_MOVES,
        ways: Callable[[Domain], Ways] = NO_GATEWAYS.ways,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._operator = operator
        self._queue = queue
        self._store = store
        self._clock = clock
        self._contact = contact
        self._moves = moves
        self._ways = ways
        self._sleep = sleep
        self._settling = Gathering(self._settle, most=_SETTLED_TOGETHER)

    def hurry(self) -> None:
        """At the end: what is to be written is with the store when this returns."""
        self._settling.hurry()

    def _settle(self, several: list[Settled]) -> asyncio.Future[Sequence[None]]:
        def job(writing: Writing) -> list[None]:
            writing.record_all(several)
            return [None] * len(several)

        return awaited(self._store.write(job))

    async def _settled(self, attempt: Attempt, outcomes: list[Outcome]) -> bool:
        """Most letters: to one recipient, who has it, and nobody wants a report. They are written
        together with others that end at the same moment. False: as any other."""
        sender = attempt.lease.envelope.sender
        if len(outcomes) != 1 or outcomes[0].result != "delivered" or attempt.brought_home:
            return False
        if sender is not None and _asking(outcomes, sender, ("delivered",), "SUCCESS"):
            return False
        until = attempt.lease.until
        try:
            await self._settling.ask(Settled(outcomes[0], _transfer(attempt), until))
        except Exception as error:
            # Whose fault it was is not known: each is written by itself.
            logger.warning("outcomes not written together", extra={"kind": type(error).__name__})
            return False
        return True

    async def record(self, attempt: Attempt) -> None:
        """Write what became of every recipient, with the reports it causes.

        Without a store nothing can be written: the lease then ends by itself and the recipients
        are tried again, which may deliver twice but loses nobody.
        """
        now = self._clock.now()
        outcomes = [self._outcome(attempt, each, now) for each in attempt.lease.recipients]
        if any(each.result == "retry" for each in outcomes):
            is_due = self._delay_is_due(attempt, now)
            outcomes = [replace(each, warned=True) if is_due(each) else each for each in outcomes]
        self._tell(attempt, outcomes, now)
        if await self._settled(attempt, outcomes):
            return
        transfer = _transfer(attempt)
        notices: list[_Notice] = []

        def job(writing: Writing) -> None:
            counted = writing.record(outcomes, transfer, held_until=attempt.lease.until)
            for notice in notices:
                # Dropped meanwhile, or another worker's by now: it is not ours to report.
                if any(each in counted for each in notice.concerned):
                    notice.accept(writing, now)

        try:
            # A failure without its report would be a letter lost unseen: both or none.
            notices += await self._persevere(lambda: self._notices(attempt, outcomes, now), attempt)
            notices += self._homecoming(attempt, outcomes)
            # Shielded: what the peer took is written also when this wait is cut short (D4).
            await self._persevere(lambda: asyncio.shield(awaited(self._store.write(job))), attempt)
        except (StorageFull, StorageUnavailable):
            logger.error(
                "outcome lost, will be tried again", extra={"domain": attempt.lease.domain}
            )
            for notice in notices:
                self._store.discard(notice.ready.letter)
        else:
            if attempt.brought_home is not None:
                attempt.brought_home[2].count()

    def mark(self, attempt: Attempt) -> None:
        """Queue the outcomes without waiting, for a delivery that was cancelled after the dot (D4).

        The store writes in order: whoever waits for a later write waits for this one too.
        """
        now = self._clock.now()
        outcomes = [self._outcome(attempt, each, now) for each in attempt.lease.recipients]
        again = [each for each in outcomes if each.result == "retry"]
        self._tell(attempt, again, now)
        transfer = _transfer(attempt)
        until = attempt.lease.until
        self._store.write(lambda writing: writing.record(again, transfer, held_until=until))

    def _outcome(self, attempt: Attempt, recipient: Recipient, now: datetime) -> Outcome:
        lease, reply = attempt.lease, attempt.replies[recipient]
        name = lease.envelope.id
        if reply.is_positive:
            return Outcome(name, recipient, "delivered", str(reply))
        if reply.is_permanent:
            return Outcome(name, recipient, "failed", str(reply))
        again = next_attempt(lease.attempts + 1, now, lease.queued_at, self._queue)
        by = lease.envelope.deliver_by
        if again is not None and by is not None and now < by.deadline < again:
            again = by.deadline  # RFC 2852: then it comes back, or its sender is told
        until = self._moves.leaving_until(lease.domain, now)
        if again is None and until is not None:
            # OP-34: what an announced move holds is not given up before the end of the move.
            again = min(now + self._queue.longest_retry, until)
        if again is None:
            return Outcome(name, recipient, "expired", str(reply))
        return Outcome(name, recipient, "retry", str(reply), again)

    def _delay_is_due(self, attempt: Attempt, now: datetime) -> Callable[[Outcome], bool]:
        """Whether a delay report goes out for an outcome: once, after `warn_after` (OP-18)."""
        lease = attempt.lease
        by = lease.envelope.deliver_by
        late = now - lease.queued_at >= self._queue.warn_after
        late = late or (by is not None and by.deadline <= now)  # RFC 2852 4.1.4, mode N
        late = late and not lease.warned

        def is_due(outcome: Outcome) -> bool:
            wanted = dsn.is_due(lease.envelope.sender, outcome.recipient, "DELAY")
            return late and outcome.result == "retry" and wanted

        return is_due

    def _tell(self, attempt: Attempt, outcomes: list[Outcome], now: datetime) -> None:
        """Metrics and one log line: domains, hosts and codes, never an address."""
        lease = attempt.lease
        counts: dict[str, int] = {}
        for each in outcomes:
            counts[each.result] = counts.get(each.result, 0) + 1
        for result, count in counts.items():
            metrics.attempts.labels(result).inc(count)
        connection = attempt.connection
        logger.info(
            "attempt",
            extra={
                "envelope": lease.envelope.id,
                "domain": lease.domain,
                "attempt": lease.attempts + 1,
                "host": connection.target.host if connection else None,
                "tls": connection.tls_version if connection else None,
                "octets": lease.size_octets - lease.skip,
                "code": attempt.decisive.code,
                "status": attempt.decisive.enhanced,
                "in_doubt": attempt.in_doubt,
                **counts,
            },
        )
        unencrypted = isinstance(attempt.failure, TlsUnavailable)
        if unencrypted and now - lease.queued_at >= _TLS_ALARM_AFTER:
            facts = {"domain": lease.domain, **self._contact(lease.domain)}
            logger.error("alarm: no TLS for an hour", extra=facts)
        self._tell_whom_to_call(attempt, outcomes)

    def _tell_whom_to_call(self, attempt: Attempt, outcomes: list[Outcome]) -> None:
        """OP-80: for our people, when the sender is told of the delay, and when it was in vain."""
        for event, concerned in (
            ("delivery delayed", [each for each in outcomes if each.warned]),
            ("delivery given up", [each for each in outcomes if each.result == "expired"]),
        ):
            if concerned:
                facts = {
                    "envelope": attempt.lease.envelope.id,
                    "domain": attempt.lease.domain,
                    "recipients": len(concerned),
                    "code": attempt.decisive.code,
                    "status": attempt.decisive.enhanced,
                    **self._contact(attempt.lease.domain),
                }
                logger.warning(event, extra=facts)

    # ------------------------------------------------------------ reports

    async def _notices(
        self, attempt: Attempt, outcomes: list[Outcome], now: datetime
    ) -> list[_Notice]:
        """Raises StorageFull, StorageUnavailable; whatever else fails costs only its report."""
        sender = attempt.lease.envelope.sender
        if sender is None:  # ATT-44, RFC 5321 4.5.5: a report is never reported on
            return []
        until = attempt.lease.queued_at + self._queue.give_up_after
        relayed = attempt.connection is None or not attempt.connection.makes_reports
        relayed = relayed or attempt.handed_on
        causes: tuple[tuple[list[Outcome], _Render], ...] = (
            (_asking(outcomes, sender, ("failed", "expired"), "FAILURE"), dsn.failure),
            (
                [each for each in outcomes if each.warned],
                lambda report: dsn.delayed(report, retry_until=until),
            ),
            (_asking(outcomes, sender, ("delivered",), "SUCCESS") if relayed else [], dsn.relayed),
        )
        notices = []
        for concerned, render in causes:
            if not concerned:
                continue
            try:
                notice = await self._notice(attempt, sender, concerned, (render, now))
            except (StorageFull, StorageUnavailable):
                raise
            except Exception as error:
                # A report that cannot be made must not keep the outcome from being written.
                metrics.internal_errors.labels("dsn").inc()
                logger.exception("no report", extra={"kind": type(error).__name__})
            else:
                notices += [notice] if notice is not None else []
        return notices

    def _homecoming(self, attempt: Attempt, outcomes: list[Outcome]) -> list[_Notice]:
        """What was queued for a hospital whose gateway is gone is a letter of its boxes here."""
        if attempt.brought_home is None:
            return []
        letter, kept, coming = attempt.brought_home
        lease = attempt.lease
        facts = Facts(Stage.CONTENT, Door.INTERNAL, self._clock.now(), lease.envelope.sender)
        ready = Ready(
            envelope=replace(lease.envelope, id=self._store.new_envelope_id(), recipients=kept),
            letter=letter,
            local=tuple(coming.local),
            queued=(),
            skip=lease.skip,
            owner=lease.owner,
            facts=facts_to_bytes(facts),
        )
        concerned = tuple(each for each in outcomes if each.recipient in kept)
        return [_Notice(concerned, ready, coming)]

    async def _notice(
        self,
        attempt: Attempt,
        sender: Address,
        concerned: list[Outcome],
        how: tuple[_Render, datetime],
    ) -> _Notice | None:
        """A report, sealed and ready to be accepted; None when there is nobody to read it."""
        render, now = how
        lease = attempt.lease
        is_ours = self._is_ours(sender, now)
        reader = await Reader.find(self._store, sender, is_ours=is_ours)
        if reader is None:
            logger.warning("nobody to report to", extra={"envelope": lease.envelope.id})
            return None
        id = self._store.new_envelope_id()
        octets = render(await self._report(attempt, reader, (id, now), concerned))
        made, ways = (id, now, octets), self._ways(sender.domain)
        ready = await reader.ready(
            self._store, ways, made, lease.owner, require_tls=lease.envelope.require_tls
        )
        return _Notice(tuple(concerned), ready)

    def _is_ours(self, sender: Address, now: datetime) -> bool:
        """A report to a box that has moved goes where the box is (OP-101)."""
        settled = self._moves.is_settled(sender.domain, now)
        return settled and sender.domain in self._operator.domains

    async def _report(
        self,
        attempt: Attempt,
        reader: Reader,
        made: tuple[EnvelopeId, datetime],
        concerned: list[Outcome],
    ) -> dsn.Report:
        lease, (id, now) = attempt.lease, made
        return dsn.Report(
            id=id,
            host_name=self._operator.host_name,
            domain=reader.domain(self._operator),
            to=reader.address,
            envid=lease.envelope.envid or lease.envelope.id,
            arrived_at=lease.envelope.received_at,
            now=now,
            statuses=tuple(
                _status(attempt, each, self._contact(lease.domain).get("support"))
                for each in concerned
            ),
            original=await self._original(lease),
            ret=returned(lease.envelope),
            zone=self._operator.zone,
        )

    async def _original(self, lease: Lease) -> bytes:
        """What is returned of the letter: all of it when wished and small, else its beginning."""
        start, name = lease.skip, lease.envelope.id
        full = returned(lease.envelope) == "FULL" and lease.size_octets - start <= dsn.FULL_OCTETS
        stop = lease.size_octets if full else min(lease.size_octets, start + _HEADER_OCTETS)
        try:
            return await awaited(self._store.read(lambda r: r.letter_octets(name, start, stop)))
        except Damaged:
            return b""  # D10: the sender must hear of it all the same

    # ------------------------------------------------------------ commit

    async def _persevere(self, step: Callable[[], Awaitable[T]], attempt: Attempt) -> T:
        """`step`, again and again while the store is full or busy and the lease is still ours.

        Raises StorageFull or StorageUnavailable in the end; whatever else `step` raises at once.
        """
        for pause_s in _COMMIT_PAUSES_S:
            try:
                return await step()
            except (StorageFull, StorageUnavailable) as error:
                name = type(error).__name__
                logger.warning("outcome not written", extra={"kind": name, "pause_s": pause_s})
                await self._sleep(pause_s)
                if self._clock.now() >= attempt.lease.until:
                    raise
        return await step()


def _asking(
    outcomes: list[Outcome], sender: Address, results: tuple[str, ...], event: str
) -> list[Outcome]:
    return [
        each
        for each in outcomes
        if each.result in results and dsn.is_due(sender, each.recipient, event)
    ]


def _status(attempt: Attempt, outcome: Outcome, support: str | None) -> dsn.RecipientStatus:
    reply = attempt.replies[outcome.recipient]
    expired = outcome.result == "expired"
    return dsn.RecipientStatus(
        recipient=outcome.recipient,
        status=EXPIRED_STATUS if expired else reply.enhanced,
        diagnostic=str(reply),
        remote_mta=attempt.connection.target.host if attempt.connection else None,
        support=support,
    )


def _transfer(attempt: Attempt) -> Transfer:
    """The trace of the hop (OP-74); without a connection only the verdict."""
    lease, connection = attempt.lease, attempt.connection
    operator = connection.judged.get(lease.domain) if connection else None
    return Transfer(
        direction="out",
        door=Door.OPERATOR,
        peer_address=connection.target.address if connection else "",
        verdict=_verdict(attempt),
        reply=str(attempt.decisive),
        tls_version=connection.tls_version if connection else None,
        tls_cipher=connection.tls_cipher if connection else None,
        peer_dn=operator.dn_text if operator else None,
        peer_serial=operator.serial if operator else None,
        peer_issuer=operator.issuer_text if operator else None,
        list_date=operator.list_date if operator else None,
        crl_number=operator.crl_number if operator else None,
    )


def _verdict(attempt: Attempt) -> str:
    if attempt.in_doubt:
        return "in doubt"
    reply = attempt.decisive
    return "accept" if reply.is_positive else "reject" if reply.is_permanent else "defer"
