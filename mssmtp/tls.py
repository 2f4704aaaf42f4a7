"""The doors' TLS, and that of our clients: from the first octet (RFC 8314 3) or after STARTTLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import cast

from mssmtp.tls_engine import Engine, TlsFailure
from mssmtp.tls_layer import Admission, Layer, TlsTransport
from mssmtp.tls_outgoing import Upper
from mssmtp.tls_settings import ClientContext, ServerContext, server_context
from mssmtp.tls_stdlib import client_context, peer_chain

__all__ = [
    "Engine",
    "ClientContext",
    "ServerContext",
    "TlsFailure",
    "TlsTransport",
    "Upper",
    "bindings_of",
    "client_context",
    "connect_tls",
    "listen",
    "peer_chain",
    "server_context",
    "start_tls",
]

_BACKLOG = 1_024
_MAX_HANDSHAKES = 1_000


def start_tls(
    transport: asyncio.Transport,
    upper: Upper,
    context: ServerContext,
    *,
    handshake_timeout_s: float,
    on_failure: Callable[[str], None] | None = None,
) -> None:
    """Put TLS between `transport` and `upper`, after the caller wrote its go-ahead in clear.

    The caller has made sure that nothing is left of what it had read in clear (RFC 3207 4.2,
    ATT-02). After the handshake `upper.connection_made(TlsTransport)` comes before any decrypted
    octet. A failed handshake calls `on_failure(reason)`, closes, and ends in
    `upper.connection_lost` if `upper` was the transport's protocol before.
    """
    told = upper if transport.get_protocol() is upper else None
    layer = Layer(context, lambda: upper, handshake_timeout_s, on_failure)
    layer.begin(transport, told)
    transport.set_protocol(layer)
    transport.resume_reading()


class _Outward:
    """The client side towards one host, as a layer wants it."""

    def __init__(self, context: ClientContext, host: str) -> None:
        self.incoming, self.clear = context.incoming, context.clear
        self._context, self._host = context, host

    def engine(self) -> Engine:
        return self._context.engine(self._host)


async def connect_tls(
    transport: asyncio.Transport,
    upper: Upper,
    context: ClientContext,
    host: str,
    handshake_timeout_s: float,
) -> TlsTransport:
    """The client's side of `start_tls`, once the server's go-ahead was read; then `upper` goes on.

    `upper` knows of its connection already and is told nothing new. Raises ConnectionError.
    """
    shaken: asyncio.Future[TlsTransport] = asyncio.get_running_loop().create_future()

    def failed(reason: str) -> None:
        if not shaken.done():
            shaken.set_exception(ConnectionError(f"TLS handshake: {reason}"))

    layer = Layer(_Outward(context, host), lambda: _Shaken(shaken), handshake_timeout_s, failed)
    layer.begin(transport, None)
    transport.set_protocol(layer)
    layer.speak_first()
    transport.resume_reading()
    try:
        secure = await shaken
    except BaseException:
        layer.abort()
        raise
    if secure.is_closing():
        raise ConnectionError("closed after the handshake")
    secure.set_protocol(upper)
    secure.resume_reading()
    return secure


class _Shaken(asyncio.Protocol):
    """Stands above the layer until the caller of `connect_tls` goes on; reads nothing."""

    def __init__(self, shaken: asyncio.Future[TlsTransport]) -> None:
        self._shaken = shaken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secure = cast(TlsTransport, transport)
        secure.pause_reading()
        if not self._shaken.done():
            self._shaken.set_result(secure)


async def listen(
    sock: socket.socket,
    factory: Callable[[], Upper],
    context: ServerContext | None,
    *,
    on_failure: Callable[[str], None] | None = None,
    max_handshakes: int = _MAX_HANDSHAKES,
) -> asyncio.AbstractServer:
    """Serve `sock`, a bound stream socket. With `context`, TLS comes first (RFC 8314 3).

    `factory` is then called when a handshake is done. More than `max_handshakes` unfinished ones
    are not begun: such a connection is dropped and reported as "too many handshakes".
    """
    loop = asyncio.get_running_loop()
    if context is None:
        return await loop.create_server(factory, sock=sock, backlog=_BACKLOG)
    timeout_s = context.settings.handshake_timeout_s
    admission = Admission(max_handshakes)

    def connection() -> Layer:
        return Layer(context, factory, timeout_s, on_failure, admission)

    return await loop.create_server(connection, sock=sock, backlog=_BACKLOG)


def bindings_of(transport: asyncio.BaseTransport | None) -> Mapping[str, bytes]:
    """What binds a login to this connection (RFC 5056); nothing in clear."""
    return transport.bindings() if isinstance(transport, TlsTransport) else {}
