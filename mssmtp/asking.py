"""How a command reaches the operations.

Through the socket of a server that runs on the home, and in its own process, as the operator, when
none does; or over TLS with the caller's own certificate, for who has no home here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp import app as server
from mssmtp.admin import OPERATIONS, Answered, Office, answer
from mssmtp.admin.callers import user_name
from mssmtp.admin.operation import Json, Row
from mssmtp.config import CertificateSettings, Settings, TlsSettings
from mssmtp.errors import ConfigError
from mssmtp.errors import OperationRefused as Refused
from mssmtp.mail import Actor, AdminLevel
from mssmtp.tls_stdlib import client_context

__all__ = [
    "Desk",
    "Remote",
    "Row",
    "Refused",
    "desk_at",
    "desk_of",
    "desk_on",
    "fingerprint",
    "operations",
]

_WITHIN_S = 600.0
"""A long operation (many boxes) says nothing until it is done."""
_ADMIN_PORT = 8443


class Way(Protocol):
    """How a call gets to its answer."""

    def __call__(self, name: str, body: bytes) -> Answered:
        """Raises ConfigError when there is no answer."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a command brings its calls."""

    way: Way

    def row(self, name: str, input: Mapping[str, Json]) -> Row:
        """The answer of an operation that gives one. Raises Refused."""
        return cast(Row, self._ask(name, input))

    def rows(self, name: str, input: Mapping[str, Json]) -> list[Row]:
        """The answer of one that gives a list. Raises Refused."""
        return cast(list[Row], self._ask(name, input))

    def pages(self, name: str, input: Mapping[str, Json]) -> list[Row]:
        """Every page of a list, put together. Raises Refused."""
        found: list[Row] = []
        while page := self.rows(name, {**input, "after": found[-1]["id"] if found else 0}):
            found += page
        return found

    def _ask(self, name: str, input: Mapping[str, Json]) -> object:
        answered = self.way(name, json.dumps(input).encode())
        said = json.loads(answered.body)
        if answered.status != 200:
            usage = answered.status in (400, 403, 404)
            raise Refused(said["what"], said["why"], said["remedy"], is_usage=usage)
        return said


def desk_of(settings: Settings) -> Desk:
    """The operations of a home of this machine."""

    def way(name: str, body: bytes) -> Answered:
        connection = _UnixConnection(settings.store.home / "run" / "admin.sock")
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return _here(settings, name, body)
        return _post(connection, name, body)

    return Desk(way)


def desk_on(path: Path) -> Desk:
    """The operations of a server whose socket we may open, as the user we are."""

    def way(name: str, body: bytes) -> Answered:
        return _post(_UnixConnection(path), name, body)

    return Desk(way)


@dataclass(frozen=True, slots=True)
class Remote:
    """A server elsewhere: its `https://host:port`, our certificate, whom we take for it."""

    url: str
    certificate_file: Path
    key_file: Path
    anchors_file: Path


def desk_at(remote: Remote) -> Desk:
    """The operations of a server elsewhere. Raises ConfigError."""
    parts = urlsplit(remote.url)
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigError(remote.url, "is no https://host:port", "Ask your operator for it.")
    own = CertificateSettings(certificate_file=remote.certificate_file, key_file=remote.key_file)
    context = client_context(_tls_of(own), own, remote.anchors_file)
    host, port = parts.hostname, parts.port or _ADMIN_PORT

    def way(name: str, body: bytes) -> Answered:
        connection = http.client.HTTPSConnection(host, port, timeout=_WITHIN_S, context=context)
        return _post(connection, name, body)

    return Desk(way)


def _tls_of(own: CertificateSettings) -> TlsSettings:
    return TlsSettings(operators=own, users=own)


def _post(connection: http.client.HTTPConnection, name: str, body: bytes) -> Answered:
    try:
        connection.request("POST", f"/v1/{name}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answered(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(
            name,
            f"the server did not answer ({type(error).__name__}); it may or may not be done",
            "Look whether it is, then repeat.",
        ) from error
    finally:
        connection.close()


def _here(settings: Settings, name: str, body: bytes) -> Answered:
    actor = Actor(AdminLevel.OPERATOR, user_name(os.geteuid()))
    with server.store_of(settings) as store:
        return answer(Office(store, settings, server.CLOCK, server.ENTROPY), actor, name, body)


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate of a PEM file, in hex. Raises ConfigError."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        raise ConfigError(
            str(certificate), f"cannot be read ({error.strerror})", "Check the path and its mode."
        ) from error
    except ValueError as error:
        raise ConfigError(
            str(certificate), "holds no PEM certificate", "Name a PEM file with the certificate."
        ) from error
    return hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()


def operations() -> list[Row]:
    """The table, for people."""
    return [
        {
            "operation": each.name,
            "least level": each.level.value,
            "changes": each.changes,
            "what it does": each.meaning,
        }
        for each in OPERATIONS
    ]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        """Through the directory's descriptor: a path of a socket is 107 octets at most."""
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_WITHIN_S)
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)
