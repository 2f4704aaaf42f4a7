"""The wire of one SMTP connection: lines in, replies out, errors as replies, time.

One task reads a command, obeys it and answers, in order; what a verb does is in `smtp_machine`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import NoReturn, Protocol, cast

from mssmtp import metrics
from mssmtp.errors import INTERNAL, BadAddress, BadSyntax, MailError, Reply
from mssmtp.identity import Mechanisms
from mssmtp.log import connection_id
from mssmtp.logins import Logins
from mssmtp.pki import CertificateRefused
from mssmtp.smtp import replies
from mssmtp.smtp.lines import BadLine, Inbox
from mssmtp.smtp.transaction import Conversation, DoorRules, OutOfOrder, Refused
from mssmtp.smtp_lookup import Services
from mssmtp.tls import ServerContext
from mssmtp.trust import PeerRefused

logger = logging.getLogger(__name__)

HIGH_WATER_OCTETS = 131_072
"""Octets waiting to be used; above it the peer is not read."""
_REPLY_OCTETS = 16_384
_MAX_ERRORS = 20
"""Malformed or unknown commands of one connection."""
_MAX_MISPLACED = 250
"""Commands at the wrong moment since the last MAIL that was taken: one refused MAIL leaves a
hundred pipelined RCPT without place. In clear nothing is pipelined, and `_MAX_ERRORS` holds."""
_MAX_STRANGER = 10
"""MAIL commands of a peer whose certificate or name was refused: its next try is no better."""
_MAX_REFUSED = 1_000
"""Other refusals since the last message that was accepted."""
SLICE_S = 0.002
"""A connection that pipelines gives way to the others after so long."""
_SLOWEST_OCTETS_PER_S = 256
"""DATA below this rate over limits.idle_smtp_s is held to be an attack (ATT-41)."""
_IDENT = "ESMTP mssmtp"


class Hangup(ConnectionResetError):
    """This connection is over; nobody's error."""


class UnknownCommand(BadSyntax):
    """A verb we do not have."""

    smtp = replies.UNKNOWN_COMMAND


class House(Protocol):
    """The door a connection belongs to."""

    services: Services
    rules: DoorRules
    starttls: ServerContext | None
    content_threads: Executor
    logins: Logins
    mechanisms: Mechanisms

    def admit(self, link: Link, address: str) -> Reply | None:
        """Count the connection; a reply: it is turned away with that."""
        ...

    def release(self, link: Link) -> None:
        """The connection is over."""
        ...


class Link(asyncio.Protocol):
    """Transport, lines, replies and time of one connection; what verbs do is `Machine`'s."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._services = house.services
        self.loop = asyncio.get_running_loop()
        limit = house.rules.limits.command_octets
        self._conversation = Conversation(house.rules)
        self._inbox = Inbox(limit)
        self._out = bytearray()
        self._wire: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading_paused = self._eof = self._is_last = self._stopping = False
        self._admitted = self._receiving = False
        self._farewell: Reply | None = None
        self._errors = self._misplaced = self._refused = self._strange = 0
        self._slice_ends = 0.0
        self._received_octets = self._seen_octets = 0
        self._active_at = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Future[None] | None = None
        self.address = ""
        self.task: asyncio.Task[None] | None = None
        """Serves this connection; None: it was not admitted."""

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        """Obey `verb`, in upper case; `argument` is what stands behind it. Raises MailError."""
        raise NotImplementedError

    # ------------------------------------------------------------ transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called for the raw transport and, after STARTTLS, once more for TLS on it."""
        self._wire = cast(asyncio.Transport, transport)
        if self._handshake is not None:
            self._inbox.clear()
            self._conversation.secure()
            self._wake(self._handshake)
            return
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if transport.get_extra_info("tls_version") is not None:
            self._conversation.secure()
        refusal = self._house.admit(self, self.address)
        if refusal is not None:
            self._wire.write(replies.render(refusal))
            self._wire.close()
            return
        self._admitted = True
        self._arm()
        self.task = self.loop.create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """The task is not cancelled: a commit that has begun is told to nobody, but is finished."""
        self._eof, self._wire = True, None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for waiting in (self._waiter, self._writable, self._handshake):
            self._wake(waiting)
        if self._admitted:
            self._admitted = False
            self._house.release(self)

    def data_received(self, data: bytes) -> None:
        self._received_octets += len(data)
        self._inbox.feed(data)
        if len(self._inbox) > HIGH_WATER_OCTETS and self._wire and not self._reading_paused:
            self._reading_paused = True
            self._wire.pause_reading()
        self._wake(self._waiter)

    def eof_received(self) -> bool:
        self._eof = True
        self._wake(self._waiter)
        return not self._conversation.secured

    def pause_writing(self) -> None:
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        self._wake(self._writable)
        self._writable = None

    @staticmethod
    def _wake(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def hang_up(self) -> None:
        """Close once everything written has gone out."""
        if self._wire is not None:
            self._wire.close()

    def abort(self) -> None:
        """Close now, and stop what is being done."""
        if self.task is not None:
            self.task.cancel()
        if self._wire is not None:
            self._wire.abort()

    def stop(self) -> None:
        """Orderly stop: finish the command or message in hand, answer 421, close."""
        self._stopping = True
        if self._handshake is not None and not self._handshake.done():
            self.hang_up()
        elif not self._receiving:
            self._wake(self._waiter)

    # ------------------------------------------------------------ time

    def _reset_timeout(self) -> None:
        self._active_at = self.loop.time()

    def _arm(self) -> None:
        idle_s = self._house.rules.limits.idle_smtp_s
        self._idle_timer = self.loop.call_later(
            max(self._active_at + idle_s - self.loop.time(), 0.01), self._check_idle
        )

    def _check_idle(self) -> None:
        """One timer per connection, moved on here and not at every command."""
        idle_s = self._house.rules.limits.idle_smtp_s
        waits_for_peer = self._waiter is not None or self._writable is not None
        octets, self._seen_octets = (
            self._received_octets - self._seen_octets,
            self._received_octets,
        )
        if not waits_for_peer or (
            self._receiving and self._writable is None and octets >= idle_s * _SLOWEST_OCTETS_PER_S
        ):
            self._reset_timeout()
        if self.loop.time() - self._active_at >= idle_s:
            self._time_out()
        else:
            self._arm()

    def _time_out(self) -> None:
        logger.info("timeout")
        if self._wire is None:
            return
        if self._writable is not None:
            self._wire.abort()  # the peer does not read: nothing can be told
            return
        self._wire.write(replies.render(replies.TOO_SLOW))
        self._wire.close()
        self._eof = True
        self._wake(self._waiter)

    # ------------------------------------------------------------ reading and answering

    async def _more(self) -> None:
        """Wait for octets; everything said so far goes out first (RFC 2920: replies in batches)."""
        await self._flush()
        if self._eof or self._wire is None or self._wire.is_closing():
            raise Hangup
        if self._reading_paused:
            self._reading_paused = False
            self._wire.resume_reading()
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _line(self) -> bytes:
        """The next line. Raises BadSyntax kinds for one that is refused, Hangup."""
        while True:
            if self._is_last:
                if self._farewell is not None:
                    self._out += replies.render(self._farewell)
                await self._end()
            if self._stopping and not self._receiving:
                self.say(replies.STOPPING)
                await self._end()
            if self._wire is None or self._wire.is_closing():
                raise Hangup
            line = self._inbox.line()
            if line is not None:
                self._reset_timeout()
                await self._give_way()
                return line
            await self._more()
            self._slice_ends = self.loop.time() + SLICE_S

    async def _give_way(self) -> None:
        """Let others run when commands come without a wait between them (D11): thousands of lines
        may be here already, and nothing else of a refused command ever waits."""
        if self.loop.time() >= self._slice_ends:
            await asyncio.sleep(0)
            self._slice_ends = self.loop.time() + SLICE_S

    async def _converse(self) -> None:
        """Every command in turn, until somebody hangs up."""
        name = self._services.settings.operator.host_name
        self._out += f"220 {name} {_IDENT}\r\n".encode("ascii")
        while True:
            try:
                await self._obey(await self._line())
            except ConnectionResetError:
                raise
            except Exception as error:
                self._refuse(error)
            if len(self._out) > _REPLY_OCTETS:
                await self._flush()

    async def _obey(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        # RFC 4954 4: only inside AUTH is an empty line an answer.
        if not line.strip() or not verb.isascii():
            raise BadLine
        # Octets above 127 reach the refusals of whoever reads the argument.
        text = argument.strip().decode("utf-8", "surrogateescape") if argument else None
        await self._perform(verb.upper(), text)

    async def _block(self, at_most: int | None = None) -> bytes:
        """Whatever has come, for DATA; `at_most` so many octets of it, for BDAT."""
        while not len(self._inbox):
            await self._more()
        if self._reading_paused and self._wire is not None:
            self._reading_paused = False
            self._wire.resume_reading()
        return self._inbox.take(at_most)

    def say(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the next wait."""
        self._out += replies.render(reply)
        if reply.code == 421:
            self._is_last = True

    async def _flush(self) -> None:
        if self._writable is not None:
            await self._writable
        if self._out and self._wire is not None:
            octets = bytes(self._out)
            self._out.clear()
            self._wire.write(octets)

    async def _end(self) -> NoReturn:
        """The last reply was said: send it and close."""
        await self._flush()
        self.hang_up()
        raise Hangup

    async def _serve(self) -> None:
        connection_id.set(self._services.entropy.token_bytes(6).hex())
        logger.info("connected", extra={"door": self._house.rules.door.value, "peer": self.address})
        try:
            await self._converse()
        except ConnectionResetError:
            logger.info("closed")
        finally:
            await self._left()
            self.hang_up()

    async def _left(self) -> None:
        """The conversation is over: let go of what it held."""

    def _refuse(self, error: Exception) -> None:
        """The one place where an error becomes a reply."""
        reply = INTERNAL
        if isinstance(error, MailError):
            reply = error.reply
        else:
            logger.error("command failed", exc_info=error)
            metrics.internal_errors.labels("smtp_in").inc()
        rule = error.rule if isinstance(error, Refused) else type(error).__name__
        metrics.refused.labels(self._house.rules.door.value, str(reply.code), rule).inc()
        if isinstance(error, (PeerRefused, CertificateRefused)):
            metrics.peers_refused.labels(error.reason).inc()
            logger.warning("peer refused", extra={"reason": error.reason, "serial": error.serial})
        else:
            # What a stranger can repeat for ever without a decision must not fill the disk.
            level = logging.DEBUG if isinstance(error, (OutOfOrder, BadSyntax)) else logging.INFO
            told = {"code": reply.code, "enhanced": reply.enhanced, "rule": rule}
            logger.log(level, "refused", extra=told)
        self._count_error(error)
        self.say(reply)

    def _count_error(self, error: Exception) -> None:
        if isinstance(error, OutOfOrder):
            self._misplaced += 1
        elif isinstance(error, BadSyntax) and not isinstance(error, BadAddress):
            self._errors += 1
        elif isinstance(error, (PeerRefused, CertificateRefused)):
            self._strange += 1
        else:
            self._refused += 1
        misplaced = _MAX_MISPLACED if self._conversation.secured else _MAX_ERRORS
        if (
            self._errors >= _MAX_ERRORS
            or self._misplaced >= misplaced
            or self._strange >= _MAX_STRANGER
            or self._refused >= _MAX_REFUSED
        ):
            self._is_last, self._farewell = True, replies.TOO_MANY_ERRORS
