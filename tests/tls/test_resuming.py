"""TLS sessions of mail programs, taken up again on the ports of users (RFC 8446 2.2)."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.tls import ServerContext
from mssmtp.tls_settings import RESUMED_WITHIN_S, OneCertificate, server_context
from tests.tls.wires import VERSIONS, Arrivals, Recorder, client_of, serving


def resuming(settings: TlsSettings, certificate: OneCertificate) -> ServerContext:
    """A door of users in one worker; those of others have the certificate since before the fork."""
    return server_context(settings, certificate, ask_certificate=False, resumes=True)


class Program:
    """A mail program that keeps the session of its last connection."""

    def __init__(self, settings: TlsSettings, version: str = "TLSv1.3") -> None:
        self._context = client_of(settings, version)
        self._context.options &= ~ssl.OP_NO_TICKET
        self.session: ssl.SSLSession | None = None

    async def connects(self, door: ServerContext) -> bool:
        """Whether the server took the session up again."""
        arrivals = Arrivals(Recorder)
        async with serving(door, arrivals) as port:
            plain = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 5)
            with plain:
                peer = await asyncio.to_thread(
                    self._context.wrap_socket, plain, session=self.session
                )
                upper = await arrivals.next()
                assert bool(upper.transport.get_extra_info("peer_chain")) is False
                assert len(upper.transport.bindings()["tls-exporter"]) == 32
                upper.transport.write(b"x")
                assert await asyncio.to_thread(peer.recv, 1) == b"x"
                self.session, is_resumed = peer.session, bool(peer.session_reused)
                await asyncio.to_thread(peer.close)
            await upper.lost
        return is_resumed


@pytest.fixture
def certificate(files: CertificateSettings) -> OneCertificate:
    return OneCertificate(files)


@pytest.mark.parametrize("version", list(VERSIONS))
async def test_a_session_is_taken_up_again_by_every_worker_in_tls_1_3_alone(
    settings: TlsSettings, certificate: OneCertificate, version: str
) -> None:
    """In TLS 1.2 the key of the tickets would open all that was said in resumed sessions."""
    program = Program(settings, version)
    workers = [resuming(settings, certificate) for _ in range(2)]
    found = [await program.connects(workers[number]) for number in (0, 0, 1, 1, 0)]
    is_1_3 = version == "TLSv1.3"
    assert found == [False, is_1_3, is_1_3, is_1_3, is_1_3]
    assert program.session is not None
    assert program.session.has_ticket is is_1_3
    if is_1_3:
        assert program.session.ticket_lifetime_hint == RESUMED_WITHIN_S


async def test_another_certificate_or_floor_begins_anew(
    settings: TlsSettings, files: CertificateSettings, certificate: OneCertificate
) -> None:
    program = Program(settings)
    await program.connects(resuming(settings, certificate))
    renewed = OneCertificate(files)
    assert not await program.connects(resuming(settings, renewed))
    assert await program.connects(resuming(settings, renewed))
    higher = settings.model_copy(update={"min_version": "1.3"})
    assert not await program.connects(resuming(higher, renewed))


@pytest.mark.attack
async def test_att_16_who_is_asked_for_a_certificate_takes_up_nothing(
    settings: TlsSettings, certificate: OneCertificate
) -> None:
    """A ticket would carry it past a newer list or CRL."""
    with pytest.raises(ValueError, match="with every connection"):
        server_context(settings, certificate, ask_certificate=True, resumes=True)
    program = Program(settings)
    await program.connects(resuming(settings, certificate))
    operators = server_context(settings, certificate, ask_certificate=True)
    assert not await program.connects(operators)
    submission = server_context(settings, certificate, ask_certificate=False)
    assert not await program.connects(submission), "no tickets on SMTP (GEN-18)"
