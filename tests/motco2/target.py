"""The server under test as a stranger knows it, and how one opens its doors."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Door:
    """One port. `starttls`: clear first."""

    protocol: Literal["imap", "smtp"]
    host: str
    port: int
    starttls: bool

    def __str__(self) -> str:
        return f"{self.protocol} {self.port}{' STARTTLS' if self.starttls else ''}"


@dataclass(frozen=True, slots=True)
class Box:
    """A box and the password of its mail client."""

    address: str
    password: str


@dataclass(frozen=True)
class Target:
    """Where and as whom. `ca_file`: PEM; of it only the roots are believed."""

    ca_file: Path
    imap: Door
    imaps: Door
    submission: Door
    submissions: Door
    box: Box
    other: Box
    unlisted: str = "personne@domaine-non-liste.invalid"

    @property
    def doors(self) -> tuple[Door, ...]:
        """All four."""
        return self.imap, self.imaps, self.submission, self.submissions

    @cached_property
    def roots(self) -> str:
        """Self-signed certificates only: what is in between must come from the server (CL-09)."""
        found = x509.load_pem_x509_certificates(self.ca_file.read_bytes())
        roots = [c.public_bytes(Encoding.PEM) for c in found if c.subject == c.issuer]
        return b"".join(roots).decode("ascii")

    def context(self) -> ssl.SSLContext:
        """TLS of a mail client that has learnt the root: chain, dates and host name are checked."""
        return ssl.create_default_context(cadata=self.roots)

    # ------------------------------------------------------------ sessions

    @contextmanager
    def imap_session(self, box: Box | None = None, *, tls: bool = True) -> Iterator[imaplib.IMAP4]:
        """On the TLS port; without `tls` on the other one, in clear. Logged in for a `box`."""
        client: imaplib.IMAP4
        if tls:
            door = self.imaps
            client = imaplib.IMAP4_SSL(
                door.host, door.port, ssl_context=self.context(), timeout=TIMEOUT_S
            )
        else:
            client = imaplib.IMAP4(self.imap.host, self.imap.port, TIMEOUT_S)
        with client:
            if box is not None:
                client.login(box.address, box.password)
            yield client

    @contextmanager
    def smtp_session(self, box: Box | None = None, *, tls: bool = True) -> Iterator[smtplib.SMTP]:
        """The same for submission."""
        client: smtplib.SMTP
        if tls:
            door = self.submissions
            client = smtplib.SMTP_SSL(
                door.host, door.port, timeout=TIMEOUT_S, context=self.context()
            )
        else:
            client = smtplib.SMTP(self.submission.host, self.submission.port, timeout=TIMEOUT_S)
        with client:
            client.ehlo("poste.invalid")
            if box is not None:
                client.login(box.address, box.password)
            yield client


def handshake(door: Door, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS session with the door and nothing more. Raises OSError, ssl.SSLError."""
    raw = socket.create_connection((door.host, door.port), TIMEOUT_S)
    try:
        if door.starttls:
            _upgrade(raw, door)
        return context.wrap_socket(raw, server_hostname=door.host)
    except BaseException:
        raw.close()
        raise


def _upgrade(raw: socket.socket, door: Door) -> None:
    """Up to the moment of the handshake, octet by octet: nothing of it may be swallowed."""
    asked = b"a STARTTLS\r\n" if door.protocol == "imap" else b"EHLO poste.invalid\r\n"
    _line(raw)
    raw.sendall(asked)
    if door.protocol == "imap":
        answer = _line(raw)
        while answer.startswith(b"* "):
            answer = _line(raw)
        if not answer.startswith(b"a OK"):
            raise ConnectionError(f"STARTTLS: {answer!r}")
        return
    while _line(raw)[3:4] == b"-":
        pass
    raw.sendall(b"STARTTLS\r\n")
    if not (answer := _line(raw)).startswith(b"220"):
        raise ConnectionError(f"STARTTLS: {answer!r}")


def _line(raw: socket.socket) -> bytes:
    octets = b""
    while not octets.endswith(b"\r\n"):
        octet = raw.recv(1)
        if not octet or len(octets) > 4_096:
            raise ConnectionError(f"no line: {octets!r}")
        octets += octet
    return octets
