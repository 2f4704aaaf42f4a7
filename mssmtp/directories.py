"""A hospital's own directory as first factor of its people: LDAP and Active Directory (T29).

The password goes to the directory over verified TLS and nowhere else. What is typed reaches a
filter as a value only (ATT-22, RFC 4515 3), and an empty password is refused here, because a
directory takes it for nobody in particular (RFC 4513 5.1.2). Blocks: in threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import warnings
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from mssmtp.config import Settings
from mssmtp.config_tokens import DirectorySettings, secret_of
from mssmtp.errors import Reply
from mssmtp.identity import BadCredentials, LoginRefused
from mssmtp.mail import Address
from mssmtp.tls_stdlib import client_context

with warnings.catch_warnings():
    # ldap3 still uses names of pyasn1 that have newer ones.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import LDAPException
    from ldap3.utils.conv import escape_filter_chars

logger = logging.getLogger(__name__)

WITHIN_S = 9.0
"""For the whole login: a client gives up after ten seconds."""
_STEP_S = 4
"""Whole seconds: ldap3 gives them to the socket as they are."""
AT_ONCE = 4
WAITING = 200
MOST_CHARACTERS = 255
_INVALID_CREDENTIALS = 49
_SUCCESS = 0


class DirectoryAway(LoginRefused):
    """The directory does not answer, or does not let our own account in: nothing is known."""

    smtp = Reply(
        454,
        "4.7.0",
        "L'annuaire de l'établissement ne répond pas ; réessayez dans quelques minutes.",
    )
    imap = "UNAVAILABLE"
    is_guess = False


@dataclass(frozen=True, slots=True)
class Entry:
    """Whom the directory knows: the one entry of an address, with its distinguished name."""

    name: str
    address: Address


class FirstFactor(Protocol):
    """Whoever can say that a password is a person's."""

    def check(self, address: Address, password: str) -> Entry:
        """Blocks. Raises BadCredentials, DirectoryAway."""
        ...


class _Verified(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """The TLS of our other clients in the place of ldap3's, which compares names by itself."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__()
        self._context, self._host = context, host

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


class LdapDirectory:
    """One directory, as its settings describe it."""

    def __init__(self, settings: DirectorySettings, context: ssl.SSLContext) -> None:
        """`context` verifies chain and name. Raises ConfigError when the password of our own
        account cannot be read."""
        self._settings, self._context = settings, context
        self._secret = secret_of(settings.bind_password_file)
        parts = urlsplit(settings.url)
        self._is_tls = parts.scheme == "ldaps"
        self._host, self._port = parts.hostname or "", parts.port or (636 if self._is_tls else 389)

    def check(self, address: Address, password: str) -> Entry:
        """The entry of `address` whose password this is. Raises BadCredentials, DirectoryAway."""
        if not password or len(password) > MOST_CHARACTERS or "\0" in password:
            raise BadCredentials("empty or too long")
        try:
            name = self._named(address)
            self._prove(name, password)
        except (LDAPException, OSError) as error:
            # The text may quote what was sent.
            told = {"directory": self._settings.name, "kind": type(error).__name__}
            logger.warning("directory does not answer", extra=told)
            raise DirectoryAway(type(error).__name__) from None
        return Entry(name, address)

    def _named(self, address: Address) -> str:
        """The distinguished name of the one entry of `address`."""
        connection = self._opened(self._settings.bind_name, self._secret)
        try:
            if connection.result["result"] != _SUCCESS:
                logger.error("directory refuses us", extra={"directory": self._settings.name})
                raise DirectoryAway("our own account")
            typed = escape_filter_chars(str(address))
            connection.search(
                self._settings.base,
                self._settings.filter.replace("{}", typed),
                attributes=["mail"],
                size_limit=2,
                time_limit=_STEP_S,
            )
            found = [
                each
                for each in connection.response or []
                if each.get("type") == "searchResEntry" and _is_of(each, address)
            ]
        finally:
            _close(connection)
        if len(found) != 1:  # none, or an ambiguous one
            raise BadCredentials("not one entry")
        return str(found[0]["dn"])

    def _prove(self, name: str, password: str) -> None:
        connection = self._opened(name, password)
        outcome = connection.result["result"]
        _close(connection)
        if outcome == _INVALID_CREDENTIALS:
            raise BadCredentials("wrong password, or the account is closed there")
        if outcome != _SUCCESS:
            raise DirectoryAway(f"result {outcome}")

    def _opened(self, name: str, password: str) -> ldap3.Connection:
        """A connection after its bind, whatever came of that."""
        server = ldap3.Server(
            self._host,
            self._port,
            use_ssl=self._is_tls,
            tls=_Verified(self._context, self._host),
            connect_timeout=_STEP_S,
            get_info=ldap3.NONE,
        )
        connection = ldap3.Connection(
            server,
            name,
            password,
            receive_timeout=_STEP_S,
            read_only=True,
            auto_referrals=False,
            raise_exceptions=False,
        )
        try:
            connection.open()
            if not self._is_tls and not connection.start_tls():
                raise DirectoryAway("no TLS")
            connection.bind()
        except BaseException:
            _close(connection)
            raise
        return connection


def _close(connection: ldap3.Connection) -> None:
    """Say goodbye if there is somebody, and let go of the socket in any case."""
    raw = connection.socket
    with suppress(LDAPException, OSError):
        connection.unbind()
    if raw is not None:
        raw.close()


def _is_of(found: dict[str, object], address: Address) -> bool:
    """Whether the entry says itself that the address is its own: a filter may find more."""
    attributes = found.get("raw_attributes")
    values = attributes.get("mail", []) if isinstance(attributes, Mapping) else []
    return address.key.encode() in [bytes(each).lower() for each in values]


class Directories:
    """All of them, by the domain of a person's usual address. One event loop."""

    def __init__(self, directories: Collection[tuple[Collection[str], FirstFactor]]) -> None:
        self._by_domain = {domain: factor for domains, factor in directories for domain in domains}
        self._threads = ThreadPoolExecutor(AT_ONCE, "directory")
        self._waiting = 0

    @classmethod
    def of(cls, settings: Settings) -> Directories:
        """As the settings describe them. Raises ConfigError."""
        return cls(
            [
                (each.usual_domains, LdapDirectory(each, _context(settings, each)))
                for each in settings.directories
            ]
        )

    def of_person(self, address: Address) -> FirstFactor | None:
        """Who knows the password of this person; None: we do."""
        return self._by_domain.get(address.domain)

    async def check(self, address: Address, password: str) -> Entry:
        """Raises BadCredentials, DirectoryAway; never waits longer than a client does."""
        factor = self._by_domain.get(address.domain)
        if factor is None:
            raise BadCredentials("no directory answers for it")
        if self._waiting >= WAITING:
            raise DirectoryAway("too many wait")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, factor.check, address, password)
        try:
            done, _ = await asyncio.wait({job}, timeout=WITHIN_S)
            if not done:
                job.add_done_callback(_forget)
                job.cancel()
                raise DirectoryAway("no answer in time")
            return job.result()
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """No more questions."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _context(settings: Settings, directory: DirectorySettings) -> ssl.SSLContext:
    return client_context(settings.tls, None, directory.anchors_file)


def _forget(job: asyncio.Future[Entry]) -> None:
    if not job.cancelled():
        job.exception()
