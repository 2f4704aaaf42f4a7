"""Answers that come with the peer's handshake (`pki.ocsp = "stapled"`, RFC 6066 8, OP-08)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from cryptography.x509 import ocsp as wire
from OpenSSL import SSL

from mssmtp import tls
from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.revocation import Revocation
from tests.authority import B_DOMAIN, MakeAnswer, MakeCrl, make_answer, make_crl
from tests.smtp_out.peer import Line, Peer, Script, Session
from tests.smtp_out.test_relay import LETTER, PEER, World, identities, world

__all__ = ["identities", "world"]

REVOKED = wire.OCSPCertStatus.REVOKED


class _Above(asyncio.Protocol):
    """Hands a peer's line over to TLS of ours."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.secure = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line.transport = cast(asyncio.Transport, transport)
        self.secure.set()

    def data_received(self, data: bytes) -> None:
        self._line.data_received(data)

    def eof_received(self) -> None:
        self._line.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.connection_lost(exc)


class Stapler(Peer):
    """A peer whose server sends an OCSP answer along."""

    def __init__(self, world: World, answer: bytes) -> None:
        identity = world.identities[B_DOMAIN]
        super().__init__(identity, world.authority, world.directory, Script())
        files = identity.write(world.directory, "stapler")
        own = CertificateSettings(certificate_file=files.certificate_file, key_file=files.key_file)
        settings = TlsSettings(operators=own, users=own)
        self.secured = tls.server_context(settings, own, ask_certificate=True)
        (context,) = self.secured._contexts.values()
        assert isinstance(context, SSL.Context)
        context.set_ocsp_server_callback(lambda connection, data: answer)

    async def _upgrade(self, session: Session, line: Line) -> None:
        line.say(self.script.starttls_reply)
        assert line.transport is not None
        above = _Above(line)
        tls.start_tls(line.transport, above, self.secured, handshake_timeout_s=30.0)
        await above.secure.wait()
        session.tls = True


def answer(world: World, make: MakeAnswer) -> bytes:
    return make_answer(world.authority, world.identities[B_DOMAIN].certificate, make)


def without_a_crl_in_date(world: World) -> None:
    now = world.authority.now
    ended = MakeCrl(this_update=now - timedelta(days=8), next_update=now - timedelta(hours=1))
    crls = [make_crl(world.authority, crl) for crl in (MakeCrl(of_root=True), ended)]
    known = Revocation.of(crls, world.snapshot.anchors)
    world.trust.swap(replace(world.snapshot, revocation=known))


async def sent(world: World, peer: Peer) -> str:
    """What became of one letter."""
    async with world.relaying(**{PEER: peer}):
        world.letter()
        await world.settled()
    return world.store.results[0]


@pytest.mark.requirement("OP-08", "OP-09")
async def test_wt_30_past_the_end_of_the_crl_a_stapled_answer_lets_the_letter_go(
    world: World,
) -> None:
    world.ocsp = "stapled"
    without_a_crl_in_date(world)
    peer = Stapler(world, answer(world, MakeAnswer()))
    assert await sent(world, peer) == "delivered"
    assert peer.messages[0].body == LETTER
    assert world.store.transfers[0].tls_version == "TLSv1.3"


@pytest.mark.attack
@pytest.mark.requirement("OP-08", "OP-09")
@pytest.mark.parametrize(
    "make",
    [None, MakeAnswer(spoilt=True), MakeAnswer(status=wire.OCSPCertStatus.UNKNOWN)],
    ids=["none", "bad signature", "unknown"],
)
async def test_wt_30_without_a_good_answer_the_letter_waits(
    world: World, make: MakeAnswer | None
) -> None:
    world.ocsp = "stapled"
    without_a_crl_in_date(world)
    octets = b"" if make is None else answer(world, make)
    peer = Stapler(world, octets)
    assert await sent(world, peer) == "queued"
    assert peer.messages == []


@pytest.mark.attack
async def test_wt_30_stapled_answer_counts_only_where_the_settings_say_so(world: World) -> None:
    without_a_crl_in_date(world)
    peer = Stapler(world, answer(world, MakeAnswer()))
    assert await sent(world, peer) == "queued"


@pytest.mark.attack
@pytest.mark.requirement("OP-08")
async def test_att_25_stapled_revocation_wins_over_a_crl_that_does_not_know_it_yet(
    world: World,
) -> None:
    world.ocsp = "stapled"
    peer = Stapler(world, answer(world, MakeAnswer(status=REVOKED)))
    assert await sent(world, peer) == "queued"
    assert peer.messages == []


async def test_peers_that_staple_nothing_are_reached_as_before(world: World) -> None:
    world.ocsp = "stapled"
    peer = world.peer()
    async with world.relaying(**{PEER: peer}):
        for count in (1, 2):
            world.letter()
            await world.settled(count)
    assert world.store.results == ["delivered", "delivered"]
    assert len(peer.sessions) == 1
    assert peer.sessions[0].verbs[-1] == "QUIT"
    assert peer.sessions[0].client_subject


async def test_peer_that_breaks_off_the_handshake_is_a_failure_of_that_peer(world: World) -> None:
    world.ocsp = "stapled"
    peer = world.peer(script=Script(behind_220=b"220 once more\r\n"))
    assert await sent(world, peer) == "queued"
    assert peer.messages == []
