"""The outside enters here: clock, randomness, DNS. Below `app` nobody reads them by itself."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from mssmtp.errors import BadAddress, MailError, Reply
from mssmtp.mail import Domain, domain

T = TypeVar("T")

MEMORY = Path("/dev/shm")  # noqa: S108 - directories of our own are made in it, mode 0700
"""A file system in memory: what is mapped there waits for no disk, and ends with the machine."""


class Clock(Protocol):
    """Time as a parameter."""

    def now(self) -> datetime:
        """Aware UTC wall time."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Entropy(Protocol):
    """Randomness as a parameter."""

    def token_bytes(self, octets: int) -> bytes:
        """`octets` octets fit for keys."""
        ...


_DRAWN_OCTETS = 1_024
_FRESH_S = 0.05


class SystemEntropy:
    """The operating system's generator, read for several values at once; safe between threads.

    A letter takes fifteen keys, nonces and salts. Each call into the kernel gives the interpreter
    away and has to win it back from another thread, which took 0.18 ms under load. What was drawn
    is used within a moment or not at all, by one process: a fork, or the copy of a virtual machine
    that wakes up later, draws anew, so that no nonce comes twice.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn = b""
        self._given = 0
        self._drawn_by = 0
        self._stale_at_s = 0.0

    def token_bytes(self, octets: int) -> bytes:
        if octets > _DRAWN_OCTETS // 4:
            return secrets.token_bytes(octets)
        with self._lock:
            start, now_s, process = self._given, time.monotonic(), os.getpid()
            if (
                start + octets > len(self._drawn)
                or process != self._drawn_by
                or now_s > self._stale_at_s
            ):
                self._drawn = secrets.token_bytes(_DRAWN_OCTETS)
                self._drawn_by, self._stale_at_s, start = process, now_s + _FRESH_S, 0
            self._given = end = start + octets
            return self._drawn[start:end]


class LookupFailed(MailError):
    """DNS gave no usable host now: no record, no answer, nobody asked (RFC 5321 5.1).

    Even NXDOMAIN waits until the queue gives up (docs/trust.md, step 2): the domain is in the
    signed list, so that a hole in DNS is an incident rather than a wrong address.
    """

    smtp = Reply(
        451, "4.4.3", "Serveur de messagerie du destinataire introuvable ; nouvel essai prévu."
    )


class NoMailAccepted(MailError):
    """The domain says that it takes no mail: a null MX (RFC 7505)."""

    smtp = Reply(
        556, "5.1.10", "Ce domaine déclare ne recevoir aucun message ; vérifiez l'adresse."
    )


class Resolver(Protocol):
    """DNS as the relay needs it (OP-16)."""

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        """Hosts to try for `name`, best first; without MX the domain itself (RFC 5321 5.1).

        Equal preferences come in random order. Raises LookupFailed, NoMailAccepted.
        """
        ...

    async def addresses(self, host: str) -> tuple[str, ...]:
        """IPv4 then IPv6 addresses of `host`, never empty. Raises LookupFailed."""
        ...


class DnsResolver:
    """`Resolver` on dnspython; answers are cached for their TTL and bounded in number.

    `nameservers` are IP addresses, the system's when empty; `lifetime_s` bounds one look-up with
    its retries and aliases.
    """

    MAX_HOSTS = 20
    MAX_ADDRESSES = 8

    def __init__(
        self,
        entropy: Entropy,
        nameservers: Sequence[str] = (),
        port: int = 53,
        *,
        lifetime_s: float = 10.0,
    ) -> None:
        self._entropy = entropy
        self._dns = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            self._dns.nameservers = list(nameservers)
        self._dns.port = port
        self._dns.lifetime = lifetime_s
        self._dns.timeout = min(lifetime_s / 2, 3.0)
        self._dns.cache = dns.resolver.LRUCache(2_000)

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        answer = await self._ask(name, "MX")
        records = [each for each in answer if isinstance(each, MX)]
        if not records:
            return (name,)
        if len(records) == 1 and records[0].exchange.to_text() == ".":
            raise NoMailAccepted
        # A hostile zone may hold thousands of records: only the best of them are looked at.
        found = [(each.preference, _host(each.exchange.to_text())) for each in records]
        hosts = [(rank, host) for rank, host in sorted(found) if host is not None]
        if not hosts:
            raise LookupFailed
        ordered: list[str] = []
        for _, equals in groupby(hosts, key=lambda pair: pair[0]):
            ordered += self._shuffled([host for _, host in equals])
        return tuple(dict.fromkeys(ordered))[: self.MAX_HOSTS]

    async def addresses(self, host: str) -> tuple[str, ...]:
        v4 = [each.address for each in await self._ask(host, "A") if isinstance(each, A)]
        try:
            v6 = [each.address for each in await self._ask(host, "AAAA") if isinstance(each, AAAA)]
        except LookupFailed:
            if not v4:
                raise
            v6 = []  # servers that answer SERVFAIL for a type they do not know are common
        found = self._shuffled(v4)[: self.MAX_ADDRESSES] + self._shuffled(v6)[: self.MAX_ADDRESSES]
        if not found:
            raise LookupFailed
        return tuple(found)

    async def _ask(self, name: str, kind: str) -> list[object]:
        """Records of `name`; an empty list when the name or the type does not exist."""
        try:
            answer = await self._dns.resolve(f"{name}.", kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailed from error
        return list(answer)

    def _shuffled(self, items: Sequence[T]) -> list[T]:
        """RFC 5321 5.1: hosts of equal preference are tried in random order, to spread the load."""
        return sorted(items, key=lambda _: self._entropy.token_bytes(8))


def _host(text: str) -> str | None:
    """The host name of an MX record, None when it cannot be one (RFC 5321 5.1)."""
    try:
        return domain(text.removesuffix("."))
    except BadAddress:
        return None
