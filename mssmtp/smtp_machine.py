"""The verbs of one SMTP connection: what each command looks up, decides and answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import cast

from cryptography import x509

from mssmtp import metrics
from mssmtp.errors import BadSyntax, MailError, StorageBehind
from mssmtp.identity import Challenge, Credentials, Exchange, LoginRefused
from mssmtp.mail import Door
from mssmtp.smtp import replies
from mssmtp.smtp.receiver import DataLimits, DataReceiver, Flooded
from mssmtp.smtp.syntax import BadArgument
from mssmtp.smtp.trace import Hop
from mssmtp.smtp.transaction import Transaction
from mssmtp.smtp_intake import Intake, Origin
from mssmtp.smtp_link import Hangup, House, Link, UnknownCommand
from mssmtp.smtp_lookup import (
    LoginLost,
    destination,
    from_operator,
    from_principal,
    is_real_mail_to_tests,
    still_entitled,
)
from mssmtp.tls import start_tls

logger = logging.getLogger(__name__)

_MAX_IDLE_COMMANDS = 500
"""Commands that move nothing (NOOP, RSET, VRFY, HELP, EHLO) between two accepted messages."""
_FLOOD_FACTOR = 2
"""A message is consumed up to this many times the size limit before the connection is cut."""
_LONGEST_DELAY_S = 5.0
_ASK_AGAIN_S = 1.0
_NO_CERTIFICATE = "peer did not return a certificate"
"""OpenSSL's words, with tls.refuse_in_handshake."""


class NotServed(BadSyntax):
    """A verb of RFC 5321 or 4954 that this door does not serve."""

    smtp = replies.NOT_IMPLEMENTED


class Machine(Link):
    """One connection of one door: the verbs."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._idle_commands = self._wrong_passwords = 0
        self._asked_at = 0.0

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        perform = _VERBS.get(verb)
        if perform is None:
            raise UnknownCommand
        return perform(self, argument)

    def _count_idle_command(self) -> None:
        self._idle_commands += 1
        if self._idle_commands > _MAX_IDLE_COMMANDS:
            raise MailError(reply=replies.TOO_MANY_ERRORS)

    async def _ehlo(self, hostname: str | None) -> None:
        self._count_idle_command()
        self._conversation.greet(hostname, extended=True)
        lines = [self._services.settings.operator.host_name, *self._announced()]
        marks = ["-"] * (len(lines) - 1) + [" "]
        for mark, line in zip(marks, lines, strict=True):
            self._out += f"250{mark}{line}\r\n".encode("ascii")

    def _announced(self) -> list[str]:
        """What works here and now (extensions.md, rule 1); never SMTPUTF8 (OP-67)."""
        lines = [
            f"SIZE {self._house.rules.limits.message_octets}",
            "PIPELINING",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
        ]
        if self._house.starttls is not None and not self._conversation.secured:
            lines.append("STARTTLS")
        if self._house.rules.door is Door.SUBMISSION and self._conversation.secured:
            lines.append("AUTH PLAIN LOGIN")
        return lines

    async def _helo(self, hostname: str | None) -> None:
        self._count_idle_command()
        self._conversation.greet(hostname, extended=False)
        self._out += f"250 {self._services.settings.operator.host_name}\r\n".encode("ascii")

    async def _noop(self, arg: str | None) -> None:
        self._count_idle_command()
        self.say(replies.NOOP)

    async def _rset(self, arg: str | None) -> None:
        self._count_idle_command()
        if arg:
            raise BadArgument
        self._conversation.transaction = None
        self.say(replies.RESET)

    async def _quit(self, arg: str | None) -> None:
        if arg:
            raise BadArgument
        self.say(replies.CLOSING)
        await self._end()

    async def _help(self, arg: str | None) -> None:
        self._count_idle_command()
        self.say(replies.HELP)

    async def _vrfy(self, arg: str | None) -> None:
        self._count_idle_command()
        if not arg:
            raise BadArgument
        self.say(replies.CANNOT_VERIFY)

    async def _expn(self, arg: str | None) -> None:
        raise NotServed

    async def _starttls(self, arg: str | None) -> None:
        context, wire = self._house.starttls, self._wire
        if context is None:
            raise NotServed
        self._conversation.may_start_tls(arg)
        await self._flush()
        if len(self._inbox):
            # RFC 3207 4.2, ATT-02: what came before the handshake may be injected.
            logger.warning("octets behind STARTTLS")
            self.hang_up()
            raise Hangup
        if wire is None or wire.is_closing():
            raise Hangup
        # No wait between the go-ahead and the swap: nothing can come in between.
        wire.write(replies.render(replies.READY_FOR_TLS))
        self._handshake = self.loop.create_future()
        told_of = copy_context()  # the connection's id is in it, and not in the wire's
        start_tls(
            wire,
            self,
            context,
            handshake_timeout_s=self._services.settings.tls.handshake_timeout_s,
            on_failure=lambda reason: told_of.run(self._handshake_failed, reason),
        )
        await self._handshake
        if self._wire is None:
            raise Hangup
        self._reset_timeout()

    def _handshake_failed(self, reason: str) -> None:
        metrics.handshakes_failed.labels(self._house.rules.door.value).inc()
        logger.info("handshake failed", extra={"reason": reason})
        if reason == _NO_CERTIFICATE:
            told = {"reason": "no certificate", "serial": "", "where": "handshake"}
            logger.warning("peer refused", extra=told)

    async def _auth(self, arg: str | None) -> None:
        if self._house.rules.door is not Door.SUBMISSION:
            raise NotServed
        self._conversation.may_log_in()
        words = (arg or "").split()
        if not 1 <= len(words) <= 2 or not (arg or "").isascii():
            raise BadArgument
        exchange = Exchange(words[0])
        step = exchange.begin(words[1].encode("ascii") if len(words) == 2 else None)
        while isinstance(step, Challenge):
            self._out += b"334 " + step.octets + b"\r\n"
            step = exchange.receive(await self._line())
        await self._log_in(step)

    async def _log_in(self, credentials: Credentials) -> None:
        door = self._house.rules.door.value
        try:
            self._conversation.principal = await self._house.logins.check(
                credentials.login, credentials.password, self.address, lambda: self._wire is None
            )
        except LoginRefused as refused:
            metrics.logins.labels(door, "refused").inc()
            self._wrong_passwords += 1
            await asyncio.sleep(min(refused.delay_s, _LONGEST_DELAY_S))
            if self._wrong_passwords >= self._house.rules.limits.wrong_passwords:
                self.say(refused.reply)
                raise MailError(reply=replies.TOO_MANY_LOGINS) from refused
            raise
        metrics.logins.labels(door, "accepted").inc()
        logger.info("logged in", extra={"account": self._conversation.principal.account})
        self.say(replies.LOGGED_IN)

    async def _mail(self, arg: str | None) -> None:
        conversation = self._conversation
        command = conversation.mail(arg)
        if conversation.principal is not None:
            try:
                conversation.transaction = await from_principal(
                    self._services, conversation.principal, command
                )
            except LoginLost:
                conversation.principal = None
                raise
        else:
            chain = self._peer_chain()
            conversation.transaction = await from_operator(self._services, chain, command)
        self._misplaced = 0
        self._asked_at = self.loop.time()
        self.say(replies.SENDER_OK)

    def _peer_chain(self) -> tuple[x509.Certificate, ...]:
        found = self._wire.get_extra_info("peer_chain") if self._wire is not None else None
        return cast("tuple[x509.Certificate, ...]", found or ())

    async def _rcpt(self, arg: str | None) -> None:
        own = self._services.settings.operator.domains[0]
        transaction, command = self._conversation.rcpt(arg, own)
        accepted = await destination(self._services, transaction, command)
        transaction.add(accepted)
        if accepted.recipient.typed is not None:
            self.say(replies.rewritten(str(accepted.recipient.address)))
        elif is_real_mail_to_tests(self._services, transaction, accepted):
            domain = accepted.recipient.address.domain
            logger.warning("production mail to a test domain", extra={"domain": domain})
            self.say(replies.to_test_domain(domain))
        else:
            self.say(replies.RECIPIENT_OK)

    async def _data(self, arg: str | None) -> None:
        transaction = self._conversation.data(arg)
        if self._services.store.is_behind:
            raise StorageBehind  # before a message is read that could not be kept
        limit = self._house.rules.limits.message_octets
        receiver = DataReceiver(DataLimits(limit, limit * _FLOOD_FACTOR))
        intake = Intake(
            self._services, transaction, self._origin(transaction), self._house.content_threads
        )
        self.say(replies.GO_AHEAD)
        self._receiving = True
        try:
            with self._services.store.coming():
                await self._receive(receiver, intake)
                self._check(receiver)
                await self._ask_again(transaction)
                self.say(await intake.finish())
            self._idle_commands = self._refused = 0
        finally:
            self._receiving = False
            self._conversation.transaction = None
            await intake.abandon()

    async def _receive(self, receiver: DataReceiver, intake: Intake) -> None:
        """Consume the data to its end, whatever becomes of it."""
        while not receiver.done:
            try:
                content = receiver.feed(await self._block())
            except Flooded:
                self._is_last = True
                raise
            if not receiver.clean:
                await intake.abandon()
            elif content:
                await intake.write(content)
        self._receiving = False
        self._inbox.unread(receiver.rest)

    async def _ask_again(self, transaction: Transaction) -> None:
        """SEC-06: who was suspended or unlisted more than a second ago sends nothing."""
        if self.loop.time() - self._asked_at < _ASK_AGAIN_S:
            return
        try:
            await still_entitled(self._services, transaction, self._peer_chain())
        except LoginLost:
            self._conversation.principal = None
            raise

    def _check(self, receiver: DataReceiver) -> None:
        """Raises MailError for data that must not be taken."""
        if receiver.ambiguous:
            # Somebody on the way may hold the rest for another message: execute none of it.
            self._is_last = True
        if receiver.bare:
            raise MailError(reply=replies.BARE_LINE_END)
        if receiver.nul:
            raise MailError(reply=replies.NUL_OCTET)
        if receiver.too_big:
            raise MailError(reply=replies.too_big(self._house.rules.limits.message_octets))

    def _origin(self, transaction: Transaction) -> Origin:
        """What is traced of the connection; a person's own address is not in the message."""
        wire = self._wire
        version = wire.get_extra_info("tls_version") if wire is not None else None
        cipher = wire.get_extra_info("tls_cipher") if wire is not None else None
        is_person = transaction.principal is not None
        hop = Hop(
            greeting="localhost" if is_person else (self._conversation.greeting or ""),
            peer_address=None if is_person else self.address,
            host_name=self._services.settings.operator.host_name,
            tls_version=version,
            tls_cipher=cipher,
            authenticated=is_person,
            extended=self._conversation.extended,
        )
        return Origin(hop, self.address)


_VERBS: dict[bytes, Callable[[Machine, str | None], Awaitable[None]]] = {
    b"EHLO": Machine._ehlo,
    b"HELO": Machine._helo,
    b"STARTTLS": Machine._starttls,
    b"AUTH": Machine._auth,
    b"MAIL": Machine._mail,
    b"RCPT": Machine._rcpt,
    b"DATA": Machine._data,
    b"NOOP": Machine._noop,
    b"RSET": Machine._rset,
    b"QUIT": Machine._quit,
    b"HELP": Machine._help,
    b"VRFY": Machine._vrfy,
    b"EXPN": Machine._expn,
}
