"""TLS between a raw transport and a door: pyOpenSSL on memory BIOs under an asyncio transport.

An `Engine` turns octets into octets; `Layer` is the protocol of the raw transport; `TlsTransport`
is what a door sees. Works on asyncio and uvloop. The engine may ask for a certificate and lets all
through, so that a bad one can be answered by an SMTP reply.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol, cast

from mssmtp.mail import counted_as
from mssmtp.tls_engine import Bindings, Buffer, Engine, TlsFailure
from mssmtp.tls_outgoing import Outgoing, Upper

_RECORD_OCTETS = 16_384
_LINGER_S = 2.0
_CLOSE_TIMEOUT_S = 30.0
_NOTHING = memoryview(b"")


class _State(Enum):
    HANDSHAKE = 1
    OPEN = 2
    CLOSING = 3  # the door has said its last word; octets still go out
    LINGERING = 4  # everything was said; the peer's end is awaited
    CLOSED = 5


class TlsTransport(asyncio.Transport):
    """What a door writes clear octets to, once the handshake is done.

    `get_extra_info`: all of the raw transport's, and `peer_chain` (tuple of x509.Certificate,
    leaf first, empty when none was presented), `tls_version`, `tls_cipher`, `sni`, and `stapled`,
    the OCSP answer a server sent to a client of ours, or no octets.
    """

    def __init__(self, layer: Layer, facts: dict[str, object]) -> None:
        super().__init__()
        self._layer = layer
        self._facts = facts

    def get_extra_info(self, name: str, default: object = None) -> object:
        if name in self._facts:
            return self._facts[name]
        return self._layer.raw.get_extra_info(name, default)

    def bindings(self) -> Mapping[str, bytes]:
        """See `Engine.bindings`; none once the connection is lost."""
        return self._layer.bindings()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._layer.set_upper(cast(Upper, protocol))

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._layer.upper

    def is_closing(self) -> bool:
        return self._layer.is_closing

    def is_reading(self) -> bool:
        return not self._layer.reading_paused and not self._layer.is_closing

    def pause_reading(self) -> None:
        self._layer.pause_reading()

    def resume_reading(self) -> None:
        self._layer.resume_reading()

    def write(self, data: Buffer) -> None:
        self._layer.write(data)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self._layer.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("TLS is closed whole")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._layer.outgoing.set_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._layer.outgoing.low, self._layer.outgoing.high

    def get_write_buffer_size(self) -> int:
        return self._layer.outgoing.size

    def close(self) -> None:
        self._layer.close()

    def abort(self) -> None:
        self._layer.abort()


class _Block(NamedTuple):
    """What was decrypted at once."""

    octets: int
    is_drained: bool
    """Nothing is left to be decrypted."""
    end: Exception | None
    """What ended the session if anything did."""


class Admission:
    """Unfinished handshakes of one listener, bounded, and of one address to a fifth of it: who says
    nothing on a thousand connections keeps nobody else out (ATT-40, ATT-41)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: dict[Layer, str] = {}
        self._addresses: Counter[str] = Counter()

    def enter(self, layer: Layer) -> bool:
        peer = layer.raw.get_extra_info("peername")
        address = counted_as(str(peer[0])) if isinstance(peer, tuple) else ""
        share = max(self._most // 5, 1)
        if len(self._inside) >= self._most or self._addresses[address] >= share:
            return False
        self._inside[layer] = address
        self._addresses[address] += 1
        return True

    def leave(self, layer: Layer) -> None:
        address = self._inside.pop(layer, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


class Sessions(Protocol):
    """What makes engines, and the buffers its connections share."""

    incoming: bytearray
    clear: bytearray

    def engine(self) -> Engine:
        """One side of one new session."""
        ...


class Layer(asyncio.BufferedProtocol):
    """The protocol of a raw transport: ciphertext below, clear octets above."""

    raw: asyncio.Transport
    upper: Upper
    outgoing: Outgoing
    _engine: Engine

    def __init__(
        self,
        context: Sessions,
        factory: Callable[[], Upper],
        handshake_timeout_s: float,
        on_failure: Callable[[str], None] | None,
        admission: Admission | None = None,
    ) -> None:
        self._context = context
        self._factory = factory
        self._handshake_timeout_s = handshake_timeout_s
        self._on_failure = on_failure
        self._admission = admission
        self._state = _State.HANDSHAKE
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._ciphertext = _NOTHING
        self._is_drained = False
        self._upper_knows = False
        self._raw_eof = False
        self._error: ConnectionError | None = None
        self.reading_paused = False

    # ------------------------------------------------------------ called by the raw transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.begin(cast(asyncio.Transport, transport), None)

    def begin(self, raw: asyncio.Transport, told: Upper | None) -> None:
        """Wait for the ClientHello. `told`: a protocol that knows of this connection already."""
        self.raw = raw
        if told is not None:
            self.upper = told
            self._upper_knows = True
        connected = raw.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            # Without it a TLS 1.3 handshake loses 40 ms to delayed acknowledgements.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._engine = self._context.engine()
        self.outgoing = Outgoing(raw, self._engine)
        if self._admission is not None and not self._admission.enter(self):
            self._report("too many handshakes")
            self.abort()
            return
        self._later(self._handshake_timeout_s, self._handshake_expired)

    def speak_first(self) -> None:
        """The client's hello."""
        try:
            self._engine.handshake()
            self.outgoing.send_records()
        except TlsFailure as failure:
            self._fail(str(failure))

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._context.incoming

    def buffer_updated(self, nbytes: int) -> None:
        if self._state not in (_State.HANDSHAKE, _State.OPEN):
            return
        self._ciphertext = memoryview(self._context.incoming)[:nbytes]
        if self._state is _State.HANDSHAKE:
            self._shake_hands()
        if self._state is _State.OPEN:
            self._deliver()
        if self._state is _State.OPEN:
            self._engine.feed(
                self._ciphertext
            )  # reading was paused: the buffer is not ours to keep
        self._ciphertext = _NOTHING

    def eof_received(self) -> bool:
        self._raw_eof = True
        if self._state is _State.HANDSHAKE:
            self._report("closed by the peer")
        if self._state is _State.OPEN:
            self._deliver()
            return True  # what still waits to be sent is sent first
        return False

    def pause_writing(self) -> None:
        self.outgoing.pause()

    def resume_writing(self) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            self.outgoing.resume()
        except TlsFailure as failure:
            self._fail(str(failure))
        self._finish_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state is _State.HANDSHAKE:
            self._report("connection lost")
        self._state = _State.CLOSED
        self._settle()
        self.outgoing.discard()
        self._engine.free()
        if self._upper_knows:
            self.upper.connection_lost(self._error or exc)

    # ------------------------------------------------------------ called by the upper protocol

    def set_upper(self, upper: Upper) -> None:
        self.upper = upper
        self.outgoing.upper = upper

    @property
    def is_closing(self) -> bool:
        return self._state is not _State.OPEN or self.raw.is_closing()

    def bindings(self) -> Mapping[str, bytes]:
        if self._state is not _State.OPEN:
            return {}
        return Bindings(self._looked_up, is_certain=self._engine.is_1_3)

    def _looked_up(self) -> dict[str, bytes]:
        return self._engine.bindings() if self._state is _State.OPEN else {}

    def pause_reading(self) -> None:
        if self._state is _State.OPEN and not self.reading_paused:
            self.reading_paused = True
            if not self._raw_eof:
                self.raw.pause_reading()

    def resume_reading(self) -> None:
        if self._state is _State.OPEN and self.reading_paused:
            self.reading_paused = False
            if not self._raw_eof:
                self.raw.resume_reading()
            # Not now: the caller may be inside its own data_received.
            self._loop.call_soon(self._deliver_kept)

    def write(self, octets: Buffer) -> None:
        if self._state is not _State.OPEN or not octets:
            return
        try:
            self.outgoing.write(octets)
        except TlsFailure as failure:
            self._fail(str(failure))

    def close(self) -> None:
        if self._state is not _State.OPEN:
            return
        self._state = _State.CLOSING
        self._later(_CLOSE_TIMEOUT_S, self.abort)
        if self.reading_paused and not self._raw_eof:
            self.raw.resume_reading()  # to see the peer's end; its octets are dropped
        self._finish_closing()

    def abort(self) -> None:
        self._state = _State.CLOSED
        self.raw.abort()

    # ------------------------------------------------------------ handshake and reading

    def _shake_hands(self) -> None:
        """Feed the engine until the handshake is done or the octets are used up."""
        try:
            done = False
            while self._ciphertext and not done:
                self._feed_slice()
                done = self._engine.handshake()
            self.outgoing.send_records()
            if done:
                self._open(self._engine.describe())
        except TlsFailure as failure:
            self._fail(str(failure))

    def _open(self, facts: dict[str, object]) -> None:
        self._settle()
        self._state = _State.OPEN
        self.set_upper(self._factory())
        self._upper_knows = True
        self.upper.connection_made(TlsTransport(self, facts))

    def _feed_slice(self) -> None:
        # A memory BIO keeps the size of the largest write for the life of the connection.
        self._engine.feed(self._ciphertext[:_RECORD_OCTETS])
        self._ciphertext = self._ciphertext[_RECORD_OCTETS:]

    def _deliver_kept(self) -> None:
        try:
            self._deliver()
        except BaseException:
            self.abort()  # as the raw transport does when its protocol raises
            raise

    def _deliver(self) -> None:
        """Hand clear octets up, in blocks of up to 64 KiB, until there are no more or it pauses."""
        is_drained = False
        while not is_drained and self._is_delivering:
            _, is_drained, end = self._deliver_block(self.upper)
            if end is not None:
                self._after_delivery(end)
                return
        if self._is_delivering:
            self._after_delivery(None)

    @property
    def _is_delivering(self) -> bool:
        return self._state is _State.OPEN and not self.reading_paused

    def _deliver_block(self, upper: Upper) -> _Block:
        # No view on a buffer of the upper protocol is kept: it may want to resize it.
        if isinstance(upper, asyncio.BufferedProtocol):
            block = self._fill(memoryview(upper.get_buffer(-1)))
            if block.octets:
                upper.buffer_updated(block.octets)
        else:
            clear = memoryview(self._context.clear)
            block = self._fill(clear)
            if block.octets:
                upper.data_received(bytes(clear[: block.octets]))
        return block

    def _fill(self, target: memoryview) -> _Block:
        filled = 0
        if self._is_drained and self._ciphertext:
            self._feed_slice()
        self._is_drained = False
        while filled < len(target):
            room = target[filled : filled + _RECORD_OCTETS]
            try:
                octets = self._engine.read_into(room)
            except (EOFError, TlsFailure) as end:
                return _Block(filled, False, end)
            filled += octets
            # A whole record was taken and no other has come: not to be told so by a failed call.
            if octets < len(room) and self._engine.is_hungry:
                if not self._ciphertext:
                    self._is_drained = True
                    return _Block(filled, True, None)
                self._feed_slice()
        return _Block(filled, False, None)

    def _after_delivery(self, end: Exception | None) -> None:
        if self._state is _State.CLOSED:
            return
        if isinstance(end, TlsFailure):
            self._fail(str(end))
        elif not self.outgoing.send_records():
            self._error = ConnectionResetError("the peer does not read")
            self.abort()
        elif self._state is _State.OPEN and (end is not None or self._raw_eof):
            # TLS is not closed by halves here: every protocol above frames its own messages.
            self.upper.eof_received()
            self.close()

    # ------------------------------------------------------------ endings

    def _fail(self, reason: str) -> None:
        """The TLS session broke: send the alert and close."""
        if self._state is _State.CLOSED:
            return
        if self._state is _State.HANDSHAKE:
            self._report(reason)
        self._error = ConnectionResetError(reason)
        self._state = _State.LINGERING
        self._settle()
        self._later(_CLOSE_TIMEOUT_S, self.abort)
        self.outgoing.send_records()
        self._linger()

    def _report(self, reason: str) -> None:
        report, self._on_failure = self._on_failure, None
        if report is not None:
            report(reason)

    def _handshake_expired(self) -> None:
        self._report("timeout")
        self._error = ConnectionResetError("TLS handshake timeout")
        self.abort()

    def _finish_closing(self) -> None:
        if self._state is _State.CLOSING and self.outgoing.is_empty:
            self._state = _State.LINGERING
            self._engine.close()
            self.outgoing.send_records()
            self._linger()

    def _linger(self) -> None:
        """Wait a moment for the peer's end: closing over unread octets would reset the
        connection and could destroy our last reply on its way (RFC 1122 4.2.2.13)."""
        if self._raw_eof or self.raw.is_closing():
            self.raw.close()
            return
        try:
            self.raw.write_eof()
        except OSError:
            # The peer has reset the connection in this moment: nobody is left to wait for.
            self.raw.abort()
            return
        self._later(_LINGER_S, self.raw.close)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(delay_s, call))

    def _settle(self) -> None:
        """The present state is over: its deadlines with it."""
        if self._admission is not None:
            self._admission.leave(self)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
