"""The doors for people, as they are reached from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mssmtp.config import Endpoint, Settings

Service: TypeAlias = Literal["imap", "smtp"]
Security: TypeAlias = Literal["tls", "starttls"]


@dataclass(frozen=True, slots=True)
class Server:
    """One door. `security`: TLS from the first octet, or STARTTLS."""

    service: Service
    host: str
    port: int
    security: Security


def servers(settings: Settings) -> tuple[Server, ...]:
    """Those that are open, IMAP first; TLS from the first octet before STARTTLS (RFC 8314 3).

    Doors of systems are none of them: no program can be told to bring a certificate (CL-29).
    """
    listen, host = settings.listen, settings.operator.host_name
    places: tuple[tuple[Service, Endpoint | None, Security], ...] = (
        ("imap", listen.imaps, "tls"),
        ("imap", listen.imap, "starttls"),
        ("smtp", listen.submissions, "tls"),
        ("smtp", listen.submission, "starttls"),
    )
    return tuple(
        Server(service, host, place.reached_at, security)
        for service, place, security in places
        if place is not None
    )


def best(found: Iterable[Server], service: Service) -> Server | None:
    """The one for a program that is told of one only; None: this service is closed."""
    return next((each for each in found if each.service == service), None)
