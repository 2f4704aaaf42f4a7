"""A relay of the ordinary Internet for tests: aiosmtpd, which is not of our making."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Said:
    """What the relay does and what it was given."""

    replies: dict[str, str] = field(default_factory=dict)
    """By recipient, by MAIL, or by DATA."""
    password: bytes = b"secret-du-relais"
    logins: list[bytes] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    letters: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "MAIL" in self.replies:
            return self.replies["MAIL"]
        self.senders.append(address)
        envelope.mail_from = address
        return "250 2.1.0 ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.replies:
            return self.replies["DATA"]
        content = envelope.content
        assert isinstance(content, bytes)
        self.letters += [(to, content) for to in envelope.rcpt_tos]
        return "250 2.0.0 ok"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login)
        return AuthResult(success=data.password == self.password, handled=False)

    def mails(self) -> list[EmailMessage]:
        """What it took, read by CPython."""
        found = []
        for _, octets in self.letters:
            mail = message_from_bytes(octets, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            found.append(mail)
        return found


@asynccontextmanager
async def listening(said: Said, context: ssl.SSLContext | None = None) -> AsyncIterator[Said]:
    """STARTTLS and a login are required when there is a `context`."""

    def make() -> SMTP:
        return SMTP(
            said,
            hostname="relais.example",
            tls_context=context,
            require_starttls=context is not None,
            auth_required=context is not None,
            authenticator=said.authenticate,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", said.port)
    said.port = server.sockets[0].getsockname()[1]
    try:
        yield said
    finally:
        server.close()
        await server.wait_closed()
