"""A peer that resets the connection at the very moment we end it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path
from typing import cast

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import Identity
from mssmtp.tls import TlsTransport, client_context, listen, server_context
from tests.authority import A_DOMAIN


class Door(asyncio.Protocol):
    """Says how its connection ended."""

    def __init__(self) -> None:
        self.made: asyncio.Future[TlsTransport] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.set_result(cast(TlsTransport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class ResetAfterWrite:
    """The raw transport of a peer that resets as soon as it has read what is written next."""

    def __init__(self, raw: asyncio.Transport, client: ssl.SSLSocket) -> None:
        self._raw, self._client = raw, client

    def write(self, octets: bytes) -> None:
        self._raw.write(octets)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._raw, name)


def _dial(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)))


async def test_closing_over_a_connection_the_peer_has_just_reset_is_no_error(
    healthy: dict[str, Identity], tmp_path: Path
) -> None:
    """swaks resets once it has read our 221: shutting our side down then fails (ENOTCONN)."""
    written = healthy[A_DOMAIN].write(tmp_path, "server")
    own = CertificateSettings(certificate_file=written.certificate_file, key_file=written.key_file)
    settings = TlsSettings(operators=own, users=own)
    context = server_context(settings, own, ask_certificate=False)
    door = Door()
    sock = socket.create_server(("127.0.0.1", 0))
    server = await listen(sock, lambda: door, context)
    port = sock.getsockname()[1]
    client = await asyncio.to_thread(_dial, port, client_context(settings, None))
    transport = await door.made
    outgoing = transport._layer.outgoing
    outgoing._raw = cast(asyncio.Transport, ResetAfterWrite(outgoing._raw, client))
    try:
        transport.close()
        await asyncio.wait_for(door.lost, 30)
    finally:
        server.close()
