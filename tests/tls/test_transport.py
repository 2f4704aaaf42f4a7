"""The TLS transport on real loopback sockets, against stdlib clients, on both loops."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import ssl
import struct
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import SERVER_ONLY, Authority, Identity, Make, Subject
from mssmtp.tls import ServerContext, peer_chain, server_context, start_tls
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, shared_keys
from tests.tls.wires import (
    Arrivals,
    BufferedRecorder,
    Recorder,
    client_of,
    connect,
    serving,
)

# A signal does not interrupt uvloop: only a thread can end a test that hangs there.
pytestmark = pytest.mark.timeout(20, method="thread")
both_versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
MEGA = 1_000_000


@pytest.fixture
def context(settings: TlsSettings, files: CertificateSettings) -> ServerContext:
    return server_context(settings, files, ask_certificate=True)


def reading(writer: asyncio.StreamWriter) -> asyncio.ReadTransport:
    return cast(asyncio.ReadTransport, writer.transport)


async def dial(port: int, client: ssl.SSLContext, *, ragged: bool = True) -> ssl.SSLSocket:
    """A blocking client, its handshake done."""
    plain = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 10)
    return await asyncio.to_thread(lambda: client.wrap_socket(plain, suppress_ragged_eofs=ragged))


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


# ---------------------------------------------------------------- handshakes


@pytest.mark.requirement("OP-01", "OP-04", "CL-06")
@both_versions
async def test_a_door_sees_who_speaks_and_how(
    context: ServerContext,
    settings: TlsSettings,
    client_files: CertificateSettings,
    healthy: dict[str, Identity],
    version: str,
) -> None:
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        reader, writer = await connect(port, client_of(settings, version, client_files))
        writer.write(b"NOOP\r\n")
        door = await arrivals.next()
        assert await door.receive(6) == b"NOOP\r\n"
        transport = door.transport
        assert transport.get_extra_info("peer_chain") == healthy[B_DOMAIN].chain
        assert transport.get_extra_info("tls_version") == version
        suite = writer.get_extra_info("cipher")[0]
        assert transport.get_extra_info("tls_cipher") == suite
        assert transport.get_extra_info("sni") == "localhost"
        assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
        session = writer.get_extra_info("ssl_object")
        assert peer_chain(session) == healthy[A_DOMAIN].chain
        await close(writer)
        assert await door.lost is None
        assert door.events == ["made", "data", "eof", "lost"]
        assert await reader.read() == b""


@both_versions
@pytest.mark.parametrize("asked", [True, False])
async def test_no_certificate_is_an_empty_chain(
    settings: TlsSettings,
    files: CertificateSettings,
    client_files: CertificateSettings,
    version: str,
    asked: bool,
) -> None:
    context = server_context(settings, files, ask_certificate=asked)
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        # Not asked, a client keeps its certificate for itself.
        own = None if asked else client_files
        _, writer = await connect(port, client_of(settings, version, own))
        writer.write(b"x")
        door = await arrivals.next()
        assert door.transport.get_extra_info("peer_chain") == ()
        await close(writer)
        await door.lost


def bad_certificates(authority: Authority) -> dict[str, Identity]:
    now = authority.now
    other = Authority(now, make_key=shared_keys(1_000))
    past = Make(not_before=now - timedelta(days=30), not_after=now - timedelta(days=1))
    return {
        "expired": authority.issue(A_SUBJECT, past),
        "not yet valid": authority.issue(A_SUBJECT, Make(not_before=now + timedelta(days=1))),
        "server use only": authority.issue(A_SUBJECT, Make(usages=SERVER_ONLY)),
        "no use": authority.issue(A_SUBJECT, Make(usages=None, digital_signature=False)),
        "an authority": authority.issue(A_SUBJECT, Make(is_authority=True)),
        "another authority of the same name": other.issue(A_SUBJECT),
        "not listed": authority.issue(Subject("mx.inconnu.test")),
        "weak and self-signed": weak_and_self_signed(),
    }


def weak_and_self_signed() -> Identity:
    key = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 -- weak on purpose
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.faible.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.public_key(key.public_key()).not_valid_before(now - timedelta(days=1))
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return Identity(certificate, (), key)


@both_versions
async def test_a_bad_certificate_is_recorded_not_refused(
    context: ServerContext,
    settings: TlsSettings,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    version: str,
) -> None:
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        for name, identity in bad_certificates(authority).items():
            written = identity.write(tmp_path_factory.mktemp("bad"), "bad")
            client = client_of(settings, version)
            client.set_ciphers("ECDHE+AESGCM:@SECLEVEL=0")  # so that the client sends even these
            client.load_cert_chain(written.certificate_file, written.key_file)
            _, writer = await connect(port, client)
            writer.write(name.encode())
            door = await arrivals.next()
            assert await door.receive(len(name)) == name.encode()
            chain = door.transport.get_extra_info("peer_chain")
            assert chain == identity.chain, name
            await close(writer)
            await door.lost


# ---------------------------------------------------------------- octets


@both_versions
async def test_large_transfers_arrive_whole_both_ways(
    context: ServerContext, settings: TlsSettings, version: str
) -> None:
    arrivals = Arrivals(Recorder)
    there, back = random.Random(1).randbytes(6 * MEGA), random.Random(2).randbytes(6 * MEGA)  # noqa: S311
    async with serving(context, arrivals) as port:
        reader, writer = await connect(port, client_of(settings, version))
        door = await arrivals.next()
        writer.write(there)
        door.transport.writelines(
            [back[:100], bytearray(back[100:70_000]), memoryview(back)[70_000:]]
        )
        assert digest(await reader.readexactly(len(back))) == digest(back)
        assert digest(await door.receive(len(there))) == digest(there)
        await close(writer)
        await door.lost


def digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


async def test_a_door_that_lends_its_buffer_gets_the_same_octets(
    context: ServerContext, settings: TlsSettings
) -> None:
    sent = random.Random(3).randbytes(3 * MEGA)  # noqa: S311
    arrivals = Arrivals(BufferedRecorder)
    async with serving(context, arrivals) as port:
        _, writer = await connect(port, client_of(settings, "TLSv1.3"))
        door = (await arrivals.next()).recorder
        writer.write(sent)
        assert digest(await door.receive(len(sent))) == digest(sent)
        await close(writer)
        assert await door.lost is None


class Greeter(Recorder):
    """Says its greeting before it has read anything, as SMTP and IMAP doors do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(b"220 bonjour\r\n")


@both_versions
async def test_a_door_may_speak_first(
    context: ServerContext, settings: TlsSettings, version: str
) -> None:
    async with serving(context, Greeter) as port:
        reader, writer = await connect(port, client_of(settings, version))
        assert await reader.readline() == b"220 bonjour\r\n"
        await close(writer)


# ---------------------------------------------------------------- flow control


async def test_a_slow_reader_pauses_the_door_and_costs_no_memory(
    context: ServerContext, settings: TlsSettings
) -> None:
    block, blocks = b"x" * 50_000, 400
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        reader, writer = await connect(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        reading(writer).pause_reading()
        most = 0

        async def speak() -> None:
            nonlocal most
            for _ in range(blocks):
                await door.writable.wait()
                door.transport.write(block)
                most = max(most, door.transport.get_write_buffer_size())
                await asyncio.sleep(0)

        speaking = asyncio.create_task(speak())
        await door.paused.wait()
        assert not speaking.done()
        reading(writer).resume_reading()
        assert len(await reader.readexactly(len(block) * blocks)) == len(block) * blocks
        await speaking
        assert most < 65_536 + 2 * len(block)
        assert "resume" in door.events
        await close(writer)
        await door.lost


async def test_one_large_write_is_not_copied_while_it_waits(
    context: ServerContext, settings: TlsSettings
) -> None:
    letter = random.Random(4).randbytes(20 * MEGA)  # noqa: S311
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        peer = await dial(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        await door.made
        door.transport.write(letter)
        raw = door.transport._layer.raw
        assert door.transport.get_write_buffer_size() > MEGA
        assert raw.get_write_buffer_size() < 200_000
        door.transport.close()  # what was written before is still sent
        assert await asyncio.to_thread(digest_of_all, peer) == digest(letter)
        assert await door.lost is None


def digest_of_all(peer: ssl.SSLSocket) -> str:
    with peer:
        read = hashlib.sha256()
        while octets := peer.recv(65_536):
            read.update(octets)
        return read.hexdigest()


async def test_a_paused_door_is_told_nothing_and_the_sender_has_to_wait(
    context: ServerContext, settings: TlsSettings
) -> None:
    class Deaf(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()

    sent = random.Random(5).randbytes(16 * MEGA)  # noqa: S311
    arrivals = Arrivals(Deaf)
    async with serving(context, arrivals) as port:
        peer = await dial(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        await door.made
        sending = asyncio.create_task(asyncio.to_thread(peer.sendall, sent))
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert door.events == ["made"]
        assert not sending.done()
        door.transport.resume_reading()
        assert digest(await door.receive(len(sent))) == digest(sent)
        await sending
        peer.close()
        await door.lost


# ---------------------------------------------------------------- endings


@both_versions
async def test_a_door_closes_with_close_notify(
    context: ServerContext, settings: TlsSettings, version: str
) -> None:
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        session = await dial(port, client_of(settings, version), ragged=False)
        door = await arrivals.next()
        door.transport.write(b"221 au revoir\r\n")
        door.transport.close()
        door.transport.write(b"never sent")
        assert await asyncio.to_thread(session.recv, 100) == b"221 au revoir\r\n"
        # A truncation would raise SSLEOFError.
        assert await asyncio.to_thread(session.recv, 100) == b""
        (await asyncio.to_thread(session.unwrap)).close()
        assert await door.lost is None
        assert door.events == ["made", "lost"]


async def test_a_vanished_peer_ends_the_connection(
    context: ServerContext, settings: TlsSettings
) -> None:
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        client = client_of(settings, "TLSv1.3")
        for reset in (False, True):
            session = await dial(port, client)
            door = await arrivals.next()
            if reset:
                session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            session.close()
            error = await door.lost  # unread tickets may make a reset of a close
            assert error is None or isinstance(error, OSError)
            assert door.events in (["made", "lost"], ["made", "eof", "lost"])


async def test_the_last_reply_reaches_a_peer_whose_octets_were_not_read(
    context: ServerContext, settings: TlsSettings
) -> None:
    """Closing a socket over unread octets resets it, and a reset destroys what is on its way."""
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        reader, writer = await connect(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        door.transport.pause_reading()
        writer.write(b"x" * MEGA)
        for _ in range(200):
            await asyncio.sleep(0)
        door.transport.write(b"554 5.7.0 non\r\n")
        door.transport.close()
        assert await reader.read() == b"554 5.7.0 non\r\n"
        await close(writer)
        assert await door.lost is None


async def test_damaged_ciphertext_ends_the_connection(
    context: ServerContext, settings: TlsSettings
) -> None:
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals) as port:
        session = await dial(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        handle = socket.socket(fileno=session.detach())
        handle.sendall(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        handle.close()
        assert isinstance(await door.lost, ConnectionResetError)
        assert door.events == ["made", "lost"]


# ---------------------------------------------------------------- STARTTLS


class PlainDoor(Recorder):
    """Answers STARTTLS and hands its connection over, to itself."""

    def __init__(self, context: ServerContext, timeout_s: float = 5.0) -> None:
        super().__init__()
        self.context, self.timeout_s = context, timeout_s
        self.failures: list[str] = []
        self.is_secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.is_secure:
            super().connection_made(transport)
            return
        self.raw = cast(asyncio.Transport, transport)  # uvloop's own classes are not subclasses
        self.raw.write(b"220 mx\r\n")

    def data_received(self, data: bytes) -> None:
        if self.is_secure:
            super().data_received(data)
            self.transport.write(b"250 " + data)
            return
        assert data == b"STARTTLS\r\n"
        self.is_secure = True
        self.raw.write(b"220 go\r\n")
        start_tls(
            self.raw,
            self,
            self.context,
            handshake_timeout_s=self.timeout_s,
            on_failure=self.failures.append,
        )


@both_versions
async def test_starttls_hands_the_connection_over(
    context: ServerContext, settings: TlsSettings, version: str
) -> None:
    arrivals = Arrivals(lambda: PlainDoor(context))
    async with serving(None, arrivals) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        door = await arrivals.next()
        assert await reader.readline() == b"220 mx\r\n"
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"220 go\r\n"
        await writer.start_tls(client_of(settings, version), server_hostname="localhost")
        writer.write(b"EHLO\r\n")
        assert await reader.readline() == b"250 EHLO\r\n"
        await close(writer)
        assert await door.lost is None
        assert door.failures == []


@pytest.mark.attack
async def test_att_02_clear_octets_after_the_go_ahead_reach_nobody(context: ServerContext) -> None:
    arrivals = Arrivals(lambda: PlainDoor(context))
    async with serving(None, arrivals) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        door = await arrivals.next()
        await reader.readline()
        writer.write(b"STARTTLS\r\n")
        await reader.readline()
        writer.write(b"MAIL FROM:<eve@mechant.test>\r\n")
        said = await reader.read()
        assert said[:1] in (b"", b"\x15")  # nothing, or a TLS alert: never a reply in clear
        await close(writer)
        assert await door.lost is not None
        assert door.events == ["lost"]
        assert len(door.failures) == 1


@pytest.mark.attack
@pytest.mark.parametrize("how", ["silence", "half a hello"])
async def test_att_40_an_unfinished_handshake_times_out(
    settings: TlsSettings, files: CertificateSettings, how: str
) -> None:
    short = settings.model_copy(update={"handshake_timeout_s": 0.05})
    context = server_context(short, files, ask_certificate=True)
    failures: asyncio.Queue[str] = asyncio.Queue()
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals, failures.put_nowait) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if how != "silence":
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert await failures.get() == "timeout"
        await close_quietly(writer)
        assert reader.at_eof() or reader.exception() is not None
        assert arrivals.is_empty


async def close_quietly(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        return


async def test_a_starttls_that_times_out_is_told_to_the_door(context: ServerContext) -> None:
    arrivals = Arrivals(lambda: PlainDoor(context, 0.05))
    async with serving(None, arrivals) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"STARTTLS\r\n")
        door = await arrivals.next()
        assert isinstance(await door.lost, ConnectionResetError)
        assert door.failures == ["timeout"]
        await close_quietly(writer)


@pytest.mark.attack
async def test_att_40_unfinished_handshakes_are_bounded(
    context: ServerContext, settings: TlsSettings
) -> None:
    failures: asyncio.Queue[str] = asyncio.Queue()
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals, failures.put_nowait, max_handshakes=2) as port:
        idle = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{host}", 0))
            for host in (2, 3, 4)
        ]
        assert await failures.get() == "too many handshakes"
        for _, writer in idle:
            await close_quietly(writer)
        assert await failures.get() == "closed by the peer"
        assert await failures.get() == "closed by the peer"
        # The next honest client is served.
        _, writer = await connect(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        await close(writer)
        await door.lost


@pytest.mark.attack
async def test_att_41_unfinished_handshakes_of_one_address_leave_room_for_others(
    context: ServerContext, settings: TlsSettings
) -> None:
    failures: asyncio.Queue[str] = asyncio.Queue()
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals, failures.put_nowait, max_handshakes=10) as port:
        hostile = ("127.0.0.2", 0)
        idle = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=hostile) for _ in range(12)
        ]
        for _ in range(10):
            assert await failures.get() == "too many handshakes"
        _, writer = await connect(port, client_of(settings, "TLSv1.3"))
        door = await arrivals.next()
        await close(writer)
        await door.lost
        for _, writer in idle:
            await close_quietly(writer)


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n\r\n", b"EHLO mx.test\r\n", b"\x80\x2e\x01"]
)
async def test_what_is_not_tls_is_reported_and_closed(
    context: ServerContext, octets: bytes
) -> None:
    failures: asyncio.Queue[str] = asyncio.Queue()
    arrivals = Arrivals(Recorder)
    async with serving(context, arrivals, failures.put_nowait) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        writer.write_eof()
        assert await failures.get()
        await reader.read()
        await close_quietly(writer)
        assert arrivals.is_empty


@both_versions
async def test_sessions_are_never_resumed(
    context: ServerContext, settings: TlsSettings, version: str
) -> None:
    """A ticket would carry the peer's certificate past a newer list or CRL."""
    arrivals = Arrivals(Recorder)
    client = client_of(settings, version)
    client.options &= ~ssl.OP_NO_TICKET
    session: ssl.SSLSession | None = None
    async with serving(context, arrivals) as port:
        for _ in range(2):
            plain = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 5)
            with plain:
                peer = await asyncio.to_thread(client.wrap_socket, plain, session=session)
                door = await arrivals.next()
                door.transport.write(b"x")
                assert await asyncio.to_thread(peer.recv, 1) == b"x"
                assert not peer.session_reused
                session = peer.session
                assert session is not None
                assert not session.has_ticket, "made, sent, and good for nothing"
                await asyncio.to_thread(peer.close)
            await door.lost
