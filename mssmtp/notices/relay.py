"""The relay that takes service mail: one conversation, some letters, what it said of each (DEF-04).

It knows addresses of the ordinary Internet and octets that `letter` made. The doors and the queue
of the trust space are strangers to it, and it to them: `lint-imports` and a test hold them apart.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import aiosmtplib

from mssmtp.config_notices import NoticeSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Address, Domain
from mssmtp.secret_files import secret_in

_LEAST_TLS: Final = ssl.TLSVersion.TLSv1_2


class RelayFailed(Exception):
    """The relay takes nothing now, for a reason of its own: everything waits."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What the relay said of one letter: `code` is 250, 4yz or 5yz. Its words are not kept: they
    may name the person."""

    code: int

    @property
    def is_sent(self) -> bool:
        """It is the relay's now."""
        return 200 <= self.code < 300

    @property
    def is_final(self) -> bool:
        """Refused for good."""
        return self.code >= 500


class Relay:
    """Where service mail goes, by the settings. Raises ConfigError for a wrong file."""

    def __init__(self, settings: NoticeSettings, host_name: Domain) -> None:
        self._settings, self._host_name = settings, host_name
        self._sender = Address.parse(settings.from_address)
        self._context = None if settings.relay_tls == "none" else _context(settings)

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[Conversation]:
        """Connected, encrypted, logged in. Raises RelayFailed."""
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.relay_host,
            port=settings.relay_port,
            local_hostname=self._host_name,
            timeout=settings.timeout_s,
            use_tls=settings.relay_tls == "implicit",
            start_tls=settings.relay_tls == "starttls",
            tls_context=self._context,
        )
        try:
            async with asyncio.timeout(settings.timeout_s):
                await client.connect()
                if settings.relay_login is not None:
                    await _log_in(client, settings.relay_login, _password(settings))
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise RelayFailed(_why(error)) from error
        except BaseException:
            client.close()
            raise
        try:
            yield Conversation(client, self._sender, settings.timeout_s)
        finally:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await client.quit()
            client.close()


class Conversation:
    """Letters one after the other over one connection."""

    def __init__(self, client: aiosmtplib.SMTP, sender: Address, timeout_s: float) -> None:
        self._client, self._sender, self._timeout_s = client, sender, timeout_s

    async def send(self, to: Address, octets: bytes) -> Taken:
        """One letter. Raises RelayFailed when the connection is of no more use."""
        try:
            async with asyncio.timeout(self._timeout_s * 4):
                await self._client.sendmail(str(self._sender), [str(to)], octets)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return Taken(error.recipients[0].code)
        except aiosmtplib.SMTPSenderRefused as error:
            # Whoever the letter is for, our own address is what it does not like.
            raise RelayFailed(f"sender refused, {error.code}") from error
        except aiosmtplib.SMTPResponseException as error:
            if not 400 <= error.code <= 599 or error.code == 421:
                raise RelayFailed(_why(error)) from error
            return Taken(error.code)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise RelayFailed(_why(error)) from error
        return Taken(250)


async def _log_in(client: aiosmtplib.SMTP, login: str, password: str) -> None:
    """Once, by one mechanism: a relay that counts wrong passwords must not count three."""
    await client.ehlo()  # RFC 3207 4.2: what was said before the handshake is forgotten
    if "plain" in client.supported_auth_methods:
        await client.auth_plain(login, password)
    else:
        await client.auth_login(login, password)


def _context(settings: NoticeSettings) -> ssl.SSLContext:
    """The relay is of the ordinary Internet: its certificate too, not one of the trust space."""
    try:
        context = ssl.create_default_context(cafile=settings.relay_anchors_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "notices.relay_anchors_file", "cannot be read", "Name a PEM file of certificates."
        ) from error
    context.minimum_version = _LEAST_TLS
    return context


def _password(settings: NoticeSettings) -> str:
    """Read for each conversation. Raises RelayFailed."""
    assert settings.relay_password_file is not None  # noqa: S101 - checked with the settings
    where = "notices.relay_password_file"
    try:
        return secret_in(settings.relay_password_file, where)
    except ConfigError as error:
        raise RelayFailed(f"{where}: {error.why}. {error.remedy}") from error


def _why(error: BaseException) -> str:
    """For the log: no words of the relay, which may repeat a login or an address."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
