"""Our side of one SMTP conversation with another operator's server (RFC 5321, RFC 3207).

Whether the peer may have the message is decided above, in `smtp_pool`: nothing here says MAIL
before its caller has judged `chain`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

from aiosmtplib.esmtp import parse_esmtp_extensions
from cryptography import x509

from mssmtp.errors import Damaged, Reply
from mssmtp.mail import Domain, Operator, Recipient, ReversePath
from mssmtp.pki import UNREADABLE
from mssmtp.smtp_wire import (
    DotStuffer,
    FinalReplyLost,
    PeerFailed,
    PeerGone,
    PeerNotTrusted,
    PeerReply,
    PeerViolates,
    TlsUnavailable,
    Wire,
    from_reply,
)
from mssmtp.tls import ClientContext, TlsTransport
from mssmtp.tls_settings import OwnCertificate

BLOCK_OCTETS: Final = 262_144
"""Content is read and sent in blocks of this size; at most two are held."""

ReadBlock = Callable[[int, int], Awaitable[bytes]]
"""Octets [start, stop) of the content."""


# ---------------------------------------------------------------- one peer


@dataclass(frozen=True, slots=True)
class Target:
    """One address of one host of the recipient domain."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How we speak: our name in EHLO, our TLS, how long we wait."""

    host_name: Domain
    context: ssl.SSLContext | ClientContext
    connect_timeout_s: float
    command_timeout_s: float
    handshake_timeout_s: float
    own: OwnCertificate | None = None
    """What `context` presents."""


@dataclass(frozen=True, slots=True)
class Content:
    """What goes behind DATA, read block by block, and the wishes of the sender (RFC 3461)."""

    size_octets: int
    read: ReadBlock
    envid: str | None = None
    ret: str | None = None


@dataclass(slots=True)
class Answers:
    """What the peer said of each recipient, and of the message as a whole when it was sent."""

    by_recipient: dict[Recipient, PeerReply] = field(default_factory=dict)
    final: PeerReply | None = None


class PeerConnection:
    """An encrypted connection to one server; `judged` holds the domains it was accepted for.

    `in_doubt`: the last dot went out and no answer came back, so far or for ever (D4).
    """

    def __init__(self, target: Target, settings: ClientSettings, wire: Wire) -> None:
        self.target = target
        self._settings = settings
        self._wire = wire
        self.extensions: dict[str, str] = {}
        self.chain: tuple[x509.Certificate, ...] = ()
        self.stapled = b""
        self.tls_version: str | None = None
        self.tls_cipher: str | None = None
        self.judged: dict[Domain, Operator] = {}
        self.messages = 0
        self.in_doubt = False

    @classmethod
    async def open(cls, target: Target, settings: ClientSettings) -> PeerConnection:
        """Connect, greet, STARTTLS with our certificate, greet again. Raises PeerFailed.

        Nothing about the message was said yet; the certificate is not judged yet.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                _, wire = await loop.create_connection(Wire, target.address, target.port)
        except (OSError, TimeoutError) as error:
            raise PeerFailed("cannot connect") from error
        connection = cls(target, settings, wire)
        try:
            await connection._greet()
        except BaseException:
            wire.abort()
            raise
        return connection

    async def _greet(self) -> None:
        timeout_s = self._settings.command_timeout_s
        hello = await self._wire.greeting(timeout_s)
        if hello.code != 220:
            raise _refused(hello)
        await self._ehlo()
        if "starttls" not in self.extensions:
            raise TlsUnavailable("STARTTLS is not offered")
        ready = await self._wire.upgrade(
            self._settings.context, self.target.host, self._settings.handshake_timeout_s
        )
        if ready.code != 220:
            raise TlsUnavailable("STARTTLS is refused")
        self._read_tls()
        # RFC 3207 4.2: what was said before the handshake is forgotten.
        self.extensions = {}
        try:
            await self._ehlo()
        except PeerGone as error:
            # In TLS 1.3 a peer that refuses our certificate says so only now.
            raise TlsUnavailable("closed after the handshake") from error

    async def _ehlo(self) -> None:
        reply = await self._call(b"EHLO", self._settings.host_name.encode("ascii"))
        if reply.code != 250:
            raise _refused(reply)
        self.extensions, _ = parse_esmtp_extensions(reply.text)

    def _read_tls(self) -> None:
        transport = cast(asyncio.BaseTransport, self._wire.transport)
        if isinstance(transport, TlsTransport):
            told = transport.get_extra_info
            self.chain = cast("tuple[x509.Certificate, ...]", told("peer_chain", ()))
            self.stapled = cast(bytes, told("stapled", b""))
            self.tls_version = cast("str | None", told("tls_version"))
            self.tls_cipher = cast("str | None", told("tls_cipher"))
            return
        session = cast("ssl.SSLObject | None", transport.get_extra_info("ssl_object"))
        if session is None:
            raise TlsUnavailable("closed during the handshake")
        leaf = session.getpeercert(binary_form=True)
        cipher = session.cipher()
        self.tls_version = session.version()
        self.tls_cipher = cipher[0] if cipher else None
        if leaf is not None:
            try:
                self.chain = (x509.load_der_x509_certificate(leaf),)
            except UNREADABLE as error:
                raise PeerNotTrusted("unreadable certificate") from error

    @property
    def own(self) -> OwnCertificate | None:
        """The certificate the peer knows us by."""
        return self._settings.own

    @property
    def is_open(self) -> bool:
        """Nothing has closed it so far."""
        return self._wire.is_connected and not self._wire.violation

    @property
    def largest_octets(self) -> int | None:
        """The peer's SIZE; None when it names none (RFC 1870 3: 0 means no fixed limit)."""
        value = self.extensions.get("size", "").strip()
        return int(value) or None if value.isascii() and value.isdigit() else None

    @property
    def makes_reports(self) -> bool:
        """The peer takes the parameters of RFC 3461."""
        return "dsn" in self.extensions

    async def is_alive(self) -> bool:
        """Ask with RSET whether an idle connection can be used again."""
        if not self.is_open:
            return False
        try:
            reply = await self._wire.call(b"RSET", timeout_s=self._settings.connect_timeout_s)
        except PeerFailed:
            self.abort()
            return False
        return reply.is_positive

    async def probe(self, sender: ReversePath, recipient: Recipient) -> PeerReply:
        """What the peer says to MAIL and RCPT; the transaction is taken back. Raises PeerFailed."""

        async def nothing(start: int, stop: int) -> bytes:
            return b""

        reply = await self._call(*self._mail(sender, Content(0, nothing)))
        if reply.is_positive:
            reply = await self._call(*self._rcpt(recipient))
            await self._call(b"RSET")
        return reply

    async def send(
        self, sender: ReversePath, recipients: tuple[Recipient, ...], content: Content
    ) -> Answers:
        """One mail transaction. Raises PeerFailed when it broke before the final dot.

        NotTransmissible leaves the connection closed and nothing delivered.
        """
        self.messages += 1
        answers = Answers()
        reply = await self._call(*self._mail(sender, content))
        if not reply.is_positive:
            answers.by_recipient = dict.fromkeys(recipients, reply)
            return self._ended(answers)
        accepted: list[Recipient] = []
        for recipient in recipients:
            reply = await self._call(*self._rcpt(recipient))
            if reply.is_positive:
                accepted.append(recipient)
            else:
                answers.by_recipient[recipient] = reply
        if accepted:
            await self._data(accepted, content, answers)
        return self._ended(answers)

    async def _data(self, accepted: list[Recipient], content: Content, answers: Answers) -> None:
        reply = await self._call(b"DATA")
        if reply.code != 354:
            if reply.code < 400:  # neither a refusal nor an invitation
                self.abort()
                raise PeerViolates("unexpected answer to DATA")
            answers.by_recipient |= dict.fromkeys(accepted, reply)
            return
        try:
            final = await self._stream(content)
        except FinalReplyLost as error:
            final = from_reply(error.reply)
        if 300 <= final.code < 400:
            self.abort()
            raise PeerViolates("unexpected answer to the message")
        answers.final = final
        answers.by_recipient |= dict.fromkeys(accepted, final)

    async def _stream(self, content: Content) -> PeerReply:
        """The content and the dot; the peer's final reply. Until the dot nothing is delivered."""
        timeout_s = self._settings.command_timeout_s
        stuffer = DotStuffer()
        wire = self._wire
        wire.expect_early_reply()
        try:
            for start in range(0, content.size_octets, BLOCK_OCTETS):
                stop = min(start + BLOCK_OCTETS, content.size_octets)
                block = await content.read(start, stop)
                if len(block) != stop - start:
                    raise Damaged("content is shorter than announced")
                await wire.put(stuffer.feed(block), timeout_s)
                if wire.early_reply:
                    return await self._early(wire)
            end = stuffer.finish()
            if wire.early_reply:
                return await self._early(wire)
        except BaseException:
            # Without the dot the peer must forget the message (RFC 5321 4.1.1.4).
            wire.abort()
            raise
        try:
            self.in_doubt = True
            wire.expect_early_reply()
            await wire.put(end, timeout_s)
            # RFC 5321 4.5.3.2.6: the final reply may take twice as long as any other.
            final = await wire.answered(wire.read_response(timeout=2 * timeout_s))
        except PeerFailed as error:
            raise FinalReplyLost from error
        self.in_doubt = False
        return final

    async def _early(self, wire: Wire) -> PeerReply:
        """A reply before the dot: a refusal counts, anything else is nonsense."""
        reply = await wire.answered(wire.read_response(timeout=1.0))
        wire.abort()
        if reply.code < 400:
            raise PeerViolates("accepted before the end of the message")
        return reply

    def _ended(self, answers: Answers) -> Answers:
        """Close what cannot serve another transaction: 421, a lost or a senseless reply."""
        codes = {reply.code for reply in answers.by_recipient.values()}
        if self.in_doubt or 421 in codes or any(300 <= code < 400 for code in codes):
            self.abort()
        return answers

    async def _call(self, *words: bytes) -> PeerReply:
        return await self._wire.call(*words, timeout_s=self._settings.command_timeout_s)

    def _mail(self, sender: ReversePath, content: Content) -> list[bytes]:
        words = [b"MAIL", f"FROM:<{sender or ''}>".encode("ascii")]
        if "size" in self.extensions:
            words.append(b"SIZE=%d" % content.size_octets)
        if "8bitmime" in self.extensions:
            words.append(b"BODY=8BITMIME")
        if self.makes_reports:
            if content.ret is not None:
                words.append(b"RET=" + content.ret.encode("ascii"))
            if content.envid is not None:
                words.append(b"ENVID=" + content.envid.encode("ascii"))
        return words

    def _rcpt(self, recipient: Recipient) -> list[bytes]:
        words = [b"RCPT", f"TO:<{recipient.address}>".encode("ascii")]
        if self.makes_reports:
            if recipient.notify is not None:
                wishes = ",".join(sorted(recipient.notify)) or "NEVER"
                words.append(b"NOTIFY=" + wishes.encode("ascii"))
            if recipient.orcpt is not None:
                words.append(b"ORCPT=" + recipient.orcpt.encode("ascii"))
        return words

    async def quit(self) -> None:
        """End politely; never fails, never waits long."""
        if self.is_open:
            try:
                await self._wire.call(b"QUIT", timeout_s=2.0)
            except PeerFailed:
                self.abort()
        await self._wire.close()

    def abort(self) -> None:
        """Drop the connection now."""
        self._wire.abort()


def _refused(reply: PeerReply) -> PeerFailed:
    """The server does not talk to us now; a greeting never bounces mail (RFC 5321 3.1)."""
    return PeerFailed(
        "refused at the greeting",
        reply=Reply(451, "4.4.1", f"Serveur destinataire indisponible ({reply.code})."),
    )
