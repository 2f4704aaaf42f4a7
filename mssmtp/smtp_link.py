"""The wire of one SMTP connection: aiosmtpd's command loop over our framing, replies and clock.

aiosmtpd's `SMTP` keeps the loop, the table of verbs and the dispatch. Replaced, because each was
seen to stand in the way (docs/decisions.md): its reader (a bare LF ends a line, 1,001 octets of
buffer), one write per reply, the table of line lengths shared by the whole class, and exceptions
told to the peer as 500.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from concurrent.futures import Executor
from typing import NoReturn, Protocol, cast

from aiosmtpd.smtp import SMTP

from mssmtp import metrics
from mssmtp.errors import INTERNAL, BadAddress, BadSyntax, MailError, Reply
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

    def admit(self, link: Link, address: str) -> bool:
        """Count the connection; False: there are too many."""
        ...

    def release(self, link: Link) -> None:
        """The connection is over."""
        ...


class _Lines:
    """What aiosmtpd's loop reads from: our lines, in the place of its StreamReader."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def readuntil(self) -> bytes:
        return await self._link.next_command()


class _Ends:
    """What aiosmtpd's loop closes when the connection is lost."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def close(self) -> None:
        self._link.hang_up()


class _Verbs(dict[str, object]):
    """aiosmtpd's table of verbs; an unknown verb is a command that is refused like others."""

    def __init__(self, known: dict[str, object], unknown: object) -> None:
        super().__init__(known)
        self._unknown = unknown

    def get(self, key: str, default: object = None) -> object:
        return super().get(key, self._unknown)


class Link(SMTP):
    """Transport, lines, replies and time of one connection; verbs are added by `Machine`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._services = house.services
        limit = house.rules.limits.command_octets
        # aiosmtpd keeps this table on the class and empties it for every new connection.
        self.command_size_limits = defaultdict(lambda: limit)
        self.command_size_limit = limit
        super().__init__(
            None,
            hostname=house.services.settings.operator.host_name,
            ident=_IDENT,
            # Never announced: it only lets octets above 127 reach our own refusals.
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )
        self._smtp_methods = _Verbs(self._smtp_methods, self._unknown)
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

    # ------------------------------------------------------------ transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called for the raw transport and, after STARTTLS, once more for TLS on it."""
        self._wire = self.transport = cast(asyncio.Transport, transport)
        if self._handshake is not None:
            self._inbox.clear()
            self._conversation.secure()
            self._wake(self._handshake)
            return
        self.session, self.envelope = self._create_session(), self._create_envelope()
        # aiosmtpd picks its limit of line lengths by this; ours is one for all.
        self.session.extended_smtp = True
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self.session.peer = self.address
        self._reader = cast(asyncio.StreamReader, _Lines(self))
        self._writer = cast(asyncio.StreamWriter, _Ends(self))
        if transport.get_extra_info("tls_version") is not None:
            self._conversation.secure()
        self._admitted = self._house.admit(self, self.address)
        if not self._admitted:
            self._wire.write(replies.render(replies.TOO_MANY_CONNECTIONS))
            self._wire.close()
            return
        self._arm()
        self._handler_coroutine = self.loop.create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """The task is not cancelled: a commit that has begun is told to nobody, but is finished."""
        self._eof, self.transport, self._wire = True, None, None
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
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        if self._wire is not None:
            self._wire.abort()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that serves this connection."""
        return self._handler_coroutine

    def stop(self) -> None:
        """Orderly stop: finish the command or message in hand, answer 421, close."""
        self._stopping = True
        if self._handshake is not None and not self._handshake.done():
            self.hang_up()
        elif not self._receiving:
            self._wake(self._waiter)

    # ------------------------------------------------------------ time

    def _reset_timeout(self, duration: float | None = None) -> None:
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
            if self._stopping:
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

    async def next_command(self) -> bytes:
        """What aiosmtpd's loop takes for one line of its reader."""
        line = await self._line()
        if not line.split(b" ", 1)[0].isascii():
            raise BadLine
        return line

    async def _block(self) -> bytes:
        """Whatever has come, for DATA."""
        while not len(self._inbox):
            await self._more()
        if self._reading_paused and self._wire is not None:
            self._reading_paused = False
            self._wire.resume_reading()
        return self._inbox.take()

    def say(self, reply: Reply) -> None:
        """Queue a reply; it leaves before the next wait."""
        self._out += replies.render(reply)
        if reply.code == 421:
            self._is_last = True

    async def push(self, status: str | bytes) -> None:
        """Replies that aiosmtpd makes itself: its greeting."""
        octets = status if isinstance(status, bytes) else status.encode("ascii", "replace")
        self._out += octets + b"\r\n"
        if len(self._out) > _REPLY_OCTETS:
            await self._flush()

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
            await self._handle_client()
        except ConnectionResetError:
            logger.info("closed")
        finally:
            self.hang_up()

    async def _unknown(self, arg: str | None) -> None:
        raise UnknownCommand

    async def handle_exception(self, error: Exception) -> str:
        """The one place where an error becomes a reply. aiosmtpd sends what is returned."""
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
        if reply.code == 421:
            self._is_last = True
        return replies.render(reply)[:-2].decode("ascii")

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
