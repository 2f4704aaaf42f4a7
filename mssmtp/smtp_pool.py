"""Connections to other operators: found by MX, judged before use, kept for the next letter.

A connection leaves here only after its certificate was judged for the recipient domain, with the
list in force at that moment (OP-11, docs/trust.md, outbound steps 2 to 5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from mssmtp import metrics
from mssmtp.mail import DnKey, Domain, Operator
from mssmtp.outside import Clock, LookupFailed, Resolver
from mssmtp.pki import CertificateRefused, Role
from mssmtp.responder import Responder
from mssmtp.smtp_client import ClientSettings, PeerConnection, Target
from mssmtp.smtp_wire import PeerFailed, PeerNotTrusted
from mssmtp.tls_settings import OwnCertificate
from mssmtp.trust import PeerRefused, Snapshot, Trust

logger = logging.getLogger(__name__)

MAX_HOSTS = 6
MAX_ADDRESSES = 2
"""Of one host. RFC 5321 5.1 asks for at least two addresses in all; a hostile zone gets no more."""

SMTP_PORT = 25
_FRESH_S = 2.0
_HOLDS_S = 1.0
"""What was found and judged holds for the letters of one second, unless the list, the CRLs or what
is suspended change before."""
_WAYS = 4_096


@dataclass(frozen=True, slots=True)
class Reach:
    """How peers are found: MX host -> port for test spaces, how long an idle one is kept, and the
    names of our own certificates, which are no peer of ours."""

    ports: Mapping[str, int]
    idle_s: float
    own_names: frozenset[DnKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose server is looked for: one of `domain`, and none with these names; and as whom."""

    domain: Domain
    nobody_of: frozenset[DnKey]
    sender: Domain | None
    client: ClientSettings


@dataclass(frozen=True, slots=True)
class Way:
    """How the servers of a domain were found, and as whom we speak there; until then it holds."""

    hosts: tuple[str, ...]
    wanted: Wanted
    snapshot: Snapshot
    until: float


class Speaker(Protocol):
    """As whom we speak to other operators (OP-20)."""

    def for_sender(self, domain: Domain | None) -> ClientSettings:
        """With a certificate of ours listed for `domain`. Raises NotPresentable."""
        ...

    def may_speak(self, own: OwnCertificate, domain: Domain | None) -> bool:
        """May a connection opened with `own` carry mail of `domain` too?"""
        ...

    def met(self, operator: Operator, chain: Sequence[x509.Certificate]) -> None:
        """A server was judged good: its key is not ours (ATT-43)."""
        ...


class Pool:
    """Idle connections and the way to new ones. One event loop; no limit here, see `smtp_out`."""

    def __init__(
        self,
        speaker: Speaker,
        reach: Reach,
        resolver: Resolver,
        trust: Trust,
        clock: Clock,
        responder: Responder | None = None,
    ) -> None:
        self._speaker = speaker
        self._reach = reach
        self._resolver = resolver
        self._trust = trust
        self._clock = clock
        self._responder = responder
        self._idle: dict[str, list[tuple[float, PeerConnection]]] = {}
        self._ways: dict[tuple[Domain, Domain | None], Way] = {}

    async def borrow(
        self, domain: Domain, sender: Domain | None = None, *, beside_us: bool = False
    ) -> PeerConnection:
        """A connection accepted for `domain`, alone until it is given back.

        What we present on it is listed for the `sender` domain (OP-20).
        `beside_us`: the domain is listed for us too and moves to its other operator (OP-101). Then
        our own host is no host of it, and those the list names are tried behind the MX hosts.

        Raises PeerFailed with the worst reason when no host will do, LookupFailed,
        NoMailAccepted, NotPresentable, and PeerRefused (550) when the domain has left the list.
        """
        way = None if beside_us else self._way(domain, sender)
        if way is not None and (kept := await self._reuse(way.wanted, way.hosts)) is not None:
            return kept
        client = self._speaker.for_sender(sender)
        if beside_us:
            hosts = await self._others(domain, client.host_name)
        else:
            hosts = await self._resolver.exchangers(domain)
        nobody_of = self._reach.own_names if beside_us else frozenset()
        wanted = Wanted(domain, nobody_of, sender, client)
        if not beside_us:
            self._keep_way(hosts, wanted)
        if way is None or way.hosts != hosts:
            kept = await self._reuse(wanted, hosts)
            if kept is not None:
                return kept
        worst: PeerFailed | LookupFailed | None = None
        for host in hosts[:MAX_HOSTS]:
            try:
                addresses = await self._resolver.addresses(host)
            except LookupFailed as error:
                worst = worst or error
                continue
            for address in addresses[:MAX_ADDRESSES]:
                target = Target(host, address, self._reach.ports.get(host, SMTP_PORT))
                try:
                    return await self._open(target, wanted)
                except PeerFailed as error:
                    worst = _worse(worst, error)
                    _note(target, domain, error)
        raise worst or LookupFailed

    def _way(self, domain: Domain, sender: Domain | None) -> Way | None:
        """How the letter before it went a moment ago, under the same list."""
        way = self._ways.get((domain, sender))
        if way is None or way.snapshot is not self._trust.snapshot:
            return None
        return way if self._clock.monotonic() < way.until else None

    def _keep_way(self, hosts: tuple[str, ...], wanted: Wanted) -> None:
        if len(self._ways) >= _WAYS:
            self._ways.clear()
        until = self._clock.monotonic() + _HOLDS_S
        way = Way(hosts, wanted, self._trust.snapshot, until)
        self._ways[wanted.domain, wanted.sender] = way

    async def _others(self, domain: Domain, us: Domain) -> tuple[str, ...]:
        """Hosts of the other operator of a domain that leaves us: while DNS still leads to us, the
        CN of its listed name is the host. Each is judged like any other."""
        try:
            found = await self._resolver.exchangers(domain)
        except LookupFailed:
            found = ()
        names = self._trust.snapshot.listed.names(domain) - self._reach.own_names
        listed = (rdn.value for name in sorted(names) for rdn in name if rdn.type == "CN")
        hosts = dict.fromkeys((*found, *(host for host in listed if "." in host)))
        return tuple(host for host in hosts if host != us)

    def give_back(self, connection: PeerConnection) -> None:
        """Keep `connection` for the next letter, if it can still be used."""
        if connection.is_open:
            kept = self._idle.setdefault(connection.target.host, [])
            kept.append((self._clock.monotonic(), connection))

    async def sweep(self) -> None:
        """Close what was idle for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._reach.idle_s / 2)
            limit = self._clock.monotonic() - self._reach.idle_s
            old = []
            for host, pairs in list(self._idle.items()):
                kept = [pair for pair in pairs if _is_good(pair, limit)]
                old += [pair[1] for pair in pairs if not _is_good(pair, limit)]
                self._idle[host] = kept
                if not kept:
                    del self._idle[host]
            await _end(old)

    async def close(self) -> None:
        """Say QUIT on every idle connection."""
        idle, self._idle = self._idle, {}
        await _end([each for pairs in idle.values() for _, each in pairs])

    async def _reuse(self, wanted: Wanted, hosts: tuple[str, ...]) -> PeerConnection | None:
        """An idle connection to one of `hosts`, judged for the domain too, that still lives."""
        for since, connection in self._take(hosts, wanted.sender):
            try:
                await self._settled(connection, wanted)
            except PeerNotTrusted as error:
                if isinstance(error.__cause__, CertificateRefused):
                    # Ended or revoked since: good for nobody any more (ATT-25).
                    await connection.quit()
                    continue
                # Another domain of the same host: good for others, not for this one.
                self.give_back(connection)
                return None
            except PeerRefused:
                self.give_back(connection)
                raise
            # Given back a moment ago it is not asked whether it lives: the letter will tell.
            is_fresh = self._clock.monotonic() - since < _FRESH_S
            if connection.is_open and is_fresh and not connection.is_midway:
                return connection
            if await connection.is_alive():
                return connection
            await connection.quit()
        return None

    def _take(
        self, hosts: tuple[str, ...], sender: Domain | None
    ) -> Iterator[tuple[float, PeerConnection]]:
        """Those to the first of `hosts` first; of one host who has waited longest."""
        for host in hosts:
            while (pair := self._first(host, sender)) is not None:
                yield pair

    def _first(self, host: str, sender: Domain | None) -> tuple[float, PeerConnection] | None:
        # By certificate of ours: many connections share one.
        speaks: dict[OwnCertificate, bool] = {}
        pairs = self._idle.get(host, [])
        for number, (_, each) in enumerate(pairs):
            if each.is_spent:
                continue
            if (own := each.own) is not None and own not in speaks:
                speaks[own] = self._speaker.may_speak(own, sender)
            if own is None or speaks[own]:
                return pairs.pop(number)
        return None

    async def _open(self, target: Target, wanted: Wanted) -> PeerConnection:
        metrics.connections.labels("relay").inc()
        connection = await PeerConnection.open(target, wanted.client)
        try:
            await self._settled(connection, wanted)
        except BaseException:
            connection.abort()  # nothing about the message was said
            raise
        _note_name(connection)
        return connection

    async def _settled(self, connection: PeerConnection, wanted: Wanted) -> None:
        """`_judge`, once the responder was asked if nothing else says whether it is revoked."""
        trust, at = self._trust, self._clock.monotonic()
        said = connection.settled.get(wanted.domain)
        if said is not None and not wanted.nobody_of:
            snapshot, suspended, until = said
            if snapshot is trust.snapshot and suspended is trust.suspended and at < until:
                return
        if self._responder is not None:
            self._responder.take(connection.stapled, connection.chain)
            connection.stapled = b""  # once is enough
            await self._responder.settle(connection.chain, Role.SERVER)
        snapshot, suspended = trust.snapshot, trust.suspended
        self._judge(connection, wanted)
        connection.settled[wanted.domain] = snapshot, suspended, at + _HOLDS_S

    def _judge(self, connection: PeerConnection, wanted: Wanted) -> None:
        """Raises PeerNotTrusted (another host may do) or PeerRefused (domain not in the list)."""
        domain = wanted.domain
        try:
            operator = self._trust.judge_server(connection.chain, domain, self._clock.now())
        except (CertificateRefused, PeerRefused) as error:
            metrics.peers_refused.labels(error.reason).inc()
            if error.reply.is_permanent:
                raise
            logger.error(
                "alarm: server certificate refused",
                extra={
                    "host": connection.target.host,
                    "domain": domain,
                    "reason": error.reason,
                    "serial": error.serial,
                    **self._trust.contact(domain),
                },
            )
            raise PeerNotTrusted(error.reason, reply=error.reply) from error
        if operator.dn in wanted.nobody_of:
            raise PeerNotTrusted("our own server")  # the letter would come back to us
        self._speaker.met(operator, connection.chain)
        connection.judged[domain] = operator


def _is_good(pair: tuple[float, PeerConnection], limit: float) -> bool:
    """Of what is kept: used after `limit`, and still of use."""
    since, connection = pair
    return since > limit and connection.is_open and not connection.is_spent


async def _end(connections: list[PeerConnection]) -> None:
    """Say QUIT on each; the trouble of one is neither another's nor the relay's."""
    ends = await asyncio.gather(*(each.quit() for each in connections), return_exceptions=True)
    for error in ends:
        if error is not None:
            logger.warning("connection not ended", exc_info=error)


def _worse(known: PeerFailed | LookupFailed | None, new: PeerFailed) -> PeerFailed:
    """Of the failures of several hosts the one the administrator must see."""
    return known if isinstance(known, PeerFailed) and known.rank >= new.rank else new


def _note(target: Target, domain: Domain, error: PeerFailed) -> None:
    logger.warning(
        "host failed",
        extra={
            "host": target.host,
            "address": target.address,
            "port": target.port,
            "domain": domain,
            "kind": type(error).__name__,
            "reason": str(error),
            "status": error.reply.enhanced,
        },
    )


def _note_name(connection: PeerConnection) -> None:
    """OP-12: a host name the certificate does not carry is logged with its names, and accepted."""
    host, names = connection.target.host, certificate_hosts(connection.chain[0])
    if host not in names:
        told = {"host": host, "certificate_names": sorted(names)}
        logger.info("host name is not in the certificate", extra=told)


def certificate_hosts(leaf: x509.Certificate) -> frozenset[str]:
    """Host names of a certificate: DNS names and CN, in lower case."""
    names = {str(each.value).lower() for each in leaf.subject if each.oid == NameOID.COMMON_NAME}
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset(names)
    return frozenset(names | {name.lower() for name in san.get_values_for_type(x509.DNSName)})
