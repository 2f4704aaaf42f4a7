"""The SMTP doors: operators (port 25), submission (587 with STARTTLS, 465 over TLS), gateways.

A door owns its listening sockets, its threads and the count of its connections. What happens on
one connection is in `smtp_link` (wire), `smtp_machine` (verbs) and `smtp_reception` (content), what
becomes of one message in `smtp_intake`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor

from cryptography import x509

from mssmtp import metrics, processors
from mssmtp.cloud_relays import CloudGuard
from mssmtp.errors import Reply
from mssmtp.identity import MECHANISMS, OLD_FORMS, Mechanisms
from mssmtp.logins import Logins, offered
from mssmtp.machines import Machines, machines_of
from mssmtp.mail import Door, counted_as
from mssmtp.pki import CertificateRefused
from mssmtp.smtp import replies
from mssmtp.smtp.transaction import DoorRules
from mssmtp.smtp_appliance import ApplianceMachine
from mssmtp.smtp_gateway import GatewayMachine
from mssmtp.smtp_link import Link
from mssmtp.smtp_lookup import Services
from mssmtp.smtp_machine import Machine
from mssmtp.tls import ServerContext, listen, server_context
from mssmtp.trust import PeerRefused

__all__ = ["ApplianceDoor", "GatewayDoor", "OperatorDoor", "Services", "SubmissionDoor"]

logger = logging.getLogger(__name__)

_CONTENT_THREADS = 4


class _SmtpDoor:
    """What the doors share. `start` may be called once per socket."""

    machine: type[Machine] = Machine

    def __init__(self, services: Services, door: Door, context: ServerContext) -> None:
        self.services = services
        self.rules = DoorRules(door, services.domains, services.settings.limits)
        self.context = context
        self.starttls: ServerContext | None = context
        self.content_threads: Executor = ThreadPoolExecutor(
            _CONTENT_THREADS, f"smtp-{door}-content", processors.roam
        )
        self.mechanisms = self._mechanisms()
        self.logins = self._logins(f"smtp-{door}")
        self._servers: list[asyncio.AbstractServer] = []
        self._links: set[Link] = set()
        self._addresses: Counter[str] = Counter()
        self._stopping = False

    def _mechanisms(self) -> Mechanisms:
        return MECHANISMS

    def _logins(self, name: str) -> Logins:
        return Logins(self.services.authenticator, name)

    # ------------------------------------------------------------ connections

    def admit(self, link: Link, address: str) -> Reply | None:
        """Count a connection, unless there are too many in total or from this address (ATT-41)."""
        limits, peer = self.rules.limits, counted_as(address)
        door = self.rules.door.value
        metrics.connections.labels(door).inc()
        if (
            self._stopping
            or len(self._links) >= limits.connections
            or self._addresses[peer] >= limits.connections_per_address
        ):
            metrics.refused.labels(door, "421", "connections").inc()
            return replies.TOO_MANY_CONNECTIONS
        self._links.add(link)
        self._addresses[peer] += 1
        metrics.open_connections.labels(door).inc()
        return None

    def release(self, link: Link) -> None:
        """A counted connection is over."""
        self._links.discard(link)
        metrics.open_connections.labels(self.rules.door.value).dec()
        peer = counted_as(link.address)
        self._addresses[peer] -= 1
        if self._addresses[peer] <= 0:
            del self._addresses[peer]

    # ------------------------------------------------------------ listening

    async def start(self, sock: socket.socket) -> None:
        """Serve `sock`, bound already."""
        implicit = self.context if self.starttls is None else None
        server = await listen(
            sock, lambda: self.machine(self), implicit, on_failure=self._handshake_failed
        )
        self._servers.append(server)

    def _handshake_failed(self, reason: str) -> None:
        metrics.handshakes_failed.labels(self.rules.door.value).inc()
        logger.info("handshake failed", extra={"reason": reason})

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight, answer 421, close; after `grace_s` cut."""
        self._stopping = True
        for server in self._servers:
            server.close()
        tasks = {task for link in self._links if (task := link.task) is not None}
        for link in tuple(self._links):
            link.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            if late:
                logger.warning(
                    "connections cut at the end of the grace", extra={"count": len(late)}
                )
        for link in tuple(self._links):
            link.abort()
        if tasks:
            await asyncio.wait(tasks)
        self.content_threads.shutdown(wait=False)
        self.logins.close()


class OperatorDoor(_SmtpDoor):
    """Port 25: operators only, STARTTLS and a listed certificate, no AUTH (OP-01, OP-02, OP-10)."""

    def __init__(self, services: Services) -> None:
        settings, judge = services.settings.tls, self._refusal
        context = server_context(
            settings,
            services.keys.between_operators,
            ask_certificate=True,
            judge=judge if settings.refuse_in_handshake else None,
        )
        super().__init__(services, Door.OPERATOR, context)

    def _refusal(self, certificate: x509.Certificate) -> str | None:
        """Why the handshake of this peer fails, logged as the reply to MAIL would be; None: it does
        not. What may pass later, without list or CRL, is deferred by SMTP all the same."""
        try:
            self.services.trust.identify((certificate,), self.services.clock.now())
        except (CertificateRefused, PeerRefused) as error:
            if not error.reply.is_permanent:
                return None
            metrics.peers_refused.labels(error.reason).inc()
            told = {"reason": error.reason, "serial": error.serial, "where": "handshake"}
            logger.warning("peer refused", extra=told)
            return error.reason
        return None


class GatewayDoor(_SmtpDoor):
    """Hospitals' own mail servers: STARTTLS, a declared certificate from a declared address, no
    AUTH (DEF-19, MAC-04)."""

    machine = GatewayMachine

    def __init__(self, services: Services) -> None:
        context = server_context(
            services.settings.tls, services.keys.to_users, ask_certificate=True
        )
        super().__init__(services, Door.GATEWAY, context)


class SubmissionDoor(_SmtpDoor):
    """587 (STARTTLS) or, with `implicit_tls`, 465: accounts of ours (OP-81, CL-04)."""

    asks_certificate = False
    """CL-16: never of persons."""

    def __init__(self, services: Services, *, implicit_tls: bool = False) -> None:
        super().__init__(
            services,
            Door.SUBMISSION,
            server_context(
                services.settings.tls,
                services.keys.to_users,
                ask_certificate=self.asks_certificate,
            ),
        )
        if implicit_tls:
            self.starttls = None

    def _mechanisms(self) -> Mechanisms:
        return offered(self.services.settings)

    def _logins(self, name: str) -> Logins:
        services = self.services
        guard = CloudGuard.of(services.settings, services.store, services.clock)
        return Logins(services.authenticator, name, bearers=services.bearers, guard=guard)


class ApplianceDoor(_SmtpDoor):
    """Scanners and analysers by their machine records, with STARTTLS or, with `implicit_tls`, over
    TLS from the first octet. Closed unless the settings open it (MAC-02)."""

    machine = ApplianceMachine

    def __init__(self, services: Services, *, implicit_tls: bool = False) -> None:
        self.machines = Machines(
            machines_of(services.settings.machines),
            services.store,
            services.clock,
            services.entropy,
            services.authenticator.guesses,
        )
        context = server_context(
            services.settings.tls, services.keys.to_users, ask_certificate=True
        )
        super().__init__(services, Door.SUBMISSION, context)
        if implicit_tls:
            self.starttls = None

    def _mechanisms(self) -> Mechanisms:
        return OLD_FORMS

    def _logins(self, name: str) -> Logins:
        return Logins(self.machines, name)

    def admit(self, link: Link, address: str) -> Reply | None:
        """Nobody but a machine has anything to say here."""
        if not self.machines.are_at(address):
            metrics.refused.labels(self.rules.door.value, "554", "machine").inc()
            logger.info("no machine's address", extra={"peer": address})
            return replies.NO_MACHINE
        return super().admit(link, address)
