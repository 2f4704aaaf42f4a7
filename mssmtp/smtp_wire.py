"""The wire of our client side: errors, content stuffing, replies, and a strict SMTP protocol.

aiosmtplib's protocol sends commands and reads replies. What it does not do is here: octets that no
command asked for end the connection (ATT-02), and content is stuffed block by block, octet for
octet, instead of as one copied string (aiosmtplib also rewrites bare line ends).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

from aiosmtplib.errors import (
    SMTPReadTimeoutError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from mssmtp import tls
from mssmtp.errors import MailError, Reply
from mssmtp.smtp.receiver import has_only_crlf, last_dot_line

# ---------------------------------------------------------------- what may go wrong


class PeerFailed(MailError):
    """This server cannot take the message now; another may. `rank`: the worst is reported."""

    smtp = Reply(451, "4.4.1", "Serveur destinataire injoignable ; nouvel essai prévu.")
    rank = 1


class PeerGone(PeerFailed):
    """The connection broke, or nothing came in time, before the message was handed over."""

    smtp = Reply(
        451, "4.4.2", "Connexion perdue avec le serveur destinataire ; nouvel essai prévu."
    )
    rank = 2


class PeerViolates(PeerFailed):
    """Octets that SMTP does not allow here, for example in front of the handshake (ATT-02)."""

    smtp = Reply(451, "4.5.0", "Réponse invalide du serveur destinataire ; nouvel essai prévu.")
    rank = 3


class TlsUnavailable(PeerFailed):
    """No STARTTLS, or it fails: nothing is ever sent in clear (OP-03, OP-01)."""

    smtp = Reply(
        451, "4.7.4", "Chiffrement impossible avec le serveur destinataire ; nouvel essai."
    )
    rank = 4


class PeerNotTrusted(PeerFailed):
    """The certificate is bad or is not one of the recipient domain's (OP-11)."""

    smtp = Reply(451, "4.7.5", "Serveur destinataire non reconnu ; nouvel essai plus tard.")
    rank = 5


class FinalReplyLost(PeerFailed):
    """The final dot went out and no answer came: delivered or not, nobody knows (D4)."""

    smtp = Reply(
        451,
        "4.4.2",
        "Réponse finale perdue : le destinataire a peut-être reçu ; nouvel essai prévu.",
    )


class PeerTakesLess(MailError):
    """The peer's SIZE is smaller than the message: DATA is not even tried (CL-38)."""

    smtp = Reply(
        552,
        "5.3.4",
        "Message trop volumineux pour l'opérateur du destinataire ; réduisez les pièces jointes.",
    )


class NoTlsOnward(MailError):
    """REQUIRETLS: the peer does not promise TLS on the rest of the way (RFC 8689 4.2.1)."""

    smtp = Reply(
        550,
        "5.7.30",
        "L'opérateur du destinataire ne promet pas le chiffrement exigé ; renvoyez sans l'exiger.",
    )


class DeadlineMissed(MailError):
    """The time that the sender set for the delivery has passed (RFC 2852 4.1.4)."""

    smtp = Reply(
        550,
        "5.4.7",
        "Délai de remise de l'expéditeur dépassé ; joignez le destinataire par un autre moyen.",
    )


class NoDeadlineOnward(MailError):
    """The letter must come back when it is late, and the peer keeps no time (RFC 2852 4.1.4)."""

    smtp = Reply(
        550,
        "5.3.3",
        "L'opérateur du destinataire ne tient pas les délais de remise ; renvoyez sans délai.",
    )


class NotTransmissible(MailError):
    """The content holds a bare CR, a bare LF or a NUL: sent on, it could be smuggled (ATT-01)."""

    smtp = Reply(
        554, "5.6.0", "Message mal formé (fins de ligne) ; renvoyez-le depuis un autre logiciel."
    )


# ---------------------------------------------------------------- content


class DotStuffer:
    """Content -> the octets after DATA (RFC 5321 4.5.2), in blocks of any size.

    Raises NotTransmissible rather than changing an octet: a repaired line end would break the
    signatures of the message, an unrepaired one may end the message early at the peer.
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._held = b""  # a CR whose LF may be in the next block

    def feed(self, block: bytes) -> bytes:
        """What to send for `block`."""
        if self._held:
            block = self._held + block
            self._held = b""
        if block.endswith(b"\r"):
            self._held = b"\r"
            block = block[:-1]
        if not block:
            return b""
        _check_line_ends(block)
        has_dots = last_dot_line(block) >= 0
        stuffed = block.replace(b"\r\n.", b"\r\n..") if has_dots else block
        if self._at_line_start and block.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = block.endswith(b"\r\n")
        return stuffed

    def check(self, block: bytes) -> bytes:
        """What to send for `block` where nothing is stuffed (RFC 3030): the same octets.

        BDAT would carry bare line ends; whoever relays the message next by DATA could not.
        """
        if self._held or block.endswith(b"\r"):
            self.feed(block)
        else:
            _check_line_ends(block)
        return block

    def checked(self) -> None:
        """The end of what was only checked. Raises NotTransmissible."""
        if self._held:
            raise NotTransmissible

    def finish(self) -> bytes:
        """The end of the content: a line end if there is none, then the dot."""
        if self._held:
            raise NotTransmissible
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"


def _check_line_ends(block: bytes) -> None:
    if b"\0" in block or not has_only_crlf(block):
        raise NotTransmissible


# ---------------------------------------------------------------- replies


_LONGEST_REPLY = 65_536
_LONGEST_PLAIN = 4_096
_PLAIN = re.compile(rb"^([0-9]{3}) ([^\n]*)\n", re.MULTILINE)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|\Z)")
_BY_CODE = {550: "5.1.1", 551: "5.1.6", 552: "5.2.2", 553: "5.1.3", 450: "4.2.0", 452: "4.3.1"}


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A reply as the peer gave it; `text` is its own, one line per line, not to be trusted."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """Its enhanced code, or the nearest to the bare code (RFC 3463, RFC 5321 4.2.3)."""
        found = _ENHANCED.match(self.text)
        if found and found[1][0] == str(self.code)[0]:
            return found[1]
        return _BY_CODE.get(self.code, f"{self.code // 100}.0.0")

    @property
    def is_positive(self) -> bool:
        """2yz."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """5yz."""
        return self.code >= 500

    @property
    def is_too_many(self) -> bool:
        """The recipient is welcome in another transaction (RFC 5321 4.5.3.1.10)."""
        return self.code == 452 and self.enhanced in ("4.5.3", "4.3.1")

    def __str__(self) -> str:
        return " ".join(f"{self.code} {self.text}".split())


def from_reply(reply: Reply) -> PeerReply:
    """One of our own replies in the place of a peer's."""
    return PeerReply(reply.code, f"{reply.enhanced} {reply.text}")


# ---------------------------------------------------------------- the wire


class Wire(SMTPProtocol):
    """aiosmtplib's protocol, which drops unexpected octets in silence; here they are fatal.

    RFC 3207 4.2: octets behind the 220 of STARTTLS were sent in clear and may be injected. In
    general a reply nobody asked for would be taken for the answer to the next command.
    """

    def __init__(self) -> None:
        super().__init__()
        self.violation: str = ""
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.lost = asyncio.Event()
        self._outstanding = 0
        self._replies: deque[PeerReply] = deque()
        self._stirred: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self._outstanding:
            self._take_replies(data)
            return
        waiter = self._response_waiter
        if waiter is None or waiter.done() or not self._response_pending:
            self._violate("octets without a command")
            return
        super().data_received(data)
        if waiter.done() and self._buffer:
            self._violate("octets behind a reply")

    def _take_replies(self, data: bytes) -> None:
        """Of the replies to a group of commands, those that are whole."""
        if not self._take_plain(data):
            self._take_any(data)
        if len(self._buffer) > _LONGEST_REPLY:
            self._violate("a reply without end")
        elif self._buffer and not self._outstanding:
            self._violate("octets behind a reply")
        if self._replies:
            self._may_write.set()  # wakes a writer: the peer has answered before the end
        self._stir()

    def _take_plain(self, data: bytes) -> bool:
        """Whole replies of one line each, as nearly all are. False: not so, nothing is taken."""
        if self._buffer or len(data) > _LONGEST_PLAIN:
            return False
        lines = _PLAIN.findall(data)
        if data.count(b"\n") != len(lines) or not data.endswith(b"\n"):
            return False
        if len(lines) > self._outstanding:
            return False
        for code, text in lines:
            told = text.strip(b" \t\r").decode("utf-8", "surrogateescape")
            self._replies.append(PeerReply(int(code), told))
        self._outstanding -= len(lines)
        return True

    def _take_any(self, data: bytes) -> None:
        self._buffer.extend(data)
        try:
            while self._outstanding and (reply := self._read_response_from_buffer()) is not None:
                self._replies.append(PeerReply(reply.code, reply.message))
                self._outstanding -= 1
        except SMTPResponseException:
            self._violate("not a reply")

    def _stir(self) -> None:
        if self._stirred is not None and not self._stirred.done():
            self._stirred.set_result(None)

    def _violate(self, what: str) -> None:
        self.violation = what
        self.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._may_write.clear()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._may_write.set()
        self.lost.set()
        self._stir()

    async def call(self, *words: bytes, timeout_s: float) -> PeerReply:
        """One command and its reply. Raises PeerGone, PeerViolates."""
        return await self.answered(self.execute_command(*words, timeout=timeout_s))

    def expect(self, replies: int) -> None:
        """So many replies will come to what is written next (RFC 2920). Raises PeerGone when there
        is nobody to answer."""
        if self.violation or not self.is_connected:
            raise self._ended()
        self._outstanding += replies

    async def reply(self, timeout_s: float) -> PeerReply:
        """The next of the replies expected. Raises PeerGone, PeerViolates."""
        while not self._replies:
            if self.violation or self.lost.is_set():
                raise self._ended()
            await self._stirring(timeout_s)
        if self.violation:
            raise PeerViolates(self.violation)
        reply = self._replies.popleft()
        if not 200 <= reply.code <= 599:
            self.abort()
            raise PeerViolates("not a reply code")
        return reply

    def came(self, count: int) -> list[PeerReply] | None:
        """As many replies as were expected, when all of them are here already and are replies."""
        replies = self._replies
        if self.violation or len(replies) != count:
            return None
        if not all(200 <= each.code <= 599 for each in replies):
            return None
        self._replies = deque()
        return list(replies)

    async def _stirring(self, timeout_s: float) -> None:
        """Until octets came or the connection is lost. Raises PeerGone when neither happens."""
        loop = asyncio.get_running_loop()
        stirred = self._stirred = loop.create_future()
        timer = loop.call_later(timeout_s, self._give_up, stirred)
        try:
            await stirred
        finally:
            timer.cancel()
            self._stirred = None

    def _give_up(self, stirred: asyncio.Future[None]) -> None:
        if not stirred.done():
            self.abort()
            stirred.set_exception(PeerGone("no reply in time"))

    def _ended(self) -> PeerFailed:
        return PeerViolates(self.violation) if self.violation else PeerGone("connection lost")

    async def greeting(self, timeout_s: float) -> PeerReply:
        """The first line of the server."""
        return await self.answered(self.read_response(timeout=timeout_s))

    async def upgrade(
        self, context: ssl.SSLContext | tls.ClientContext, host: str, timeout_s: float
    ) -> PeerReply:
        """STARTTLS and the handshake. Raises PeerViolates, TlsUnavailable."""
        try:
            if isinstance(context, tls.ClientContext):
                return await self.answered(self._start_own_tls(context, host, timeout_s))
            return await self.answered(self.start_tls(context, host, timeout_s))
        except (PeerGone, ssl.SSLError, SMTPTimeoutError, OSError) as error:
            if self.violation:
                raise PeerViolates(self.violation) from error
            raise TlsUnavailable("handshake failed") from error

    async def _start_own_tls(
        self, context: tls.ClientContext, host: str, timeout_s: float
    ) -> SMTPResponse:
        """As aiosmtplib's `start_tls`, with our own layer."""
        if self._command_lock is None:
            raise SMTPServerDisconnected("Server not connected")
        async with self._command_lock:
            self._response_pending = True
            self.write(b"STARTTLS\r\n")
            response = await self.read_response(timeout=timeout_s)
            if response.code != 220:
                raise SMTPResponseException(response.code, response.message)
            if self.transport is None or self.transport.is_closing():
                raise SMTPServerDisconnected("Connection lost")
            raw = cast(asyncio.Transport, self.transport)
            self.transport = await tls.connect_tls(raw, self, context, host, timeout_s)
            self._over_ssl = True
        return response

    async def answered(self, reply: Awaitable[tuple[int, str]]) -> PeerReply:
        try:
            code, text = await reply
        except SMTPReadTimeoutError as error:
            self.abort()
            raise PeerGone("no reply in time") from error
        except SMTPResponseException as error:
            if 200 <= error.code <= 599:  # a refusal that aiosmtplib raised as an exception
                return PeerReply(error.code, error.message)
            self.abort()
            raise PeerViolates("not a reply") from error
        except SMTPServerDisconnected as error:
            if self.violation:
                raise PeerViolates(self.violation) from error
            raise PeerGone("connection lost") from error
        if self.violation:
            raise PeerViolates(self.violation)
        if not 200 <= code <= 599:
            self.abort()
            raise PeerViolates("not a reply code")
        return PeerReply(code, text)

    @property
    def has_answered(self) -> bool:
        """The peer answered, or is gone, before all was said."""
        return bool(self._replies) or bool(self.violation) or self.lost.is_set()

    async def put(self, octets: bytes, timeout_s: float) -> None:
        """Write and wait until the peer takes it. Raises PeerGone."""
        try:
            self.write(octets)
            if not self._may_write.is_set():
                async with asyncio.timeout(timeout_s):
                    await self._may_write.wait()
        except TimeoutError as error:
            self.abort()
            raise PeerGone("the peer takes no octets") from error
        except SMTPServerDisconnected as error:
            raise PeerGone("connection lost") from error

    def abort(self) -> None:
        """Drop the connection now, without a word."""
        if self.transport is not None:
            # Not isinstance: uvloop's transports are no subclasses of asyncio's.
            cast(asyncio.WriteTransport, self.transport).abort()

    async def close(self, grace_s: float = 2.0) -> None:
        """Close with TLS's own goodbye, and do not wait long for the peer's."""
        if self.transport is not None:
            self.transport.close()
            try:
                async with asyncio.timeout(grace_s):
                    await self.lost.wait()
            except TimeoutError:
                self.abort()
