"""The DNS records that lead a mail program from an address to its servers."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mssmtp.autoconfig.servers import Server, servers
from mssmtp.config import Settings
from mssmtp.mail import Domain

LABELS = ("autoconfig", "autodiscover")
TTL_S = 3600
_LABELS_OF = {
    ("imap", "tls"): "_imaps._tcp",
    ("imap", "starttls"): "_imap._tcp",
    ("smtp", "tls"): "_submissions._tcp",
    ("smtp", "starttls"): "_submission._tcp",
}
_NONE = "0 0 0 ."
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a zone. `value`: as a zone file writes it (RFC 1035 5.1)."""

    name: str
    ttl: int
    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} {self.ttl} IN {self.type} {self.value}"


def records(settings: Settings, domain: Domain) -> tuple[Record, ...]:
    """Those to publish for `domain` (CL-26).

    SRV of RFC 6186 and 8314: TLS from the first octet is preferred (a lower priority), and what is
    closed, as POP always is, is said to be (RFC 6186 3.4: the target `.`). Where pages are open:
    the names under which they answer programs, and the SRV of Autodiscover.
    """
    open_doors = {_LABELS_OF[each.service, each.security]: each for each in servers(settings)}
    told = {label: _srv(open_doors.get(label)) for label in _LABELS_OF.values()}
    told |= {"_pop3s._tcp": _NONE, "_pop3._tcp": _NONE}
    found = [Record(f"{label}.{domain}.", TTL_S, "SRV", value) for label, value in told.items()]
    if settings.listen.web is not None:
        host, port = pages_at(settings)
        found += [Record(f"{label}.{domain}.", TTL_S, "CNAME", f"{host}.") for label in LABELS]
        found.append(Record(f"_autodiscover._tcp.{domain}.", TTL_S, "SRV", f"0 1 {port} {host}."))
    return tuple(found)


def _srv(server: Server | None) -> str:
    if server is None:
        return _NONE
    priority = 10 if server.security == "tls" else 20
    return f"{priority} 1 {server.port} {server.host}."


def pages_at(settings: Settings) -> tuple[str, int]:
    """Host and port of the pages, as they are reached."""
    reached = urlsplit(settings.notices.portal_url)
    return (reached.hostname or "").lower(), reached.port or _HTTPS


def names(domain: Domain) -> tuple[str, ...]:
    """What the certificate of the pages has to name for programs to ask there."""
    return tuple(f"{label}.{domain}" for label in LABELS)
