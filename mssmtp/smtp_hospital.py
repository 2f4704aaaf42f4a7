"""Mail for the boxes behind a hospital's gateway, on to the hospital's own servers (DEF-19).

The same queue, outcomes and reports as towards operators; a lane, connections and TLS
expectations of its own. The table of aliases is applied to what goes out; what is kept here, and
what a report says, stays as it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from mssmtp import pki
from mssmtp.awaiting import awaited
from mssmtp.errors import MailError, Reply
from mssmtp.gateways import Gateway, Gateways
from mssmtp.mail import Address, Bal, BalId, BalState, Domain, EnvelopeId, Operator, Recipient
from mssmtp.message.aliases import rewritten
from mssmtp.outside import Clock, Resolver
from mssmtp.pki import Anchors, Role
from mssmtp.policy import refusals
from mssmtp.revocation import judge_chain
from mssmtp.smtp_client import ClientSettings, Content, PeerConnection
from mssmtp.smtp_pool import Pool, Reach, Speaker, certificate_hosts
from mssmtp.smtp_record import Attempt, Coming
from mssmtp.smtp_transaction import BLOCK_OCTETS
from mssmtp.smtp_wire import (
    NotTransmissible,
    PeerFailed,
    PeerNotTrusted,
    PeerReply,
    from_reply,
)
from mssmtp.storage import Lease, Letter, LocalDelivery, Reading, Store, Writing
from mssmtp.tls_settings import OwnCertificate
from mssmtp.trust import PeerRefused, Trust

logger = logging.getLogger(__name__)

Came = tuple[Lease, Letter, list[LocalDelivery], dict[BalId, Bal]]
"""What was leased, its copy, where that goes, whose boxes these are."""
React = Callable[[Came], Awaitable[Coming]]
Unfit = Callable[[PeerConnection, Content], Reply | None]
_TOP_OCTETS = 65_536
"""Read at a time until the header section ends; it is bounded since its acceptance."""
_END = b"\r\n\r\n"
_AT_ITS_TIME = Reply(250, "2.1.5", "Remis dans la boîte à l'heure voulue par l'expéditeur.")
_IS_THERE = Reply(250, "2.1.5", "Déjà dans la boîte : la passerelle n'est plus en service.")
_BROUGHT_HOME = Reply(250, "2.1.5", "Remis dans la boîte : la passerelle n'est plus en service.")


@dataclass(frozen=True, slots=True)
class _Plain:
    """Into the boxes, which do nothing with it."""

    local: Sequence[LocalDelivery]

    def prepare(self, writing: Writing) -> None:
        """Nothing is lacking."""

    def accept(self, writing: Writing, now: datetime) -> None:
        """Nothing comes of it."""

    def count(self) -> None:
        """Nothing came of it."""


async def plainly(came: Came) -> Coming:
    """Where no box reacts."""
    _, _, local, _ = came
    return _Plain(local)


@dataclass(frozen=True, slots=True)
class Whose:
    """What connections to hospitals are made of."""

    speaker: Speaker
    resolver: Resolver
    trust: Trust
    clock: Clock
    idle_s: float


class Hospitals:
    """Delivers leases of domains behind a gateway. One event loop."""

    def __init__(
        self, gateways: Gateways, whose: Whose, store: Store, react: React = plainly
    ) -> None:
        """`react`: what boxes here do by themselves with what comes into them.

        Raises ConfigError when the authorities of a hospital cannot be read.
        """
        self._store, self._react = store, react
        self._gateways = gateways
        self._pools = {
            each.name: _pool(each, whose) for each in gateways.all if each.settings.hosts
        }

    def lane(self, domain: Domain) -> Hashable | None:
        """What a slow hospital fills: its own lane. None: no gateway takes this domain's mail."""
        gateway = self._gateways.of(domain)
        if gateway is None or not gateway.ways.forwards:
            return None
        return ("gateway", gateway.name)

    async def deliver(self, attempt: Attempt, content: Content, unfit: Unfit) -> None:
        """Hand one lease over; every recipient gets a reply. `unfit`: what this server could not
        do for this letter (SIZE, REQUIRETLS)."""
        gateway = self._gateways.of(attempt.lease.domain)
        if gateway is None:
            raise LookupError(attempt.lease.domain)
        pool = self._pools[gateway.name]
        try:
            connection = await pool.borrow(attempt.lease.domain)
        except MailError as error:
            attempt.fails(error)
            return
        attempt.connection = connection
        try:
            content = await self._readdressed(attempt.lease, content, gateway)
            reply = unfit(connection, content)
            if reply is not None:
                attempt.all_get(from_reply(reply))
            else:
                await self._hand_over(attempt, connection, (gateway, content))
        except BaseException:
            connection.abort()
            raise
        pool.give_back(connection)

    async def _hand_over(
        self, attempt: Attempt, connection: PeerConnection, what: tuple[Gateway, Content]
    ) -> None:
        (gateway, content), lease = what, attempt.lease
        inside = {_inside(each, gateway): each for each in lease.recipients}
        sender = lease.envelope.sender
        if sender is not None:
            sender = gateway.aliases.inward(sender) or sender
        left = tuple(inside)
        try:
            while left and connection.is_open:
                answers = await connection.send(sender, left, content)
                for known, reply in answers.by_recipient.items():
                    attempt.replies[inside[known]] = _outside(reply, known, inside[known])
                attempt.final = answers.final or attempt.final
                left = answers.left if answers.by_recipient else ()
        except NotTransmissible as error:
            attempt.all_get(from_reply(error.reply))
        except PeerFailed as error:
            attempt.fails(error)
        if attempt.waiting:
            attempt.fails(PeerFailed("takes too little at a time"))

    async def _readdressed(self, lease: Lease, content: Content, gateway: Gateway) -> Content:
        """The letter with the hospital's addresses in its header."""
        top, size = b"", content.size_octets
        while _END not in top and len(top) < size:
            top += await content.read(len(top), min(size, len(top) + _TOP_OCTETS))
        found = top.find(_END)
        end = found + len(_END) if found >= 0 else len(top)
        header, replaced = rewritten(top[:end], gateway.aliases.inward)
        if not replaced:
            return content
        told = {"envelope": lease.envelope.id, "gateway": gateway.name, "fields": replaced}
        logger.info("aliases used", extra=told)
        longer, stored = len(header) - end, content.read

        async def read(start: int, stop: int) -> bytes:
            head = header[start:stop]
            if stop <= len(header):
                return head
            return head + await stored(max(start, len(header)) - longer, stop - longer)

        return replace(content, size_octets=size + longer, read=read)

    async def bring_home(self, attempt: Attempt) -> None:
        """Into the boxes here: the gateway was undone while this waited, or its time has come
        (RFC 4865). What has become of a box meanwhile decides, as it does when mail comes in; one
        that had its copy when the letter came gets no second."""
        name = attempt.lease.envelope.id
        is_timed = attempt.lease.envelope.hold_until is not None
        journey = await awaited(self._store.read(lambda r: r.journey(name)))
        had = {step.recipient for step in journey if step.kind == "remise"}
        open_boxes = []
        for recipient, box in await self._boxes(attempt.lease):
            if str(recipient.address) in had:
                attempt.replies[recipient] = from_reply(_IS_THERE)
            elif box is None or box.state is BalState.CLOSED:
                attempt.replies[recipient] = from_reply(refusals.UNKNOWN.reply())
            elif box.state is BalState.SUSPENDED:
                attempt.replies[recipient] = from_reply(refusals.RECIPIENT_SUSPENDED.reply())
            else:
                attempt.replies[recipient] = from_reply(_AT_ITS_TIME if is_timed else _BROUGHT_HOME)
                open_boxes.append((recipient, box))
        await self._keep(attempt, open_boxes)

    async def keep_copies(self, attempt: Attempt) -> None:
        """What a sender wanted later (RFC 4865) goes into the box too when a gateway does both:
        with the first try, in the commit of its outcome. Raises MailError kinds."""
        lease = attempt.lease
        if lease.envelope.hold_until is None or lease.attempts:
            return
        if self._gateways.ways(lease.domain).stores:
            found = await self._boxes(lease)
            is_open = [(to, box) for to, box in found if box and box.state is BalState.ACTIVE]
            await self._keep(attempt, is_open)

    async def _boxes(self, lease: Lease) -> list[tuple[Recipient, Bal | None]]:
        wanted = [each.address for each in lease.recipients]
        boxes = await awaited(self._store.read(lambda r: [r.bal(each) for each in wanted]))
        return list(zip(lease.recipients, boxes, strict=True))

    async def _keep(self, attempt: Attempt, boxes: Sequence[tuple[Recipient, Bal | None]]) -> None:
        lease = attempt.lease
        marks = self._gateways.ways(lease.domain).marks
        local = [LocalDelivery(box.id, to, flags=marks) for to, box in boxes if box]
        if not local:
            return
        letter = await asyncio.to_thread(self._copy, lease)
        # It comes into the box now: a script or an absence sees it once, as at a door (DEF-13).
        whose = {box.id: box for _, box in boxes if box}
        coming = await self._react((lease, letter, local, whose))
        attempt.brought_home = letter, tuple(each.recipient for each in local), coming

    def _copy(self, lease: Lease) -> Letter:
        """The letter once more, under a key of its own. Raises MailError kinds."""
        writer, name = self._store.writer(), lease.envelope.id
        try:
            for start in range(0, lease.size_octets, BLOCK_OCTETS):
                stop = min(start + BLOCK_OCTETS, lease.size_octets)
                writer.write(self._store.read(partial(_octets, name, start, stop)).result())
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    async def knock(self, box: Address) -> PeerReply:
        """What the hospital says of mail for `box`, without a letter. Raises MailError."""
        gateway = self._gateways.of(box.domain)
        if gateway is None:
            raise LookupError(box.domain)
        pool = self._pools[gateway.name]
        connection = await pool.borrow(box.domain)
        try:
            return await connection.probe(None, _inside(Recipient(box), gateway))
        finally:
            pool.give_back(connection)

    async def sweep(self) -> None:
        """Close what was idle for too long, until cancelled."""
        await asyncio.gather(*(pool.sweep() for pool in self._pools.values()))

    async def close(self) -> None:
        """Say QUIT on every idle connection."""
        for pool in self._pools.values():
            await pool.close()


def _octets(name: EnvelopeId, start: int, stop: int, reading: Reading) -> bytes:
    return reading.letter_octets(name, start, stop)


def _inside(recipient: Recipient, gateway: Gateway) -> Recipient:
    """As the hospital knows it; the MSSanté address stays in ORCPT (RFC 3461 4.2)."""
    usual = gateway.aliases.inward(recipient.address)
    if usual is None:
        return recipient
    return replace(recipient, address=usual, orcpt=recipient.orcpt or f"rfc822;{recipient.address}")


def _outside(reply: PeerReply, known: Recipient, recipient: Recipient) -> PeerReply:
    """A report must not tell the sender the hospital's inner address."""
    if known.address == recipient.address:
        return reply
    return replace(reply, text=reply.text.replace(str(known.address), str(recipient.address)))


# ---------------------------------------------------------------- who answers there


def _pool(gateway: Gateway, whose: Whose) -> Pool:
    hosts = tuple(_host(text) for text in gateway.settings.hosts)
    names = frozenset(
        {gateway.settings.certificate_host.lower()}
        if gateway.settings.certificate_host
        else {host for host, _ in hosts}
    )
    anchors = gateway.settings.anchors_file
    return Pool(
        _Towards(whose.speaker),
        Reach(dict(hosts), whose.idle_s),
        _Hosts(tuple(host for host, _ in hosts), whose.resolver),
        HospitalTrust(whose.trust, names, anchors),
        whose.clock,
    )


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]").lower(), int(port)


@dataclass(frozen=True, slots=True)
class _Towards:
    """We present what we present to operators; what a hospital presents is no operator's."""

    speaker: Speaker

    def for_sender(self, domain: Domain | None) -> ClientSettings:
        return self.speaker.for_sender(None)

    def may_speak(self, own: OwnCertificate, domain: Domain | None) -> bool:
        return True

    def met(self, operator: Operator, chain: Sequence[x509.Certificate]) -> None:
        return


@dataclass(frozen=True, slots=True)
class _Hosts:
    """The hosts of the settings in the place of MX records."""

    hosts: tuple[str, ...]
    resolver: Resolver

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        return self.hosts

    async def addresses(self, host: str) -> tuple[str, ...]:
        is_literal = not host.strip("0123456789.") or ":" in host
        return (host,) if is_literal else await self.resolver.addresses(host)


class HospitalTrust(Trust):
    """Judges a hospital's server: chain and host name, by the list nothing (OP-12 is between
    operators). `anchors`: the hospital's own authorities; IGC-Santé with its CRLs without."""

    def __init__(self, trust: Trust, names: frozenset[str], anchors: Path | None) -> None:
        """Raises ConfigError."""
        super().__init__(trust.snapshot)
        self._space, self._names = trust, names
        self._anchors = Anchors.load(anchors) if anchors is not None else None

    def judge_server(
        self, chain: Sequence[x509.Certificate], recipient_domain: Domain, now: datetime
    ) -> Operator:
        """Raises CertificateRefused, PeerRefused: both deferrals, mail waits for the hospital."""
        snapshot = self._space.snapshot
        try:
            if self._anchors is None:
                judge_chain(chain, snapshot.anchors, snapshot.revocation, Role.SERVER, now)
            else:
                judge_chain_of(chain, self._anchors, now)
        except pki.CertificateRefused as error:
            raise pki.CertificateRefused(
                error.reason, error.serial, reply=PeerNotTrusted.smtp
            ) from error
        leaf = chain[0]
        if not certificate_hosts(leaf) & self._names:
            raise PeerRefused(
                "name not of domain", pki.serial_text(leaf), reply=PeerNotTrusted.smtp
            )
        return Operator(
            dn=pki.certificate_name(leaf.subject) or (),
            dn_text=pki.printed_name(leaf.subject),
            serial=pki.serial_text(leaf),
            issuer_text=pki.printed_name(leaf.issuer),
            domains=frozenset({recipient_domain}),
            list_date=snapshot.list_date or now,
            crl_number=None,
        )

    def contact(self, domain: Domain) -> dict[str, str]:
        """Nobody of the list answers for a hospital's own server."""
        return {}


def judge_chain_of(chain: Sequence[x509.Certificate], anchors: Anchors, now: datetime) -> None:
    """By authorities of the hospital's choice, which publish no CRL to us."""
    if not chain:
        raise pki.CertificateRefused("no certificate")
    try:
        pki.judge_certificate(chain[0], anchors, Role.SERVER, now)
    except pki.UNREADABLE as error:
        raise pki.CertificateRefused("chain", pki.serial_text(chain[0])) from error
