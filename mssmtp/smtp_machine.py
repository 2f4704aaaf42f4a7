"""The verbs of one SMTP connection: what each command looks up, decides and answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta

from mssmtp import metrics
from mssmtp.errors import BadSyntax, MailError
from mssmtp.identity import Answer, Challenge, Channel, Claim, Exchange, LoginRefused
from mssmtp.identity.sasl import announced
from mssmtp.identity.standing import is_over
from mssmtp.logins import Peer
from mssmtp.mail import Door, Principal
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import BadArgument, MailCommand, RcptCommand
from mssmtp.smtp.transaction import Transaction
from mssmtp.smtp_link import Hangup, House, UnknownCommand
from mssmtp.smtp_lookup import (
    LoginLost,
    destination,
    from_operator,
    from_principal,
    grant_urgency,
    is_real_mail_to_tests,
)
from mssmtp.smtp_reception import Reception
from mssmtp.tls import bindings_of, start_tls

logger = logging.getLogger(__name__)

_MAX_IDLE_COMMANDS = 500
"""Commands that move nothing (NOOP, RSET, VRFY, HELP, EHLO) between two accepted messages."""
_LONGEST_DELAY_S = 5.0
_NO_CERTIFICATE = "peer did not return a certificate"
"""OpenSSL's words, with tls.refuse_in_handshake."""


class NotServed(BadSyntax):
    """A verb of RFC 5321 or 4954 that this door does not serve."""

    smtp = replies.NOT_IMPLEMENTED


class Machine(Reception):
    """One connection of one door: the verbs."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._wrong_passwords = 0
        self._logged_in_at = 0.0

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        perform = _VERBS.get(verb)
        if perform is None:
            raise UnknownCommand
        principal = self._conversation.principal
        if principal is not None and is_over(principal, self._now_s() - self._logged_in_at):
            raise MailError(reply=replies.SESSION_OVER)
        return perform(self, argument)

    def _now_s(self) -> float:
        return self._services.clock.monotonic()

    def _count_idle_command(self) -> None:
        self._idle_commands += 1
        if self._idle_commands > _MAX_IDLE_COMMANDS:
            raise MailError(reply=replies.TOO_MANY_ERRORS)

    async def _ehlo(self, hostname: str | None) -> None:
        self._count_idle_command()
        self._conversation.greet(hostname, extended=True)
        await self._drop_chunks()
        lines = [self._services.settings.operator.host_name, *self._announced()]
        marks = ["-"] * (len(lines) - 1) + [" "]
        for mark, line in zip(marks, lines, strict=True):
            self._out += f"250{mark}{line}\r\n".encode("ascii")

    def _announced(self) -> list[str]:
        """What works here and now (extensions.md, rule 1); never SMTPUTF8 (OP-67)."""
        rules = self._house.rules
        lines = [
            f"SIZE {rules.limits.message_octets}",
            "PIPELINING",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
        ]
        if not self._conversation.secured:
            return [*lines, "STARTTLS"]
        # No message is taken in clear: what concerns messages is told under TLS, and some of it
        # may be told only there (RFC 8689 2).
        known, hold = rules.extensions, rules.extensions.longest_hold
        lines += ["CHUNKING", f"LIMITS RCPTMAX={rules.limits.recipients}"]
        offered = {
            "DSN": known.dsn,
            "REQUIRETLS": known.require_tls,
            "DELIVERBY": known.deliver_by,
            "MT-PRIORITY": known.priority,
        }
        lines += (word for word, is_offered in offered.items() if is_offered)
        if hold is not None:
            last = self._services.clock.now() + hold
            lines.append(f"FUTURERELEASE {hold // timedelta(seconds=1)} {last:%Y-%m-%dT%H:%M:%SZ}")
        if known.auth:
            lines.append(f"AUTH {' '.join(announced(self._house.mechanisms, self._channel()))}")
        return lines

    async def _helo(self, hostname: str | None) -> None:
        self._count_idle_command()
        self._conversation.greet(hostname, extended=False)
        await self._drop_chunks()
        self._out += f"250 {self._services.settings.operator.host_name}\r\n".encode("ascii")

    async def _noop(self, arg: str | None) -> None:
        self._count_idle_command()
        self.say(replies.NOOP)

    async def _rset(self, arg: str | None) -> None:
        self._count_idle_command()
        if arg:
            raise BadArgument
        self._conversation.transaction = None
        await self._drop_chunks()
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
        exchange = self._exchange(words[0])
        step = exchange.begin(words[1].encode("ascii") if len(words) == 2 else None)
        while not isinstance(step, Principal):
            if isinstance(step, Challenge):
                step = exchange.receive(await self._challenged(step))
            else:
                step = exchange.answer(await self._judged(exchange, step))
        self._conversation.principal = step
        self._logged_in_at = self._now_s()
        metrics.logins.labels(self._house.rules.door.value, "accepted").inc()
        logger.info("logged in", extra={"account": step.account})
        self.say(replies.LOGGED_IN)

    async def _challenged(self, challenge: Challenge) -> bytes:
        """What the client answers."""
        self._out += b"334 " + challenge.octets + b"\r\n"
        return await self._line()

    def _exchange(self, mechanism: str) -> Exchange:
        return Exchange(mechanism, self._house.mechanisms, self._channel())

    def _channel(self) -> Channel:
        return Channel(bindings_of(self._wire))

    async def _judged(self, exchange: Exchange, claim: Claim) -> Answer:
        door = self._house.rules.door.value
        peer = Peer(self.address, lambda: self._wire is None, self._peer_chain())
        try:
            return await self._house.logins.enter(claim, peer)
        except LoginRefused as refused:
            if (last := exchange.refused(refused)) is not None:
                await self._challenged(last)
            metrics.logins.labels(door, "refused").inc()
            self._wrong_passwords += 1
            await asyncio.sleep(min(refused.delay_s, _LONGEST_DELAY_S))
            if self._wrong_passwords >= self._house.rules.limits.wrong_passwords:
                self.say(refused.reply)
                raise MailError(reply=replies.TOO_MANY_LOGINS) from refused
            raise

    async def _mail(self, arg: str | None) -> None:
        conversation = self._conversation
        asked = conversation.mail(arg, self._services.clock.now())
        is_foreign = asked.priority > 0 and not self._house.rules.may_be_urgent
        command = replace(asked, priority=0) if is_foreign else asked
        conversation.transaction = transaction = await self._begin(command)
        grant_urgency(self._services, transaction)
        self._misplaced = 0
        self._asked_at = self.loop.time()
        is_lowered = transaction.command.priority < asked.priority
        self.say(replies.PRIORITY_LOWERED if is_lowered else replies.SENDER_OK)

    async def _begin(self, command: MailCommand) -> Transaction:
        """Who may send this. Raises MailError kinds."""
        conversation = self._conversation
        if conversation.principal is None:
            return await from_operator(self._services, self._peer_chain(), command)
        try:
            return await from_principal(self._services, conversation.principal, command)
        except LoginLost:
            conversation.principal = None
            raise

    def _addressed(self, transaction: Transaction, command: RcptCommand) -> RcptCommand:
        """The recipient before it is looked up; the gateway door has a table of aliases."""
        return command

    async def _rcpt(self, arg: str | None) -> None:
        own = self._services.settings.operator.domains[0]
        transaction, command = self._conversation.rcpt(arg, own)
        command = self._addressed(transaction, command)
        accepted = await destination(self._services, transaction, command)
        transaction.add(accepted)
        if accepted.recipient.typed is not None:
            self.say(replies.rewritten(str(accepted.recipient.address)))
        elif is_real_mail_to_tests(self._services, transaction, accepted):
            domain = accepted.recipient.address.domain
            logger.warning("production mail to a test domain", extra={"domain": domain})
            self.say(replies.to_test_domain(domain))
        elif self._services.engine.is_doubtful(accepted.recipient.address):
            self.say(replies.DOUBTFUL_PATIENT)
        else:
            self.say(replies.RECIPIENT_OK)


_VERBS: dict[bytes, Callable[[Machine, str | None], Awaitable[None]]] = {
    b"EHLO": Machine._ehlo,
    b"HELO": Machine._helo,
    b"STARTTLS": Machine._starttls,
    b"AUTH": Machine._auth,
    b"MAIL": Machine._mail,
    b"RCPT": Machine._rcpt,
    b"DATA": Machine._data,
    b"BDAT": Machine._bdat,
    b"NOOP": Machine._noop,
    b"RSET": Machine._rset,
    b"QUIT": Machine._quit,
    b"HELP": Machine._help,
    b"VRFY": Machine._vrfy,
    b"EXPN": Machine._expn,
}
