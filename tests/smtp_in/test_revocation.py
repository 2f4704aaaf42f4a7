"""What is revoked or unlisted during a session is refused at its next MAIL (ATT-25, WT-30)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ocsp as wire

from mssmtp import tls
from mssmtp.demo.authority import Identity
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.responder import Responder
from mssmtp.revocation import Revocation
from mssmtp.trust_feed.fetch import HttpFetch
from tests.authority import B_SUBJECT, MakeAnswer, MakeCrl, make_answer, make_crl
from tests.smtp_in.fakes import PEER
from tests.smtp_in.rig import Rig, Wire, greeted

GOOD, REVOKED = wire.OCSPCertStatus.GOOD, wire.OCSPCertStatus.REVOKED


def put_in_force(rig: Rig, *crls: MakeCrl) -> None:
    """These CRLs, as the feed would within its two seconds."""
    anchors = rig.trust.snapshot.anchors
    known = Revocation.of([make_crl(rig.authority, crl) for crl in crls], anchors)
    rig.trust.swap(replace(rig.trust.snapshot, revocation=known))


@pytest.mark.attack
@pytest.mark.requirement("OP-08", "OP-09")
async def test_att_25_certificate_revoked_during_a_session_is_refused_at_its_next_mail(
    rig: Rig,
) -> None:
    gone, kept = rig.authority.issue(B_SUBJECT), rig.authority.issue(B_SUBJECT)
    async with (
        rig.operators() as (_, port),
        greeted_pair(rig, port, gone, kept) as (first, second),
    ):
        for session in (first, second):
            assert (await session.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
            await session.say("RSET")
        put_in_force(rig, MakeCrl(of_root=True), MakeCrl([gone.certificate.serial_number]))
        assert (await first.say(f"MAIL FROM:<{PEER}>")).startswith("554 5.7.5")
        assert (await first.say("MAIL FROM:<>")).startswith("554 5.7.5")
        # WT-42: the other certificate of the same name goes on.
        assert (await second.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
    assert rig.store.kept == []


@asynccontextmanager
async def greeted_pair(
    rig: Rig, port: int, first: Identity, second: Identity
) -> AsyncIterator[tuple[Wire, Wire]]:
    async with await greeted(rig, port, first) as one, await greeted(rig, port, second) as two:
        yield one, two


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
async def test_wt_30_crl_that_ends_during_a_session_defers_its_next_mail(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as session:
        assert (await session.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
        await session.say("RSET")
        put_in_force(rig, MakeCrl(of_root=True), ended(rig))
        assert (await session.say(f"MAIL FROM:<{PEER}>")).startswith("451 4.7.5")
        put_in_force(rig, MakeCrl(of_root=True), MakeCrl())
        assert (await session.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")


def ended(rig: Rig) -> MakeCrl:
    now = rig.authority.now
    return MakeCrl(this_update=now - timedelta(days=8), next_update=now - timedelta(hours=1))


# ---------------------------------------------------------------- a responder


@dataclass
class Site:
    """An OCSP responder on loopback; it waits until it may answer."""

    rig: Rig
    status: wire.OCSPCertStatus = GOOD
    questions: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("post / ")
        assert "content-type: application/ocsp-request" in head
        length = int(head.partition("content-length: ")[2].split()[0])
        request = wire.load_der_ocsp_request(await reader.readexactly(length))
        self.questions += 1
        self.asked.set()
        await self.may_answer.wait()
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        make = MakeAnswer(self.status, nonce=nonce)
        octets = make_answer(self.rig.authority, self.rig.b.certificate, make)
        said = f"HTTP/1.1 200 OK\r\nContent-Length: {len(octets)}\r\nConnection: close\r\n\r\n"
        writer.write(said.encode() + octets)
        await writer.drain()
        writer.close()


@pytest.fixture
async def site(rig: Rig) -> AsyncIterator[Site]:
    site = Site(rig)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    settings = rig.settings.pki.model_copy(update={"ocsp": "ask", "ocsp_url": url})
    post = HttpFetch(tls.client_context(rig.settings.tls, None, settings.anchors_file)).post
    rig.responder = Responder(settings, rig.trust, post, SystemClock(), SystemEntropy())
    put_in_force(rig, MakeCrl(of_root=True), ended(rig))
    try:
        yield site
    finally:
        site.may_answer.set()
        server.close()
        await server.wait_closed()


@pytest.mark.requirement("OP-08", "OP-09")
@pytest.mark.parametrize(("status", "reply"), [(GOOD, "250 "), (REVOKED, "554 5.7.5")])
async def test_wt_30_past_the_end_of_the_crl_the_responder_decides(
    rig: Rig, site: Site, status: wire.OCSPCertStatus, reply: str
) -> None:
    site.status = status
    site.may_answer.set()
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as session:
        for _ in range(3):
            assert (await session.say(f"MAIL FROM:<{PEER}>")).startswith(reply)
            await session.say("RSET")
    assert site.questions == 1


async def test_nobody_else_waits_while_a_responder_is_asked(rig: Rig, site: Site) -> None:
    async with (
        rig.operators() as (_, port),
        await greeted(rig, port, rig.b) as waiting,
        await greeted(rig, port) as other,
    ):
        mail = asyncio.create_task(waiting.say(f"MAIL FROM:<{PEER}>"))
        await site.asked.wait()
        assert (await other.say(f"MAIL FROM:<{PEER}>")).startswith("554 5.7.0")
        assert not mail.done()
        site.may_answer.set()
        assert (await mail).startswith("250 ")
