"""Reports that the doors owe a sender at once: what was delivered here, and what was left out.

Made before the commit of the letter and accepted in it, so that neither is ever without the other
(D3). Reports of the way out are `smtp_record`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mssmtp import dsn
from mssmtp.awaiting import awaited
from mssmtp.config import OperatorSettings
from mssmtp.gateways import NO_GATEWAYS, Ways
from mssmtp.mail import (
    Address,
    Bal,
    Domain,
    Door,
    Envelope,
    EnvelopeId,
    Facts,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.outside import Clock
from mssmtp.policy.facts import facts_to_bytes
from mssmtp.smtp import trace
from mssmtp.storage import Letter, LocalDelivery, Owner, Store, Transfer, Writing

_WRITTEN = Transfer("in", Door.INTERNAL, "", "accept: report", "")


@dataclass(frozen=True, slots=True)
class Reported:
    """The letter a report is about: its envelope, its header section, whose key seals it."""

    envelope: Envelope
    header: bytes
    owner: Owner


@dataclass(frozen=True, slots=True)
class Ready:
    """A sealed report, for a box of ours or for the queue."""

    envelope: Envelope
    letter: Letter
    local: tuple[LocalDelivery, ...]
    queued: tuple[Recipient, ...]
    skip: int
    owner: Owner
    facts: bytes

    def accept(self, writing: Writing, transfer: Transfer = _WRITTEN) -> None:
        """In the job that commits what it is about."""
        writing.accept(
            self.envelope,
            self.letter,
            local=self.local,
            queued=self.queued,
            skip=self.skip,
            owner=self.owner,
            transfer=transfer,
            facts=self.facts,
        )


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a report: the sender of what it is about, in a box here or at another operator."""

    address: Address
    bal: Bal | None

    @classmethod
    async def find(cls, store: Store, sender: Address, *, is_ours: bool) -> Reader | None:
        """None: the box is gone. One that was closed keeps the report for whoever looks after it
        (DEF-23) as long as its mail is kept (OP-49)."""
        if not is_ours:
            return cls(sender, None)
        bal = await awaited(store.read(lambda r: r.bal(sender)))
        return None if bal is None else cls(sender, bal)

    def domain(self, operator: OperatorSettings) -> Domain:
        """Whose MAILER-DAEMON writes."""
        return operator.domains[0] if self.bal is None else self.address.domain

    async def ready(
        self,
        store: Store,
        ways: Ways,
        made: tuple[EnvelopeId, datetime, bytes],
        owner: Owner,
        *,
        require_tls: bool = False,
    ) -> Ready:
        """Seal a report, `made` as its id, its time and its octets. `owner` is that of the letter
        it is about: its key seals what goes elsewhere. `require_tls`: as of that letter (RFC 8689
        5)."""
        id, now, octets = made
        bal, recipient, first = self.bal, Recipient(self.address), trace.return_path(None)
        facts = Facts(
            stage=Stage.CONTENT,
            door=Door.INTERNAL,
            now=now,
            sender=None,
            recipients=(RecipientFacts(self.address, bal is not None, is_listed=True, bal=bal),),
            size_octets=len(octets),
        )
        return Ready(
            envelope=Envelope(id, None, (recipient,), now, require_tls=require_tls),
            letter=await asyncio.to_thread(store.seal, first + octets),
            local=(LocalDelivery(bal.id, recipient),) if bal is not None and ways.stores else (),
            queued=(recipient,) if bal is None or ways.forwards else (),
            skip=len(first),
            owner=bal.id if bal is not None else owner,
            facts=facts_to_bytes(facts),
        )


class Reports:
    """Makes them. `serves`: whether the boxes of a domain are here now (OP-101); `ways`: whether
    their mail goes on to a hospital's own servers (DEF-19)."""

    def __init__(
        self,
        operator: OperatorSettings,
        store: Store,
        clock: Clock,
        serves: Callable[[Domain], bool],
        ways: Callable[[Domain], Ways] = NO_GATEWAYS.ways,
    ) -> None:
        self._operator, self._store, self._clock, self._serves = operator, store, clock, serves
        self._ways = ways

    async def failed(self, about: Reported, replies: dict[Address, str]) -> list[Ready]:
        """DEF-18: about recipients of an accepted letter that it does not go to, and why."""
        return await self._made(
            about,
            "FAILURE",
            [
                dsn.RecipientStatus(each, _status(reply), reply)
                for each in about.envelope.recipients
                if (reply := replies.get(each.address)) is not None
            ],
        )

    async def delivered(self, about: Reported, recipients: Sequence[Recipient]) -> list[Ready]:
        """RFC 3461 5.2.3: about those who have it in their box now."""
        statuses = [dsn.RecipientStatus(each, "2.0.0", "") for each in recipients]
        return await self._made(about, "SUCCESS", statuses)

    async def _made(
        self, about: Reported, event: str, statuses: Sequence[dsn.RecipientStatus]
    ) -> list[Ready]:
        """At most one: none when nobody asked for it, or nobody is there to read it."""
        sender = about.envelope.sender
        due = tuple(each for each in statuses if dsn.is_due(sender, each.recipient, event))
        if sender is None or not due:
            return []
        is_ours = self._serves(sender.domain)
        reader = await Reader.find(self._store, sender, is_ours=is_ours)
        if reader is None:
            return []
        report = self._report(about, reader, due)
        octets = (dsn.failure if event == "FAILURE" else dsn.delivered)(report)
        made, ways = (EnvelopeId(report.id), report.now, octets), self._ways(sender.domain)
        needs_tls = about.envelope.require_tls
        ready = reader.ready(self._store, ways, made, about.owner, require_tls=needs_tls)
        return [await ready]

    def _report(
        self, about: Reported, reader: Reader, due: tuple[dsn.RecipientStatus, ...]
    ) -> dsn.Report:
        return dsn.Report(
            id=self._store.new_envelope_id(),
            host_name=self._operator.host_name,
            domain=reader.domain(self._operator),
            to=reader.address,
            envid=about.envelope.envid or about.envelope.id,
            arrived_at=about.envelope.received_at,
            now=self._clock.now(),
            statuses=due,
            original=about.header,
            ret=returned(about.envelope),
        )


def returned(envelope: Envelope) -> str | None:
    """RET as the sender wished it, but of a letter that had to be under TLS all the way only the
    header section: a report may have to go where nobody promises that (RFC 8689 5)."""
    return "HDRS" if envelope.require_tls else envelope.ret


def _status(diagnostic: str) -> str:
    """The enhanced code of a reply of ours."""
    words = diagnostic.split(" ", 2)
    return words[1] if len(words) > 1 and words[1].count(".") == 2 else "5.0.0"
