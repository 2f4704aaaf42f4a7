"""What a box does by itself with a letter: its script, its automatic reply (RFC 5228, RFC 3834).

Decided before the commit of the letter and accepted in it, like reports: neither is ever without
the other. Whatever goes wrong here, the letter is delivered as if there were nothing to ask (D1).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from mssmtp import metrics
from mssmtp.awaiting import awaited
from mssmtp.errors import Damaged, MailError
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalType,
    Door,
    Envelope,
    EnvelopeId,
    Facts,
    Principal,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.message.dates import render_date
from mssmtp.message.headers import fields
from mssmtp.policy.facts import facts_to_bytes
from mssmtp.sieve import answering, interpreter
from mssmtp.sieve.auto_reply import AutoReply, Handover
from mssmtp.sieve.faults import BadScript
from mssmtp.sieve.letter import Box
from mssmtp.sieve.letter import Letter as Shown
from mssmtp.sieve.outcome import INBOX, TRASH, Filing, Forward, Outcome, Reply
from mssmtp.sieve.script import Script
from mssmtp.smtp import trace
from mssmtp.smtp.syntax import MailCommand
from mssmtp.smtp.transaction import Transaction
from mssmtp.smtp_lookup import Services, about
from mssmtp.smtp_reports import Reader, Ready
from mssmtp.storage import Lease, Letter, LocalDelivery, Reading, Transfer, Writing, deadlines
from mssmtp.storage.mailboxes import mailbox_name
from mssmtp.storage.scripts import AUTO_REPLY

logger = logging.getLogger(__name__)

MOST_FORWARDS = 16
"""Of one letter, by the scripts of all its recipients (ATT-28)."""
_TOLD_EVERY = timedelta(days=1)
_FAILED = "\0failed"
"""In the place of an address: its holder was told that his script fails."""
_BLOCK = 65_536
_REPLIED = Transfer("in", Door.INTERNAL, "", "accept: automatic reply", "")
_REDIRECTED = Transfer("in", Door.INTERNAL, "", "accept: redirected by a script", "")
_TOLD = Transfer("in", Door.INTERNAL, "", "accept: a script failed", "")


@dataclass(frozen=True, slots=True)
class Came:
    """A letter about to be delivered: `skip` octets of it are our Return-Path line."""

    envelope: Envelope
    letter: Letter
    skip: int
    local: list[LocalDelivery]
    boxes: Mapping[BalId, Bal]


@dataclass(frozen=True, slots=True)
class _Made:
    """A letter of ours; with `whom`, only if the box has not written to him lately."""

    ready: Ready
    transfer: Transfer
    kind: str
    bal: BalId
    whom: str = ""
    until: datetime | None = None


@dataclass(slots=True)
class Reacted:
    """Where the letter goes now, and what else goes with it."""

    local: list[LocalDelivery]
    made: list[_Made] = field(default_factory=list)
    missing: list[tuple[BalId, str]] = field(default_factory=list)

    def prepare(self, writing: Writing) -> None:
        """Before the letter is accepted: mailboxes that scripts make (RFC 5490 3.2)."""
        for bal, name in self.missing:
            try:
                writing.ensure_mailbox(bal, name)
            except MailError as error:  # it goes to INBOX instead
                logger.info("mailbox not made", extra={"bal": bal, "code": error.imap})

    def accept(self, writing: Writing, now: datetime) -> None:
        """In the job that commits the letter."""
        for one in self.made:
            if one.until is not None:
                if writing.was_answered(one.bal, one.whom, now):
                    continue
                writing.remember_answered(one.bal, one.whom, one.until)
            one.ready.accept(writing, one.transfer)

    def count(self) -> None:
        """For the metrics, when it is committed."""
        for one in self.made:
            metrics.reactions.labels(one.kind).inc()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the store has about a box that reacts."""

    script: bytes | None
    auto_reply: bytes | None
    box: Box
    handover: Handover | None = None


class _Refused(Exception):
    """A redirection that cannot be: said to the holder."""


class Reactions:
    """Of all boxes, at one door."""

    def __init__(self, services: Services) -> None:
        self._services, self._store = services, services.store

    async def of(self, came: Came) -> Reacted:
        """Never raises for a script's sake, and never takes longer than a client waits (CL-79)."""
        reacted = Reacted(list(came.local))
        for number, delivery in enumerate(came.local):
            bal = came.boxes[delivery.bal]
            if not bal.reacts:
                continue
            before = replace_lists(reacted)
            try:
                async with asyncio.timeout(deadlines.ANSWER_WITHIN_S):
                    await self._react(came, number, bal, reacted)
            except Exception:
                logger.exception("a box did not react", extra={"bal": bal.id})
                metrics.internal_errors.labels("sieve").inc()
                reacted = before
        return reacted

    async def late(
        self, came: tuple[Lease, Letter, list[LocalDelivery], dict[BalId, Bal]]
    ) -> Reacted:
        """Of a letter that waited in the queue: the same, when it comes into the box."""
        lease, letter, local, boxes = came
        return await self.of(Came(lease.envelope, letter, lease.skip, local, boxes))

    async def _react(self, came: Came, number: int, bal: Bal, reacted: Reacted) -> None:
        asked = await awaited(self._store.read(lambda r: _asked(r, bal)))
        delivery = came.local[number]
        shown = self._shown(came, delivery)
        outcome = await asyncio.to_thread(_outcome, asked, shown)
        reply = outcome.reply or self._automatic(asked, bal)
        if asked.handover is not None:
            reply = asked.handover.told_with(reply)
        kept, forwards, failure = await self._forwards(came, bal, delivery, outcome, reacted)
        reacted.local[number] = _filed(delivery, kept, asked.box, reacted)
        reacted.made += forwards
        if reply is not None and bal.type is not BalType.APP:
            reacted.made += await self._replies(bal, shown, reply, asked.box)
        if failure:
            logger.info("script failed", extra={"bal": bal.id, "envelope": came.envelope.id})
            reacted.made.append(await self._told(bal, failure))

    def _shown(self, came: Came, delivery: LocalDelivery) -> Shown:
        content = self._store.content(came.letter)
        return Shown(
            came.letter.scan,
            came.envelope.sender,
            delivery.recipient.typed or delivery.recipient.address,
            self._services.clock.now().astimezone(self._services.settings.operator.zone),
            content.read,
        )

    def _automatic(self, asked: _Asked, bal: Bal) -> Reply | None:
        """SEED-44, unless a script has said what to answer."""
        if asked.auto_reply is None:
            return None
        set_up = AutoReply.from_bytes(asked.auto_reply)
        return set_up.reply if set_up.is_on(self._services.clock.now()) else None

    # ------------------------------------------------------------ may it write to him?

    async def _judged(
        self, bal: Bal, to: Address, size: int, *, answers: bool
    ) -> tuple[RecipientFacts, str]:
        """What is known of `to`, and why the box may not write to him ("": it may).

        The same policy as if its holder wrote. Who is answered has written, in this very letter.
        """
        services = self._services
        transaction = Transaction(
            MailCommand(bal.address, size),
            Door.SUBMISSION,
            sender_is_local=True,
            list_date=services.trust.snapshot.list_date,
            own_unlisted=services.keys.unlisted,
            principal=Principal(AccountId(0), str(bal.address), (bal,)),
            acting=bal,
        )
        found = await awaited(self._store.read(about(services, transaction, to)))
        if answers:
            found = replace(found, has_written=True)
        facts = transaction.facts(Stage.RECIPIENT, services.clock.now(), [found])
        decision = services.engine.decide(facts)
        reply = decision.final.reply
        why = "" if decision.is_accepted else str(reply or decision.final.rule)
        return decision.facts.recipients[0], why

    # ------------------------------------------------------------ redirections

    async def _forwards(
        self, came: Came, bal: Bal, delivery: LocalDelivery, outcome: Outcome, reacted: Reacted
    ) -> tuple[tuple[Filing, ...], list[_Made], str]:
        """What is filed here, what goes elsewhere, and what the holder has to know.

        A redirection that cannot be leaves the letter in INBOX.
        """
        made: list[_Made] = []
        why = outcome.failure
        for forward in outcome.forwards:
            try:
                if sum(one.kind == "redirected" for one in (*reacted.made, *made)) >= MOST_FORWARDS:
                    raise _Refused("trop de redirections pour un seul message")
                made.append(await self._forward(came, bal, delivery, forward))
            except _Refused as refused:
                why = f"la redirection vers {forward.to} est refusée : {refused}"
        filings = outcome.filings
        if why and not any(filing.mailbox == INBOX for filing in filings):
            filings = (Filing(INBOX), *filings)
        return filings, made, why

    async def _forward(
        self, came: Came, bal: Bal, delivery: LocalDelivery, forward: Forward
    ) -> _Made:
        """To a box served here, directly into its INBOX: a redirected letter is not redirected
        again, and never leaves this operator. Raises _Refused."""
        size = came.letter.size_octets
        found, why = await self._judged(bal, forward.to, size, answers=False)
        target = found.bal if found.is_local_domain else None
        if why:
            raise _Refused(why)
        if target is None:
            raise _Refused(
                "cette boîte n'est pas chez nous ; un courriel redirigé ne sort pas d'ici"
            )
        if target.id == bal.id:
            raise _Refused("c'est cette boîte elle-même")
        letter = await asyncio.to_thread(self._copy, came, bal, forward)
        id, recipient = self._store.new_envelope_id(), Recipient(target.address)
        sender = None if came.envelope.sender is None else bal.address
        ways = self._services.gateways.ways(target.address.domain)
        facts = Facts(
            stage=Stage.CONTENT,
            door=Door.INTERNAL,
            now=self._services.clock.now(),
            sender=sender,
            acting=bal,
            recipients=(found,),
            size_octets=letter.size_octets,
        )
        copy = LocalDelivery(target.id, recipient, flags=delivery.flags)
        ready = Ready(
            envelope=Envelope(id, sender, (recipient,), self._services.clock.now()),
            letter=letter,
            local=(copy,) if ways.stores else (),
            queued=(recipient,) if ways.forwards else (),
            skip=len(trace.return_path(sender)),
            owner=bal.id,
            facts=facts_to_bytes(facts),
        )
        return _Made(ready, _REDIRECTED, "redirected", bal.id)

    def _copy(self, came: Came, bal: Bal, forward: Forward) -> Letter:
        """The letter under our lines. In a thread: it may be large.

        CL-72: who reads the copy says so to this box, hence its address in Return-Path too; a
        receipt that the author asked for is his, from the first reader.
        """
        sender = None if came.envelope.sender is None else bal.address
        header = came.letter.scan.header
        top = trace.return_path(sender) + f"X-Sieve-Redirected-From: <{bal.address}>\r\n".encode()
        top += f"Disposition-Notification-To: <{bal.address}>\r\n".encode()
        if not forward.asks_receipt:
            top = top.partition(b"Disposition-Notification-To")[0]
        writer = self._store.writer()
        try:
            writer.write(top + _without_receipt(header, came.skip))
            content, position = self._store.content(came.letter), len(header)
            while block := content.read(position, position + _BLOCK):
                writer.write(block)
                position += len(block)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    # ------------------------------------------------------------ letters of ours

    async def _replies(self, bal: Bal, shown: Shown, reply: Reply, box: Box) -> list[_Made]:
        """At most one: none when nobody wants it, or he had one lately (DEF-13, ATT-44)."""
        sender, now = shown.sender, shown.now
        own = (*box.addresses, shown.recipient)
        if sender is None or not answering.is_due(shown, reply, own):
            return []
        whom = f"{reply.handle}\0{sender.key}"
        if await awaited(self._store.read(lambda r: r.was_answered(bal.id, whom, now))):
            return []
        found, why = await self._judged(bal, sender, 0, answers=True)
        if why or (found.bal is not None and found.bal.type is BalType.APP):
            return []
        is_ours = self._services.serves(found.address.domain)
        reader = await Reader.find(self._store, found.address, is_ours=is_ours)
        if reader is None:
            return []
        id = self._store.new_envelope_id()
        written = answering.Written(id, bal.address, reader.address, now)
        made = id, now, answering.render(written, shown, reply)
        ready = await self._ready(reader, made, bal)
        until = now + answering.pause(reply)
        return [_Made(ready, _REPLIED, "answered", bal.id, whom, until)]

    async def _told(self, bal: Bal, why: str) -> _Made:
        """A letter to the holder: his script fails, and his mail is in INBOX. Once a day."""
        id, now = self._store.new_envelope_id(), self._services.clock.now()
        head = (
            f"From: MAILER-DAEMON@{bal.address.domain} (Mail Delivery System)\r\n"
            f"To: <{bal.address}>\r\nDate: {render_date(now)}\r\n"
            f"Message-ID: <{id}@{bal.address.domain}>\r\n"
            "Subject: =?utf-8?Q?Votre_r=C3=A8gle_de_tri_n=27a_pas_abouti?=\r\n"
            "Auto-Submitted: auto-generated\r\n"
        )
        text = (
            "Le script qui trie vos messages n'a pas abouti pour un message qui vient d'arriver :"
            f"\n\n    {why}\n\nLe message est dans votre boîte de réception. Corrigez le script,"
            " ou désactivez-le. Cet avis n'est envoyé qu'une fois par jour.\n"
        )
        made = id, now, head.encode() + answering.text_entity(text)
        ready = await self._ready(Reader(bal.address, bal), made, bal)
        return _Made(ready, _TOLD, "failed", bal.id, _FAILED, now + _TOLD_EVERY)

    async def _ready(
        self, reader: Reader, made: tuple[EnvelopeId, datetime, bytes], bal: Bal
    ) -> Ready:
        ways = self._services.gateways.ways(reader.address.domain)
        return await reader.ready(self._store, ways, made, bal.id)


def replace_lists(reacted: Reacted) -> Reacted:
    """As it is now: what is added later does not reach it."""
    return Reacted(list(reacted.local), list(reacted.made), list(reacted.missing))


def _asked(reading: Reading, bal: Bal) -> _Asked:
    script = reading.active_script(bal.id)
    mailboxes = reading.mailboxes(bal.id)
    uses = {each.special_use.lower(): each.name for each in mailboxes if each.special_use}
    own = (bal.address,) if bal.usual_address is None else (bal.address, bal.usual_address)
    return _Asked(
        None if script is None else script.octets,
        reading.preference("bal", bal.id, AUTO_REPLY),
        Box(own, frozenset(each.name for each in mailboxes), uses),
        _handover(reading, bal),
    )


def _handover(reading: Reading, bal: Bal) -> Handover | None:
    """Who looks after the box now; nobody, when that account has no box to be written to."""
    given = reading.handover(bal.id)
    own = None if given is None else reading.box_of(given.account)
    if given is None or given.ends_at is None or own is None:
        return None
    person = reading.person_by_account(given.account)
    name = "" if person is None else f"{person.first_name} {person.last_name}".strip()
    return Handover(given.id, name or "un collègue", own.address, given.ends_at)


@lru_cache(maxsize=64)
def _compiled(octets: bytes) -> Script:
    return Script.read(octets)


def _outcome(asked: _Asked, shown: Shown) -> Outcome:
    """Of the script; without one the letter is kept."""
    if asked.script is None:
        return Outcome((Filing(INBOX),))
    try:
        return interpreter.run(_compiled(asked.script), shown, asked.box)
    except (BadScript, Damaged) as error:
        return Outcome((Filing(INBOX),), failure=str(error))


def _filed(
    delivery: LocalDelivery, filings: tuple[Filing, ...], box: Box, reacted: Reacted
) -> LocalDelivery:
    """`delivery` into the mailboxes that were asked for.

    What is discarded, or only redirected, lies in Trash: a rule never makes a letter disappear
    before its holder could see that it does (D3).
    """
    if not filings:
        filings = (Filing(box.special_uses.get(TRASH, "Trash")),)
    copies: list[tuple[str, frozenset[str]]] = []
    for filing in filings:
        name = _place(filing.mailbox, delivery.mailbox)
        copies.append((name, delivery.flags | frozenset(filing.flags)))
        if filing.create and name not in box.mailboxes:
            reacted.missing.append((delivery.bal, name))
    (first, flags), *others = copies
    return replace(delivery, mailbox=first, flags=flags, also=tuple(others))


def _place(name: str, usual: str) -> str:
    """`usual` is where mail of this kind goes when nobody says otherwise."""
    if name == INBOX:
        return usual
    try:
        return mailbox_name(name)
    except MailError:
        return usual


def _without_receipt(header: bytes, skip: int) -> bytes:
    """The header section behind our Return-Path, without what asks for receipts."""
    kept, position = [], skip
    for each in fields(header):
        if each.name == "disposition-notification-to":
            kept.append(header[position : each.start])
            position = each.end
    return b"".join([*kept, header[position:]])
