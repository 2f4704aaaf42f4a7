"""Weak versions and suites, offered to a door and chosen against a client (OP-04, OP-05)."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from OpenSSL import SSL

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import Identity
from mssmtp.tls import ServerContext, client_context, server_context
from tests.tls.hellos import (
    GOOD_ANSWER,
    WEAK_ANSWERS,
    Answer,
    accepted_hellos,
    assert_refuses_weak_hellos,
    refuses_weak_answer,
)
from tests.tls.wires import Recorder, serving

pytestmark = pytest.mark.timeout(20, method="thread")


@pytest.fixture
def context(settings: TlsSettings, files: CertificateSettings) -> ServerContext:
    return server_context(settings, files, ask_certificate=True)


class Greeter(Recorder):
    """An application octet too many would be seen at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(b"220 bonjour\r\n")


@pytest.mark.requirement("OP-04", "OP-05")
async def test_every_weak_hello_fails_without_an_application_octet(context: ServerContext) -> None:
    async with serving(context, Greeter) as port:
        await asyncio.to_thread(assert_refuses_weak_hellos, "127.0.0.1", port)


def weakened(context: ServerContext, identity: Identity) -> ServerContext:
    """The same door with everything OpenSSL still has."""
    weak = SSL.Context(SSL.TLS_SERVER_METHOD)
    weak.set_min_proto_version(SSL.TLS1_VERSION)
    weak.set_cipher_list(b"ALL:eNULL:@SECLEVEL=0")
    weak.use_certificate(identity.certificate)
    weak.use_privatekey(identity.key)
    context._contexts[context._presenter.present(None)] = weak
    return context


@pytest.mark.requirement("OP-05")
async def test_the_hellos_get_through_a_weakened_door(
    context: ServerContext, identity: Identity
) -> None:
    """The detector above can fire: what OpenSSL can speak at all is seen to be accepted."""
    async with serving(weakened(context, identity), Greeter) as port:
        with pytest.raises(AssertionError):
            await asyncio.to_thread(assert_refuses_weak_hellos, "127.0.0.1", port)
        found = await asyncio.to_thread(accepted_hellos, "127.0.0.1", port, None)
    assert {"TLS 1.0", "TLS 1.1", "static RSA", "CBC", "NULL", "anonymous"} <= set(found)


async def test_a_floor_of_1_3_refuses_1_2(
    settings: TlsSettings, files: CertificateSettings
) -> None:
    strict = settings.model_copy(update={"min_version": "1.3"})
    context = server_context(strict, files, ask_certificate=False)
    async with serving(context, Greeter) as port:
        with pytest.raises(AssertionError, match=r"only \['TLS 1.3'\] of the good"):
            await asyncio.to_thread(assert_refuses_weak_hellos, "127.0.0.1", port)


def reaction(client: ssl.SSLContext, answer: Answer, identity: Identity) -> bool:
    """Does `client` refuse `answer`? Both ends on one machine, the client on this thread."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        ours.sendall(outgoing.read())

        async def both() -> bool:
            judged = asyncio.to_thread(refuses_weak_answer, theirs, answer, identity)
            task = asyncio.ensure_future(judged)
            incoming.write(await asyncio.to_thread(ours.recv, 65_536))
            try:
                session.do_handshake()
            except ssl.SSLError:  # SSLWantReadError is one: then the next flight is in `outgoing`
                ours.sendall(outgoing.read())
            ours.shutdown(socket.SHUT_WR)
            return await task

        return asyncio.run(both())


@pytest.mark.requirement("OP-04", "OP-05")
@pytest.mark.parametrize("answer", WEAK_ANSWERS, ids=lambda answer: answer.name)
def test_our_client_refuses_a_weak_choice(
    settings: TlsSettings, files: CertificateSettings, identity: Identity, answer: Answer
) -> None:
    assert reaction(client_context(settings, files), answer, identity)


def test_our_client_goes_on_with_a_good_choice(settings: TlsSettings, identity: Identity) -> None:
    assert not reaction(client_context(settings, None), GOOD_ANSWER, identity)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    "name", ["TLS 1.0", "TLS 1.1", "static RSA with CBC", "ECDHE with CBC", "NULL", "anonymous"]
)
def test_a_weakened_client_would_go_on(
    settings: TlsSettings, identity: Identity, name: str
) -> None:
    """The detector above can fire."""
    client = client_context(settings, None)
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    answer = next(answer for answer in WEAK_ANSWERS if answer.name == name)
    assert not reaction(client, answer, identity)
