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

from mssmtp.errors import Reply
from mssmtp.mail import DeliverBy, Domain, Operator, Recipient, ReversePath
from mssmtp.pki import UNREADABLE
from mssmtp.smtp_transaction import Transaction
from mssmtp.smtp_wire import (
    NotTransmissible,
    PeerFailed,
    PeerGone,
    PeerNotTrusted,
    PeerReply,
    TlsUnavailable,
    Wire,
)
from mssmtp.tls import ClientContext, TlsTransport
from mssmtp.tls_settings import OwnCertificate
from mssmtp.trust import Snapshot, Suspended

MOST_RECIPIENTS: Final = 1_000
"""In one transaction with a peer that names no limit; one that takes less says 452."""

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
    """What goes behind DATA, read block by block, and the wishes of the sender.

    `ending` is called before the last octets go out, from when on the peer may have taken it (D4).
    `by_s`: seconds left until the deadline of RFC 2852. `is_report`: of a null sender, which goes
    on without REQUIRETLS rather than be lost (RFC 8689 5).
    """

    size_octets: int
    read: ReadBlock
    envid: str | None = None
    ret: str | None = None
    require_tls: bool = False
    is_report: bool = False
    priority: int = 0
    by: DeliverBy | None = None
    by_s: int = 0
    ending: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Answers:
    """What the peer said of each recipient, and of the message as a whole when it was sent.

    `left`: recipients that it wants in another transaction (RFC 5321 4.5.3.1.10, RFC 9422).
    """

    by_recipient: dict[Recipient, PeerReply] = field(default_factory=dict)
    final: PeerReply | None = None
    left: tuple[Recipient, ...] = ()


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
        self.settled: dict[Domain, tuple[Snapshot, Suspended, float]] = {}
        """By what `judged` was said, and until when nobody asks again."""
        self.messages = 0
        self.is_midway = False
        """MAIL was taken and no letter followed: RSET before the next one (RFC 5321 4.1.4)."""
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

    @property
    def promises_tls(self) -> bool:
        """The peer hands on by TLS alone what asks for it (RFC 8689)."""
        return "requiretls" in self.extensions

    @property
    def keeps_time(self) -> bool:
        """The peer knows deadlines (RFC 2852)."""
        return "deliverby" in self.extensions

    @property
    def most_recipients(self) -> int:
        """In one transaction: what the peer names (RFC 9422), or what every peer must take."""
        return self._limit("rcptmax") or MOST_RECIPIENTS

    @property
    def is_spent(self) -> bool:
        """As many messages have gone over it as the peer wants on one connection (RFC 9422)."""
        most = self._limit("mailmax")
        return most is not None and self.messages >= most

    def _limit(self, name: str) -> int | None:
        if "limits" not in self.extensions:
            return None
        for word in self.extensions["limits"].lower().split():
            key, _, value = word.partition("=")
            if key == name and value.isascii() and value.isdigit() and len(value) <= 6:
                return int(value) or None  # RFC 9422 4: at least 1
        return None

    async def is_alive(self) -> bool:
        """Ask with RSET whether an idle connection can be used again."""
        if not self.is_open:
            return False
        try:
            reply = await self._wire.call(b"RSET", timeout_s=self._settings.connect_timeout_s)
        except PeerFailed:
            self.abort()
            return False
        self.is_midway = self.is_midway and not reply.is_positive
        return reply.is_positive

    async def probe(self, sender: ReversePath, recipient: Recipient) -> PeerReply:
        """What the peer says to MAIL and RCPT; the transaction is taken back. Raises PeerFailed."""

        async def nothing(start: int, stop: int) -> bytes:
            return b""

        reply = await self._call(self._mail(sender, Content(0, nothing)).strip())
        if reply.is_positive:
            reply = await self._call(self._rcpt(recipient).strip())
            await self._call(b"RSET")
        return reply

    async def send(
        self, sender: ReversePath, recipients: tuple[Recipient, ...], content: Content
    ) -> Answers:
        """One mail transaction. Raises PeerFailed when it broke before the final octets.

        At most `most_recipients` of `recipients` go into it; those it did not take for their number
        are `left`. NotTransmissible leaves the connection closed and nothing delivered.
        """
        self.messages += 1
        some = recipients[: self.most_recipients]
        transaction = Transaction(self._wire, self._settings.command_timeout_s, self.extensions)
        try:
            answers = await transaction.run(self._mail(sender, content), self._rcpts(some), content)
        except BaseException:
            # Whatever is half said must not become part of the next transaction.
            self._wire.abort()
            raise
        finally:
            self.in_doubt = self.in_doubt or transaction.in_doubt
        self.is_midway = answers.final is None or not answers.final.is_positive
        said = dict(zip(some, answers.recipients, strict=True))
        taken = [each for each, reply in said.items() if reply.is_positive]
        crowded = [each for each, reply in said.items() if taken and reply.is_too_many]
        if answers.final is not None:
            said |= dict.fromkeys(taken, answers.final)
        for each in crowded:
            del said[each]
        return self._ended(Answers(said, answers.final, (*crowded, *recipients[len(some) :])))

    def _ended(self, answers: Answers) -> Answers:
        """Close what cannot serve another transaction: 421, a lost or a senseless reply."""
        codes = {reply.code for reply in answers.by_recipient.values()}
        if self.in_doubt or 421 in codes or any(300 <= code < 400 for code in codes):
            self.abort()
        return answers

    async def _call(self, *words: bytes) -> PeerReply:
        return await self._wire.call(*words, timeout_s=self._settings.command_timeout_s)

    def _mail(self, sender: ReversePath, content: Content) -> bytes:
        words = [f"MAIL FROM:<{sender or ''}>".encode("ascii")]
        if "size" in self.extensions:
            words.append(b"SIZE=%d" % content.size_octets)
        if "8bitmime" in self.extensions:
            words.append(b"BODY=8BITMIME")
        if self.makes_reports:
            if content.ret is not None:
                words.append(b"RET=" + content.ret.encode("ascii"))
            if content.envid is not None:
                words.append(b"ENVID=" + content.envid.encode("ascii"))
        if content.require_tls and self.promises_tls:
            words.append(b"REQUIRETLS")
        if content.priority and "mt-priority" in self.extensions:
            words.append(b"MT-PRIORITY=%d" % content.priority)
        if content.by is not None and self.keeps_time:
            trace = b"T" if content.by.trace else b""
            words.append(b"BY=%d;%b%b" % (content.by_s, content.by.mode.encode("ascii"), trace))
        return _command(words)

    def _rcpts(self, recipients: tuple[Recipient, ...]) -> list[bytes]:
        return [self._rcpt(each) for each in recipients]

    def _rcpt(self, recipient: Recipient) -> bytes:
        words = [f"RCPT TO:<{recipient.address}>".encode("ascii")]
        if self.makes_reports:
            if recipient.notify is not None:
                wishes = ",".join(sorted(recipient.notify)) or "NEVER"
                words.append(b"NOTIFY=" + wishes.encode("ascii"))
            if recipient.orcpt is not None:
                words.append(b"ORCPT=" + recipient.orcpt.encode("ascii"))
        return _command(words)

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


def _command(words: list[bytes]) -> bytes:
    """A command line. Nothing of an envelope ends a line: addresses and wishes were parsed; this is
    the second lock (ATT-01)."""
    line = b" ".join(words)
    if b"\r" in line or b"\n" in line:
        raise NotTransmissible
    return line + b"\r\n"


def _refused(reply: PeerReply) -> PeerFailed:
    """The server does not talk to us now; a greeting never bounces mail (RFC 5321 3.1)."""
    return PeerFailed(
        "refused at the greeting",
        reply=Reply(451, "4.4.1", f"Serveur destinataire indisponible ({reply.code})."),
    )
