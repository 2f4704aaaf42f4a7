"""One message from its first octet to its durable acknowledgement (D1, D2).

Content is handed to the store's writer in pieces, off the loop when there is much of it; the next
piece is received meanwhile. Nothing is visible before the one commit, and 250 comes after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from prometheus_client import Counter

from mssmtp import metrics
from mssmtp.antivirus import Look
from mssmtp.awaiting import awaited
from mssmtp.errors import INTERNAL, MailError, Reply, StorageUnavailable
from mssmtp.mail import (
    Address,
    BalId,
    Domain,
    Door,
    Envelope,
    EnvelopeId,
    Facts,
    Recipient,
)
from mssmtp.message.aliases import rewritten
from mssmtp.policy.engine import Decision
from mssmtp.policy.facts import facts_to_bytes
from mssmtp.reactions import Came, Reacted, Reactions
from mssmtp.smtp import content, replies
from mssmtp.smtp.content import Authors, HeaderGate
from mssmtp.smtp.products import product
from mssmtp.smtp.trace import Hop
from mssmtp.smtp.transaction import Refused, Transaction, judged
from mssmtp.smtp_going import Going
from mssmtp.smtp_lookup import Services, know_authors
from mssmtp.smtp_receipts import Incoming, failures, incoming
from mssmtp.smtp_reports import Ready, Reported, Reports
from mssmtp.storage import (
    INBOX,
    Letter,
    LetterWriter,
    LocalDelivery,
    Receipt,
    Transfer,
    Writing,
    deadlines,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

PIECE_OCTETS = 131_072
"""What is handed to the writer at once."""
_INLINE_OCTETS = 16_384
"""A message up to this size is scanned and sealed on the loop: a thread would cost more."""


@cache
def _counters(door: Door) -> tuple[Counter, Counter]:
    """Messages and octets of a door, looked up once: prometheus_client takes a lock for it."""
    return metrics.accepted.labels(door.value), metrics.accepted_octets.labels(door.value)


_MOST_PRODUCTS = 100
_products: dict[tuple[str, str], Counter] = {}


def _product(letter: Letter) -> Counter:
    """The counter of the software that wrote it (OP-62); a peer's words make no labels for ever."""
    label = product(letter.traced)
    if label not in _products and len(_products) >= _MOST_PRODUCTS:
        label = ("others", label[1])
    if label not in _products:
        _products[label] = metrics.products.labels(*label)
    return _products[label]


@dataclass(frozen=True, slots=True)
class Origin:
    """What is traced about the connection a message came on (OP-74)."""

    hop: Hop
    peer_address: str


class Intake:
    """Takes one message. `write` never raises for the message's sake: the refusal waits in
    `refusal` until the data has ended, because SMTP has no earlier moment for it."""

    def __init__(
        self,
        services: Services,
        transaction: Transaction,
        origin: Origin,
        executor: Executor,
    ) -> None:
        self._services = services
        self._transaction = transaction
        self._origin = origin
        self._executor = executor
        table = transaction.gateway
        self._gate = HeaderGate(
            services.settings.limits.header_octets, self._readdressed if table else None
        )
        self._authors = Authors()
        self._writer: LetterWriter | None = None
        self._pieces: list[bytes] = []
        self._waiting_octets = 0
        self._job: asyncio.Future[None] | None = None
        self._stuck: asyncio.Future[Any] | None = None
        self._look: Look | None = None
        self._incoming: Incoming | None = None
        self._skip = 0
        self.size_octets = 0
        self.refusal: MailError | None = None
        self.envelope_id: EnvelopeId = services.store.new_envelope_id()
        self._received_at = services.clock.now()

    # ------------------------------------------------------------ octets

    async def write(self, octets: bytes) -> None:
        """Take content as it comes; returns when there is room for more."""
        if self.refusal is not None:
            return
        self.size_octets += len(octets)
        await self._guarded(lambda: self._take(octets))

    async def _guarded(self, step: Callable[[], Awaitable[bool]]) -> None:
        try:
            if await step() and self._waiting_octets >= PIECE_OCTETS:
                await self._hand_over()
        except MailError as error:
            await self.refuse(error)
        except Exception:
            # Our bug must not bounce mail nor end the session in the middle of the data.
            logger.exception("taking content failed")
            metrics.internal_errors.labels("smtp_in").inc()
            await self.refuse(MailError(reply=INTERNAL))

    async def _take(self, octets: bytes) -> bool:
        was_open = self._gate.is_open
        passed = self._gate.feed(octets)
        if self._gate.is_open and not was_open:
            await self._start()
        await self._pass(passed)
        return self._gate.is_open

    async def _pass(self, octets: bytes) -> None:
        """To the writer, and to the scanner if there is one (OP-68)."""
        self._keep(octets)
        if self._incoming is not None:
            self._incoming.feed(octets)
        if self._look is not None:
            await self._look.feed(octets)

    async def _start(self) -> None:
        """The header section is known: write our lines above it."""
        header = self._gate.header
        if len(header) <= _INLINE_OCTETS:
            self._authors, extra = self._judge(header)
        else:
            # Tens of thousands of fields take a second to read (ATT-07): not on the loop.
            self._authors, extra = await self._run(self._judge, header)
        domains = self._services.settings.policy.patient_domains
        self._incoming = incoming(header, self._transaction, domains)
        sender = self._transaction.command.sender
        top = content.top(self._origin.hop, self.envelope_id, sender, self._received_at, extra)
        self._skip = top.skip
        self._writer = self._services.store.writer(may_be_sent=self._sender_box is not None)
        self._keep(top.octets)
        if self._services.antivirus is not None:
            self._look = await self._services.antivirus.begin()

    def _readdressed(self, header: bytes) -> bytes:
        """OP-63: the addresses of the hospital's table, in the fields that may be touched."""
        relayed = self._transaction.gateway
        if relayed is None:
            return header
        new, replaced = rewritten(header, relayed.aliases.outward)
        if replaced:
            told = {"envelope": self.envelope_id, "gateway": relayed.name, "fields": replaced}
            logger.info("aliases used", extra=told)
        return new

    def _judge(self, header: bytes) -> tuple[Authors, bytes]:
        """Who wrote it, and the lines it lacks. Raises RefusedContent."""
        content.check_header(header)
        authors = content.authors(header, self._services.trust.snapshot.lists)
        if self._transaction.door is not Door.SUBMISSION:
            return authors, b""
        sender = self._transaction.command.sender
        own = sender.domain if sender else self._services.settings.operator.domains[0]
        lines = content.missing_fields(header, self.envelope_id, own, self._received_at)
        authors, writer = content.on_behalf(header, authors, self._transaction.principal)
        return authors, writer + lines

    def _keep(self, octets: bytes) -> None:
        if octets:
            self._pieces.append(octets)
            self._waiting_octets += len(octets)

    def _piece(self) -> bytes:
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_octets = 0
        return piece

    async def _hand_over(self) -> None:
        """Give what waits to the writer's thread, once the piece before is done."""
        await self._settle()
        if self._writer is not None:
            self._job = self._run(self._writer.write, self._piece())

    async def _settle(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            await self._in_time(job)

    async def _in_time(self, job: asyncio.Future[T]) -> T:
        """What a thread does on the disk. Raises StorageUnavailable when it is held up (CL-79)."""
        done, _ = await asyncio.wait({job}, timeout=deadlines.ANSWER_WITHIN_S)
        if not done:
            self._stuck = job
            raise StorageUnavailable("the disk does not answer")
        return job.result()

    def _run(self, call: Callable[[bytes], T], octets: bytes) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, call, octets)

    async def refuse(self, error: MailError) -> None:
        """Remember why, drop everything that was taken."""
        self.refusal = self.refusal or error
        await self.abandon()

    async def abandon(self) -> None:
        """No trace remains; nothing to do when the message was finished."""
        self._pieces.clear()
        self._waiting_octets = 0
        self._look_away()
        job, self._job = self._job, None
        writer, self._writer = self._writer, None
        if job is not None:
            with suppress(Exception):  # the letter is given up, whatever became of its last job
                await self._in_time(job)
        if writer is None:
            return
        if self._stuck is not None:
            # Only when its thread comes back: nobody else may touch what it has in hand.
            self._stuck.add_done_callback(_aborting(self._executor, writer))
            return
        with suppress(StorageUnavailable):
            await self._in_time(self._run(lambda _: writer.abort(), b""))

    # ------------------------------------------------------------ the end

    async def finish(self) -> Reply:
        """Seal, decide, commit; the reply is final. Raises MailError."""
        if self.refusal is None:
            await self._guarded(self._take_rest)
        if self.refusal is not None:
            raise self.refusal
        if self._look is not None:
            self._look.end()
        letter = await self._letter()
        try:
            named = self._authors.from_addresses + self._authors.sender_addresses
            await know_authors(self._services, self._transaction, named)
            facts = await self._facts(letter)
            decision = judged(self._services.engine, facts)
        except Refused as refused:
            await self._reject(letter, refused)
            raise
        except BaseException:
            self._services.store.discard(letter)
            raise
        finally:
            self._look_away()
        return await self._commit(letter, decision)

    def _look_away(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            look.abort()

    async def _take_rest(self) -> bool:
        if not self._gate.is_open:
            rest = self._gate.close()
            await self._start()
            await self._pass(rest)
        return True

    async def _letter(self) -> Letter:
        await self._settle()
        writer, self._writer = self._writer, None
        assert writer is not None  # noqa: S101 - `_start` has run: the gate is open

        def seal(last: bytes) -> Letter:
            try:
                writer.write(last)
                return writer.finish()
            except BaseException:
                writer.abort()
                raise

        if self.size_octets <= _INLINE_OCTETS:
            return seal(self._piece())
        return await self._in_time(self._run(seal, self._piece()))

    async def _facts(self, letter: Letter) -> Facts:
        """Raises ScannerDown."""
        malware = "" if self._look is None else await self._look.verdict()
        facts = self._transaction.content_facts(
            self._services.clock.now(),
            self._authors,
            self.size_octets,
            letter.scan.attachments,
        )
        return replace(facts, malware=malware) if malware else facts

    async def _reject(self, letter: Letter, refused: Refused) -> None:
        """A refusal of the content leaves its trace and its event too (SEED-66)."""
        store, destinations = self._services.store, self._transaction.destinations
        store.discard(letter)
        envelope = self._envelope(tuple(one.recipient for one in destinations))
        transfer = self._transfer(refused.decision, refused.reply)
        facts = facts_to_bytes(refused.decision.facts)
        owner = self._owner()

        def job(writing: Writing) -> None:
            writing.reject(envelope, transfer, facts, owner=owner)
            self._trace(writing, refused.reply)

        await awaited(store.write(job))

    async def _commit(self, letter: Letter, decision: Decision) -> Reply:
        going = Going.of(self._services, self._transaction, decision, letter)
        reply = replies.accepted(self.envelope_id)
        # Those who are neither local nor queued count as returned (D3).
        envelope = self._envelope(tuple(one.recipient for one in self._transaction.destinations))
        transfer = self._transfer(decision, reply)
        facts = facts_to_bytes(decision.facts)
        about = Reported(envelope, self._gate.header, self._owner())
        reports = await self._reports(about, going.returned, going.local)
        failed = failures(going.returned, self._services.settings.policy.patient_domains)
        reacted = await self._reactions(envelope, letter, going)
        now = self._services.clock.now()
        inviting = self._services.inviting

        def job(writing: Writing) -> None:
            if going.place != INBOX:
                for one in going.local:
                    writing.ensure_mailbox(one.bal, going.place)
            reacted.prepare(writing)
            writing.accept(
                envelope,
                letter,
                local=reacted.local,
                queued=going.queued,
                skip=self._skip,
                owner=about.owner,
                transfer=transfer,
                facts=facts,
                invited=going.invited,
            )
            if going.invited:
                inviting.invite(writing, envelope, going.invited)
            if (box := self._sender_box) is not None:
                writing.file_sent(box, letter, envelope, going.flags_of_sent)
            for report in reports:
                report.accept(writing)
            reacted.accept(writing, now)
            self._tell(writing, going, failed)
            self._trace(writing, reply)

        # One commit for the letter, its copies, the queue, the events and the reports.
        try:
            await awaited(self._services.store.write(job, octets=letter.held_octets))
        except Exception:
            # Not when the wait was cut short (CancelledError): then it may have been committed.
            for kept_in_vain in (letter, *(report.letter for report in reports)):
                self._services.store.discard(kept_in_vain)
            raise
        reacted.count()
        self._accepted(letter, going)
        return reply

    async def _reactions(self, envelope: Envelope, letter: Letter, going: Going) -> Reacted:
        """What the boxes of its recipients do with it by themselves; most do nothing."""
        boxes = {one.bal.id: one.bal for one in self._transaction.destinations if one.bal}
        if not any(boxes[one.bal].reacts for one in going.local):
            return Reacted(going.local)
        came = Came(envelope, letter, self._skip, going.local, boxes)
        return await Reactions(self._services).of(came)

    def _accepted(self, letter: Letter, going: Going) -> None:
        self._count(letter)
        if self._incoming is not None:
            self._incoming.count()
        logger.info(
            "accepted",
            extra={
                "envelope": self.envelope_id,
                "door": self._transaction.door.value,
                "octets": self.size_octets,
                "local": len(going.local),
                "queued": len(going.queued),
                "returned": len(going.returned),
            },
        )

    def _trace(self, writing: Writing, reply: Reply) -> None:
        """Who wrote, from which box, what was answered (OP-72, DEF-12); not what, nor to whom."""
        principal, acting = self._transaction.principal, self._transaction.acting
        if principal is None or self._transaction.door is not Door.SUBMISSION:
            return
        box = "<>" if acting is None else str(acting.address)
        behalf = " (on behalf)" if acting is not None and principal.lent(acting.id) else ""
        count = len(self._transaction.destinations)
        asked = self._transaction.lowered_from
        urgency = f", priority {asked} not granted" if asked else ""
        writing.trace(
            "send",
            principal.login,
            f"{self.envelope_id} from {box}{behalf}, {count} recipients{urgency}",
            f"{reply.code} {reply.enhanced}",
            account=principal.account,
            bal=None if acting is None else acting.id,
        )

    def _tell(self, writing: Writing, going: Going, failed: list[Receipt]) -> None:
        """What is known of its recipients, or told by it of another letter (messages.md §11)."""
        if failed:
            writing.tell(self.envelope_id, failed)
        if self._incoming is not None:
            self._incoming.record(writing, going.boxes, self.envelope_id)

    async def _reports(
        self, about: Reported, returned: dict[Address, str], local: list[LocalDelivery]
    ) -> list[Ready]:
        services = self._services
        if self._incoming is not None:
            await asyncio.to_thread(self._incoming.read)
        reports = Reports(
            services.settings.operator,
            services.store,
            services.clock,
            services.serves,
            services.gateways.ways,
        )
        failed = await reports.failed(about, returned) if returned else []
        return failed + await reports.delivered(about, [one.recipient for one in local])

    def _count(self, letter: Letter) -> None:
        messages, octets = _counters(self._transaction.door)
        messages.inc()
        octets.inc(self.size_octets)
        _product(letter).inc()
        for attachment in letter.scan.attachments:
            for trait in attachment.traits:
                metrics.attachments.labels(trait.value).inc()

    # ------------------------------------------------------------ values of the commit

    def _envelope(self, recipients: tuple[Recipient, ...]) -> Envelope:
        command = self._transaction.command
        return Envelope(
            self.envelope_id,
            command.sender,
            recipients,
            self._received_at,
            command.envid,
            command.ret,
            command.require_tls,
            command.priority,
            command.hold_until,
            command.deliver_by,
        )

    @property
    def _sender_box(self) -> BalId | None:
        """Whose mailbox Sent gets a copy (CL-80)."""
        acting = self._transaction.acting
        if self._transaction.door is not Door.SUBMISSION or acting is None:
            return None
        return acting.id if acting.keeps_sent else None

    def _owner(self) -> BalId | Domain:
        """Whose key seals what no recipient's box seals."""
        acting, principal = self._transaction.acting, self._transaction.principal
        if acting is not None:
            return acting.id
        if principal is not None and principal.first is not None:
            return principal.first
        for one in self._transaction.destinations:
            if one.bal is not None:
                return one.recipient.address.domain
        return self._services.settings.operator.domains[0]

    def _transfer(self, decision: Decision, reply: Reply) -> Transfer:
        operator, hop = self._transaction.operator, self._origin.hop
        final = decision.final
        return Transfer(
            direction="in",
            door=self._transaction.door,
            peer_address=self._origin.peer_address,
            verdict=f"{final.action}: {final.rule}",
            reply=str(reply),
            tls_version=hop.tls_version,
            tls_cipher=hop.tls_cipher,
            peer_dn=operator.dn_text if operator else None,
            peer_serial=operator.serial if operator else None,
            peer_issuer=operator.issuer_text if operator else None,
            list_date=operator.list_date if operator else self._transaction.list_date,
            crl_number=operator.crl_number if operator else None,
        )


def _aborting(executor: Executor, writer: LetterWriter) -> Callable[[asyncio.Future[Any]], None]:
    def abort(job: asyncio.Future[Any]) -> None:
        if not job.cancelled():
            job.exception()  # nobody waits for it any more
        with suppress(RuntimeError):  # the door is closed: the next start sweeps
            executor.submit(writer.abort)

    return abort
