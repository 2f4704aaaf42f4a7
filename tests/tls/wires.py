"""Two ends of a wire: protocols that record, stdlib clients, and a transport without a socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.tls import ServerContext, TlsTransport, Upper, client_context, listen, start_tls

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class Recorder(asyncio.Protocol):
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = bytearray()
        self.made = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: TlsTransport
        self.wanted = -1
        self.complete = asyncio.get_running_loop().create_future()
        self.paused = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.events.append("made")
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.events.append("data")
        self.received += data
        self._check()

    async def receive(self, octets: int) -> bytes:
        """Wait for exactly so many octets in all."""
        self.wanted = octets
        self._check()
        await self.complete
        return bytes(self.received)

    def _check(self) -> None:
        if 0 <= self.wanted <= len(self.received) and not self.complete.done():
            self.complete.set_result(None)

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.paused.set()
        self.writable.clear()

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.writable.set()

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)


class BufferedRecorder(asyncio.BufferedProtocol):
    """The same for a door that lends its buffer; a small one, which it resizes."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.buffer = bytearray(20_000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.recorder.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.recorder.data_received(bytes(self.buffer[:nbytes]))
        self.buffer.extend(b"\0")  # must not be held by anybody now
        self.buffer.pop()

    def eof_received(self) -> None:
        self.recorder.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.recorder.connection_lost(exc)


R = TypeVar("R", bound="Recorder | BufferedRecorder")


class Arrivals(Generic[R]):
    """A factory of recorders; `next` waits until it was asked for one more."""

    def __init__(self, make: Callable[[], R]) -> None:
        self._make = make
        self._queue: asyncio.Queue[R] = asyncio.Queue()

    def __call__(self) -> R:
        recorder = self._make()
        self._queue.put_nowait(recorder)
        return recorder

    async def next(self) -> R:
        return await self._queue.get()

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()


def bound() -> tuple[socket.socket, int]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, int(sock.getsockname()[1])


@asynccontextmanager
async def serving(
    context: ServerContext | None,
    factory: Callable[[], Upper],
    on_failure: Callable[[str], None] | None = None,
    max_handshakes: int = 1_000,
) -> AsyncIterator[int]:
    """The port of a listening server."""
    sock, port = bound()
    server = await listen(
        sock, factory, context, on_failure=on_failure, max_handshakes=max_handshakes
    )
    try:
        yield port
    finally:
        server.close()  # waiting for its connections would hide why a test failed


def client_of(
    settings: TlsSettings, version: str, certificate: CertificateSettings | None = None
) -> ssl.SSLContext:
    """A stdlib client that speaks `version` only and judges nobody."""
    context = client_context(settings, certificate)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


async def connect(
    port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )


class MemoryTransport(asyncio.Transport):
    """A raw transport that keeps what is written; `full` makes it behave like a slow peer's."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.is_aborted = self.is_closed = self.is_paused = self.is_half_closed = False
        self.buffered_octets = 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.is_half_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return self.buffered_octets

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def arrive(self, octets: bytes) -> None:
        """Octets from the peer, as much as the protocol's buffer takes at once."""
        protocol = self.protocol
        assert isinstance(protocol, asyncio.BufferedProtocol)
        buffer = protocol.get_buffer(-1)
        assert isinstance(buffer, bytearray)
        assert len(octets) <= len(buffer)
        buffer[: len(octets)] = octets
        protocol.buffer_updated(len(octets))


class MemoryClient:
    """A stdlib client on memory BIOs, wired by hand to the layer under test."""

    def __init__(self, context: ssl.SSLContext, server: ServerContext, upper: Upper) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.wire = MemoryTransport(asyncio.Protocol())
        start_tls(self.wire, upper, server, handshake_timeout_s=30.0)

    def step(self) -> bool:
        """One turn of the handshake on this side. True: this side is done."""
        self.take()
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def take(self) -> None:
        """Read what the server wrote."""
        self.incoming.write(bytes(self.wire.written))
        self.wire.written.clear()

    def read(self) -> bytes:
        """Clear octets the server has sent."""
        self.take()
        said = bytearray()
        while True:
            try:
                octets = self.session.read(65_536)
            except ssl.SSLWantReadError:
                return bytes(said)
            if not octets:
                return bytes(said)
            said += octets

    def last_flight(self) -> bytes:
        """Everything up to the client's Finished is exchanged, except the flight that holds it."""
        while not self.step():
            octets = self.outgoing.read()
            if self.session.version() == "TLSv1.2" and _holds_finished(octets):
                return octets
            self.wire.arrive(octets)
        return self.outgoing.read()

    def handshake(self) -> None:
        self.wire.arrive(self.last_flight())
        if self.wire.written:
            self.step()


def _holds_finished(octets: bytes) -> bool:
    return b"\x14\x03\x03\x00\x01\x01" in octets  # change_cipher_spec comes just before it
