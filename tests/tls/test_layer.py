"""The layer without a socket: how octets are cut, what comes first, what may pile up."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from OpenSSL import SSL

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.tls import Engine, ServerContext, server_context
from tests.tls.wires import BufferedRecorder, MemoryClient, Recorder, client_of

pytestmark = pytest.mark.timeout(20, method="thread")


@pytest.fixture(scope="session")
def context(settings: TlsSettings, files: CertificateSettings) -> ServerContext:
    return server_context(settings, files, ask_certificate=True)


def cut(octets: bytes, lengths: list[int]) -> Iterator[bytes]:
    """`octets` in pieces of these lengths, taken in turns."""
    start, turn = 0, 0
    while start < len(octets):
        length = lengths[turn % len(lengths)]
        yield octets[start : start + length]
        start, turn = start + length, turn + 1


@given(
    lengths=st.lists(st.sampled_from([1, 4, 5, 6, 1_000, 16_384, 16_406, 65_536]), min_size=1),
    version=st.sampled_from(["TLSv1.2", "TLSv1.3"]),
    octets=st.sampled_from([0, 1, 16_384, 16_385, 50_000]),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_clear_octets_do_not_depend_on_how_ciphertext_was_cut(
    context: ServerContext, settings: TlsSettings, lengths: list[int], version: str, octets: int
) -> None:
    sent = random.Random(octets).randbytes(octets)  # noqa: S311

    async def scenario() -> None:
        upper = Recorder()
        client = MemoryClient(client_of(settings, version), context, upper)
        flight = client.last_flight()
        if version == "TLSv1.3" and sent:
            client.session.write(sent)  # in the same breath as its Finished
            flight += client.outgoing.read()
        for piece in cut(flight, lengths if octets < 10_000 else [max(lengths)]):
            client.wire.arrive(piece)
        if version == "TLSv1.2":
            client.step()
            if sent:
                client.session.write(sent)
                for piece in cut(client.outgoing.read(), lengths):
                    client.wire.arrive(piece)
        assert upper.events[0] == "made"
        assert bytes(upper.received) == sent

    asyncio.run(scenario())


class Answering(Recorder):
    """Answers at once what it is told."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(b"250 " + data)


@pytest.mark.attack
async def test_att_02_octets_read_with_the_finished_are_answered_in_ciphertext(
    context: ServerContext, settings: TlsSettings
) -> None:
    """They must not overtake connection_made nor be answered in clear."""
    upper = Answering()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    flight = client.last_flight()
    client.session.write(b"NOOP\r\n")
    client.wire.arrive(flight + client.outgoing.read())
    assert upper.events == ["made", "data"]
    assert b"250" not in client.wire.written
    assert client.read() == b"250 NOOP\r\n"


@pytest.mark.attack
def test_att_40_nobody_renegotiates(context: ServerContext) -> None:
    """Only TLS 1.2 has it, and only pyOpenSSL's client still asks for it."""
    engine = context.engine()
    client = SSL.Connection(SSL.Context(SSL.TLSv1_2_METHOD), None)
    client.set_connect_state()
    turns = 0
    while not shake_hands(client):
        carry(client, engine)
        engine.handshake()
        client.bio_write(engine.take())
        turns += 1
        assert turns < 5
    client.renegotiate()
    assert not shake_hands(client)
    carry(client, engine)
    assert engine.read_into(memoryview(bytearray(100))) == 0
    client.bio_write(engine.take())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        shake_hands(client)


def shake_hands(client: SSL.Connection) -> bool:
    try:
        client.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def carry(client: SSL.Connection, engine: Engine) -> None:
    engine.feed(client.bio_read(65_536))


@pytest.mark.attack
async def test_att_40_records_that_pile_up_end_the_connection(
    context: ServerContext, settings: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a peer asks for one key update after another and reads no answer."""
    upper = Recorder()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    client.wire.buffered_octets = 2_000_000
    client.session.write(b"x")
    client.wire.arrive(client.outgoing.read())
    assert not client.wire.is_aborted  # nothing was added to what waits
    monkeypatch.setattr(upper.transport._layer._engine, "take", lambda: b"key update")
    client.session.write(b"x")
    client.wire.arrive(client.outgoing.read())
    assert client.wire.is_aborted


async def test_octets_kept_while_paused_come_after_resuming_not_during(
    context: ServerContext, settings: TlsSettings
) -> None:
    class Careful(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if len(self.events) == 2:
                self.transport.pause_reading()
                self.transport.resume_reading()
                assert self.events == ["made", "data"]
                self.transport.pause_reading()

    upper = Careful()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    client.session.write(b"a" * 65_000)
    for piece in cut(client.outgoing.read(), [60_000]):
        client.wire.arrive(piece)
    assert client.wire.is_paused
    held = len(upper.received)
    assert 0 < held < 65_000
    upper.transport.resume_reading()
    assert len(upper.received) == held
    await asyncio.sleep(0)
    assert bytes(upper.received) == b"a" * 65_000


async def test_a_record_that_waits_behind_half_of_another_comes_too(
    context: ServerContext, settings: TlsSettings
) -> None:
    """A door pauses in the middle of a record while exactly one more is at hand."""

    class Pausing(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            if self.recorder.events == ["made", "data"]:
                self.recorder.transport.pause_reading()

    upper = Pausing()
    upper.buffer = bytearray(1_000)
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    for octet in (b"-", b"a", b"b"):
        client.session.write(octet * (1 if octet == b"-" else 5_500))
        client.wire.arrive(client.outgoing.read())
        if octet == b"-":
            upper.recorder.transport.resume_reading()
            await asyncio.sleep(0)
            upper.recorder.events[:] = ["made"]  # and pause at the next
    assert len(upper.recorder.received) == 1 + len(upper.buffer)
    upper.recorder.transport.resume_reading()
    await asyncio.sleep(0)
    assert bytes(upper.recorder.received) == b"-" + b"a" * 5_500 + b"b" * 5_500


async def test_a_door_that_fails_on_kept_octets_loses_its_connection(
    context: ServerContext, settings: TlsSettings
) -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, told: reported.append(told["exception"])
    )

    class Failing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()

        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    upper = Failing()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    client.session.write(b"x")
    client.wire.arrive(client.outgoing.read())
    upper.transport.resume_reading()
    await asyncio.sleep(0)
    assert client.wire.is_aborted
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_limits_of_the_write_buffer_decide_when_a_door_is_paused(
    context: ServerContext, settings: TlsSettings
) -> None:
    upper = Recorder()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    transport = upper.transport
    transport.set_write_buffer_limits(high=100_000, low=10)
    assert transport.get_write_buffer_limits() == (10, 100_000)
    layer = client.wire.protocol
    layer.pause_writing()
    transport.write(b"x" * 100_000)
    assert "pause" not in upper.events
    transport.write(b"y")
    assert upper.events[-1] == "pause"
    assert not client.wire.written
    layer.resume_writing()
    assert upper.events[-1] == "resume"
    assert client.read() == b"x" * 100_000 + b"y"
    with pytest.raises(ValueError, match="must be >="):
        transport.set_write_buffer_limits(high=1, low=2)


async def test_a_closed_connection_gives_its_memory_back(
    context: ServerContext, settings: TlsSettings
) -> None:
    """Without waiting for the collector, which does not see OpenSSL's share."""
    upper = Recorder()
    client = MemoryClient(client_of(settings, "TLSv1.3"), context, upper)
    client.handshake()
    session = weakref.ref(upper.transport._layer._engine._connection)
    gc.disable()
    try:
        upper.transport.abort()
        client.wire.protocol.connection_lost(None)
        assert session() is None
    finally:
        gc.enable()
    upper.transport.write(b"too late")
    upper.transport.close()
    assert upper.events == ["made", "lost"]
