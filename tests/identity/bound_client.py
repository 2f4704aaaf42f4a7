"""A client that can bind a login to its TLS connection: pyOpenSSL on a socket, GNU SASL on top."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from tests.identity import gsasl

WAIT_S = 10.0


class Wire:
    """Lines over TLS."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self._kept = b""

    def line(self) -> bytes:
        while b"\n" not in self._kept:
            self._kept += self.connection.recv(16_384)
        line, _, self._kept = self._kept.partition(b"\n")
        return line.rstrip(b"\r")

    def send(self, line: bytes) -> None:
        self.connection.sendall(line + b"\r\n")

    def bindings(self) -> dict[str, bytes]:
        """As RFC 9266 and RFC 5929 say; the client's view of the connection."""
        found = self.connection.get_peer_certificate(as_cryptography=True)
        assert isinstance(found, x509.Certificate)
        return {
            "tls-exporter": self.connection.export_keying_material(
                b"EXPORTER-Channel-Binding", 32, b""
            ),
            "tls-server-end-point": found.fingerprint(hashes.SHA256()),
        }


@contextmanager
def connected(
    port: int, *, tls_1_2: bool = False, before: Callable[[socket.socket], None] | None = None
) -> Iterator[Wire]:
    """A wire to a door of ours. `before`: what is said in clear, to the end of STARTTLS."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if tls_1_2:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        if before is not None:
            before(sock)
        sock.settimeout(None)  # pyOpenSSL wants a socket that blocks; the test has a time limit
        connection = SSL.Connection(context, sock)
        connection.set_connect_state()
        connection.do_handshake()
        yield Wire(connection)
        connection.shutdown()


def scram(
    say: Callable[[bytes], bytes], mechanism: str, who: tuple[str, str], wire: Wire, binding: str
) -> bytes:
    """GNU SASL logs in; `say` sends a base64 line and gives the challenge, or the last line."""
    known = {"tls-exporter": wire.bindings()[binding]} if binding else {}
    with gsasl.client(mechanism, *who, known) as client:
        challenge = say(base64.b64encode(client.step(b"")))
        while challenge.startswith((b"+ ", b"334 ")):
            answer = client.step(base64.b64decode(challenge.partition(b" ")[2]))
            challenge = say(base64.b64encode(answer))
        assert client.is_done == (b" OK" in challenge or challenge.startswith(b"235 ")), challenge
    return challenge
