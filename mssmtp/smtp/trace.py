"""Trace headers: the lines this server writes above a message, and the only ones it adds.

RFC 5321 4.4 (Return-Path, Received), RFC 3848 (protocol names), RFC 8314 7.4 (TLS version and
suite), CL-56 (Message-ID and Date, at submission only, when missing).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mssmtp.mail import Address, Domain, EnvelopeId, ReversePath
from mssmtp.message.dates import render_date

_ATOM = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}\Z")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Hop:
    """What is said about the connection. `peer_address` is None where it must not be told:
    the address of a person's computer is nobody's business (submission)."""

    greeting: str
    peer_address: str | None
    host_name: Domain
    tls_version: str | None
    tls_cipher: str | None
    authenticated: bool = False
    extended: bool = True
    priority: int = 0

    @property
    def protocol(self) -> str:
        """RFC 3848; plain SMTP cannot tell TLS, hence no S."""
        if not self.extended:
            return "SMTP"
        return "ESMTP" + ("S" if self.tls_version else "") + ("A" if self.authenticated else "")


def return_path(sender: ReversePath) -> bytes:
    """The `Return-Path` line (RFC 5321 4.4)."""
    return f"Return-Path: <{sender or ''}>\r\n".encode("ascii")


def received(hop: Hop, envelope: EnvelopeId, at: datetime) -> bytes:
    """One folded `Received` field; names neither a recipient nor an account of ours.

    Octets of the peer (its greeting) enter only in the form of a host name or literal (ATT-09).
    """
    greeting = hop.greeting if _ATOM.match(hop.greeting) else "unknown"
    origin = f"from {greeting}"
    if hop.peer_address is not None:
        origin += f" ({_literal(hop.peer_address)})"
    urgency = f" priority {hop.priority}" if hop.priority else ""  # RFC 6710 4.2
    by = f"by {hop.host_name} with {hop.protocol} id {envelope}{urgency}"
    lines = [f"Received: {origin}", by]
    if hop.tls_version and _WORD.match(hop.tls_version) and _WORD.match(hop.tls_cipher or ""):
        lines.append(f"(version={hop.tls_version} cipher={hop.tls_cipher})")
    return ("\r\n\t".join(lines) + f";\r\n\t{render_date(at)}\r\n").encode("ascii")


def message_id(envelope: EnvelopeId, domain: Domain) -> bytes:
    """A `Message-ID` line for a message that came without (CL-56)."""
    return f"Message-ID: <{envelope}@{domain}>\r\n".encode("ascii")


def date(at: datetime) -> bytes:
    """A `Date` line for a message that came without (RFC 6409 8.2)."""
    return f"Date: {render_date(at)}\r\n".encode("ascii")


def sender(writer: Address) -> bytes:
    """A `Sender` line: who has written on behalf of the author (RFC 5322 3.6.2, RFC 6409 8.1)."""
    return f"Sender: <{writer}>\r\n".encode("ascii")


def _literal(address: str) -> str:
    """RFC 5321 4.1.3; anything that is no IP address is not repeated."""
    if not _ATOM.match(address):
        return "[unknown]"
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
