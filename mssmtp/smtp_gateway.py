"""The gateway door: what differs when a hospital's own mail server brings letters (DEF-19).

Its certificate and its address say who it is; the table of aliases is applied to the envelope here
and to the header as it arrives. XCLIENT and XFORWARD are heard from such a server alone (MAC-04).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import replace

from mssmtp import metrics
from mssmtp.awaiting import awaited
from mssmtp.errors import MailError
from mssmtp.gateways import Gateway, GatewayRefused
from mssmtp.mail import AccountId, Door, Principal, Stage
from mssmtp.pki import CertificateRefused
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import MailCommand, RcptCommand
from mssmtp.smtp.transaction import Relayed, Transaction, judged
from mssmtp.smtp.xclient import XCLIENT, XFORWARD, Told, attributes
from mssmtp.smtp_intake import Origin
from mssmtp.smtp_link import House
from mssmtp.smtp_lookup import Services
from mssmtp.smtp_machine import Machine, NotServed

logger = logging.getLogger(__name__)

NO_ACCOUNT = AccountId(0)
"""A gateway acts in boxes and logs in to none."""


async def from_gateway(services: Services, gateway: Gateway, command: MailCommand) -> Transaction:
    """MAIL from a hospital: the sender is a box behind its gateway (DEF-19). Raises Refused."""
    relayed = Relayed(gateway.name, gateway.domains, gateway.aliases)
    sender = command.sender
    acting = None
    if sender is not None and sender.domain in gateway.domains:
        box = sender
        acting = await awaited(services.store.read(lambda r: r.bal(box)))
    transaction = Transaction(
        command,
        Door.GATEWAY,
        sender_is_local=sender is not None and sender.domain in services.domains,
        list_date=services.trust.snapshot.list_date,
        own_unlisted=services.keys.unlisted,
        principal=Principal(NO_ACCOUNT, gateway.name, (acting,) if acting else ()),
        acting=acting,
        gateway=relayed,
    )
    judged(services.engine, transaction.facts(Stage.SENDER, services.clock.now()))
    return transaction


class GatewayMachine(Machine):
    """One connection of a hospital's server."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._told = Told()
        self._of_next = Told()  # XFORWARD is about one letter, XCLIENT about the session
        self._of_letter = Told()

    # ------------------------------------------------------------ who it is

    def _gateway(self) -> Gateway:
        """Asked anew at each MAIL: a certificate that was revoked meanwhile brings nothing more.

        Raises CertificateRefused, GatewayRefused, PeerRefused (OP-79).
        """
        services = self._services
        services.trust.demand_active(self._peer_chain())
        try:
            return services.gateways.identify(
                self._peer_chain(), self.address, services.trust.snapshot, services.clock.now()
            )
        except (CertificateRefused, GatewayRefused) as error:
            metrics.peers_refused.labels(error.reason).inc()
            told = {"reason": error.reason, "serial": error.serial, "where": "gateway"}
            logger.warning("gateway refused", extra=told)
            raise

    def _announced(self) -> list[str]:
        lines = super()._announced()
        if self._conversation.secured and self._may_tell():
            lines += [f"XCLIENT {' '.join(XCLIENT)}", f"XFORWARD {' '.join(XFORWARD)}"]
        return lines

    def _may_tell(self) -> bool:
        """MAC-04: address and certificate, and the settings allow it."""
        try:
            return self._gateway().settings.xclient
        except MailError:
            return False

    # ------------------------------------------------------------ verbs

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        if verb in (b"XCLIENT", b"XFORWARD"):
            return self._tell(verb, argument)
        return super()._perform(verb, argument)

    async def _tell(self, verb: bytes, argument: str | None) -> None:
        """Whom the server speaks for: for the trace and the log, never for a right."""
        if not self._conversation.secured or not self._may_tell():
            raise NotServed
        self._conversation.may_be_told()
        self._count_idle_command()
        known = XCLIENT if verb == b"XCLIENT" else XFORWARD
        told = attributes(argument, known)
        logger.info("told by the gateway", extra={"verb": verb.decode("ascii"), **told})
        if verb == b"XFORWARD":
            self._of_next = self._of_next.with_attributes(told)
            self.say(replies.NOOP)
            return
        # As Postfix does: the session begins anew, as if that client had connected.
        self._told, self._of_next = Told().with_attributes(told), Told()
        self._conversation.restart()
        name = self._services.settings.operator.host_name
        self._out += f"220 {name} ESMTP mssmtp\r\n".encode("ascii")

    async def _begin(self, command: MailCommand) -> Transaction:
        self._of_letter, self._of_next = self._of_next.or_of(self._told), Told()
        gateway = self._gateway()
        sender = command.sender
        mss = gateway.aliases.outward(sender) if sender is not None else None
        if mss is not None:
            _log_alias(gateway.name, "sender")
            command = replace(command, sender=mss)
        return await from_gateway(self._services, gateway, command)

    def _addressed(self, transaction: Transaction, command: RcptCommand) -> RcptCommand:
        """A colleague's usual address becomes the MSSanté one; what was typed stays in ORCPT."""
        if transaction.gateway is None:
            return command
        mss = transaction.gateway.aliases.outward(command.address)
        if mss is None:
            return command
        _log_alias(transaction.gateway.name, "recipient")
        orcpt = command.orcpt or f"rfc822;{command.address}"
        return replace(command, address=mss, orcpt=orcpt)

    async def _still_entitled(self, transaction: Transaction) -> None:
        again = await from_gateway(self._services, self._gateway(), transaction.command)
        transaction.principal, transaction.acting = again.principal, again.acting

    def _origin(self, transaction: Transaction) -> Origin:
        origin = super()._origin(transaction)
        hop = origin.hop
        if self._of_letter.helo:
            hop = replace(hop, greeting=self._of_letter.helo)
        if self._of_letter.address:
            hop = replace(hop, peer_address=self._of_letter.address)
        return Origin(hop, origin.peer_address)


def _log_alias(gateway: str, where: str) -> None:
    """DEF-19: the table's use is logged; whose address it was is in the sealed facts."""
    logger.info("alias used", extra={"gateway": gateway, "where": where})
