"""Whoever sits between us and the servers of lists and CRLs: most CRLs come over plain HTTP."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mssmtp import pki, tls
from mssmtp.config import PkiSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import domain
from mssmtp.pki import CertificateRefused
from mssmtp.responder import Responder
from mssmtp.trust_feed import TrustFiles
from mssmtp.trust_feed.fetch import Fetched, FetchFailed, HttpFetch, Validators
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, shared_keys
from tests.trust.feeding import (
    CRL,
    LIST_URL,
    ROOT_CRL,
    EvenEntropy,
    FakeClock,
    Site,
    World,
    settings_for,
)
from tests.trust.test_fetch import LIMIT, Server, listening, ok

pytestmark = pytest.mark.attack


@pytest.fixture
def world(tmp_path: Path) -> World:
    now = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    made = World(tmp_path, Authority(now, make_key=shared_keys(10)), FakeClock(now))
    made.publish()
    made.publish_crls()
    return made


# ---------------------------------------------------------------- what is said about an answer


@pytest.mark.requirement("OP-09")
async def test_entity_tag_that_cannot_be_sent_back_does_not_end_all_fetching(
    authority: Authority, healthy: dict[str, Identity], tmp_path: Path
) -> None:
    """Kept in state.json, it would make every later fetch fail before it began."""
    settings = settings_for(tmp_path, authority)
    http = HttpFetch(tls.client_context(settings.tls, None, settings.pki.anchors_file))
    server = Server(ok(b"<liste/>", 'ETag: "\u00e9"', f"Last-Modified: {'x' * 600}"))
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        first = await http(url, Validators(), LIMIT)
        assert first == Fetched(b"<liste/>", Validators())
        assert await http(url, first.validators, LIMIT) == first


async def test_not_modified_without_a_copy_of_ours_is_a_failure(
    authority: Authority, healthy: dict[str, Identity], tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, authority)
    http = HttpFetch(tls.client_context(settings.tls, None, settings.pki.anchors_file))
    server = Server(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed, match="status 304"):
            await http(url, Validators(), LIMIT)
        assert await http(url, Validators(etag='"a"'), LIMIT) is None


async def test_crl_server_that_claims_no_change_does_not_keep_the_list_away(world: World) -> None:
    real = world.site

    async def fetch(url: str, validators: Validators, max_octets: int) -> Fetched | None:
        return None if url != LIST_URL else await real(url, validators, max_octets)

    world.site = fetch  # type: ignore[assignment]
    _, feed = world.worker()
    await feed.tick()
    assert real.count(LIST_URL) == 1


@pytest.mark.requirement("OP-09")
async def test_crl_damaged_on_disk_is_fetched_whole(world: World, tmp_path: Path) -> None:
    _, feed = world.worker()
    await feed.tick()
    feed._files.release()
    for path in (tmp_path / "home" / "trust" / "crls").iterdir():
        path.write_bytes(b"damaged")
    trust, again = world.worker()
    await again.tick()
    world.clock.advance(minutes=1)
    await again.tick()
    trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())


@pytest.mark.requirement("OP-09")
async def test_state_lost_under_a_running_server_closes_no_door_and_is_fetched_at_once(
    world: World, tmp_path: Path
) -> None:
    trust, feed = world.worker()
    await feed.tick()
    state = tmp_path / "home" / "trust" / "state.json"
    state.unlink()
    await feed.load()
    trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())
    world.clock.advance(seconds=2)
    await feed.tick()
    assert set(feed._files.state().crls) == {ROOT_CRL, CRL}
    restarted, again = world.worker()
    await again.load()
    restarted.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())


class Dripping(Site):
    """Answers as a site, until its answers have no end."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        super().__init__(pages)
        self.drips, self.is_asked = False, asyncio.Event()

    async def __call__(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        if self.drips:
            self.is_asked.set()
            await asyncio.Event().wait()
        return await super().__call__(url, validators, max_octets)


async def test_server_that_drips_does_not_hold_back_what_a_person_chose(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.trust_feed.feed.POLL_S", 0.0)
    world.site = site = Dripping(world.site.pages)
    trust, feed = world.worker()
    await feed.tick()
    first = trust.snapshot.listed.sha256
    world.clock.advance(hours=2)
    world.publish(A_DOMAIN, B_DOMAIN)
    await feed.tick()
    assert trust.snapshot.listed.sha256 != first
    site.drips, loop, swapped = True, asyncio.get_running_loop(), asyncio.Event()
    world.clock.advance(days=2)
    running = asyncio.create_task(feed.run())
    await site.is_asked.wait()
    trust.subscribe(lambda: loop.call_soon_threadsafe(swapped.set))
    TrustFiles(tmp_path / "home" / "trust").roll_back(first, "admin", world.clock.now())
    try:
        async with asyncio.timeout(20):
            await swapped.wait()
        assert trust.snapshot.listed.sha256 == first
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# ---------------------------------------------------------------- CRLs played back


@pytest.mark.requirement("OP-09")
async def test_crl_of_another_authority_does_not_make_us_forget_a_revocation(world: World) -> None:
    """Both are public and signed: first the root's in place of the other, then one of yesterday."""
    peer = world.authority.issue(A_SUBJECT)
    yesterday = world.site.pages[CRL]
    world.clock.advance(hours=1)
    world.authority.revoke(peer)
    world.publish_crls()
    trust, feed = world.worker()
    await feed.tick()
    for played in (world.site.pages[ROOT_CRL], yesterday):
        world.site.pages[CRL] = played
        world.clock.advance(days=1.2)
        await feed.tick()
        with pytest.raises(CertificateRefused) as caught:
            trust.identify(peer.chain, world.clock.now())
        assert caught.value.reason == "revoked"
    assert world.site.pages[CRL] == yesterday


async def test_crl_of_another_kind_is_taken_once_the_one_before_has_ended(world: World) -> None:
    """An authority that is replaced does not leave us with an address that can never change."""
    trust, feed = world.worker()
    await feed.tick()
    world.site.pages[CRL] = world.site.pages[ROOT_CRL]
    world.clock.advance(days=2)
    await feed.tick()
    assert len(trust.snapshot.revocation.crls if trust.snapshot.revocation else ()) == 2
    world.clock.at += timedelta(days=6)
    world.publish_crls()
    world.site.pages[CRL] = world.site.pages[ROOT_CRL]
    await feed.tick()
    await feed.tick()
    assert len(trust.snapshot.revocation.crls if trust.snapshot.revocation else ()) == 1
    assert trust.snapshot.lists(domain(A_DOMAIN))


# ---------------------------------------------------------------- certificates nobody can read


@pytest.mark.parametrize("part", [b"ORGANISATIONS", b"hopital-a"])
def test_stapled_answer_for_a_certificate_that_cannot_be_read_is_none(
    world: World, part: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its names are read when they are looked at: the judgement refuses it, and nothing breaks."""
    der = world.authority.issue(A_SUBJECT).chain[0].public_bytes(pki.DER)
    unreadable = x509.load_der_x509_certificate(der.replace(part, b"\xff" * len(part)))
    trust, _ = world.worker()
    settings = PkiSettings(anchors_file=Path("unused.pem"), ocsp="stapled")
    http = HttpFetch(ssl.create_default_context())
    responder = Responder(settings, trust, http.post, world.clock, EvenEntropy())
    responder.take(b"an answer", (unreadable,))
    assert "OCSP answer not taken" in caplog.messages
    with pytest.raises(CertificateRefused):
        trust.identify((unreadable,), world.clock.now())
