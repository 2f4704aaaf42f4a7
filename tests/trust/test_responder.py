"""Who is asked about a certificate, when, and what becomes of the answer (OP-08, OP-09)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.x509 import ocsp as wire
from cryptography.x509.oid import AuthorityInformationAccessOID
from prometheus_client import REGISTRY

from mssmtp.config import PkiSettings
from mssmtp.demo.authority import Authority, Identity, Make
from mssmtp.outside import SystemEntropy
from mssmtp.pki import Anchors, Role, serial_text
from mssmtp.responder import NOT_AGAIN_S, AskFailed, Responder
from mssmtp.trust import Trust
from tests.authority import A_SUBJECT, MakeAnswer, MakeCrl, make_answer, make_crl, shared_keys
from tests.trust.answering import (
    ADDRESS,
    ended,
    judged,
    peer_of_a_responder,
    trust_with,
    with_extension,
)
from tests.trust.forging import element, forged

DAY = timedelta(days=1)
REVOKED = wire.OCSPCertStatus.REVOKED


@pytest.fixture(scope="module")
def peer(space: Authority) -> Identity:
    return peer_of_a_responder(space)


@dataclass
class FakeClock:
    at: datetime
    ticks: float = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.ticks


@dataclass
class Site:
    """A responder behind the wire; what it was asked is kept."""

    space: Authority
    peer: Identity
    make: MakeAnswer = field(default_factory=MakeAnswer)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    waiting: asyncio.Event | None = None

    async def __call__(self, url: str, question: bytes, max_octets: int) -> bytes:
        self.asked.append(url)
        if self.waiting is not None:
            await self.waiting.wait()
        if self.down:
            raise AskFailed("ConnectError")
        request = wire.load_der_ocsp_request(question)
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        return make_answer(self.space, self.peer.certificate, replace(self.make, nonce=nonce))


@dataclass
class Asking:
    """A trust whose CRL has ended, and a responder."""

    site: Site
    trust: Trust
    clock: FakeClock

    def responder(
        self, mode: Literal["off", "stapled", "ask"] = "ask", url: str | None = None
    ) -> Responder:
        settings = PkiSettings(anchors_file=Path("unused.pem"), ocsp=mode, ocsp_url=url)
        return Responder(settings, self.trust, self.site, self.clock, SystemEntropy())


@pytest.fixture
def asking(space: Authority, anchors: Anchors, peer: Identity) -> Asking:
    trust = trust_with(space, anchors, make_crl(space, MakeCrl(of_root=True)), ended(space))
    return Asking(Site(space, peer), trust, FakeClock(space.now))


@pytest.mark.requirement("OP-08", "OP-09")
async def test_wt_30_the_responder_is_asked_once_when_the_crl_has_ended(
    asking: Asking, peer: Identity, space: Authority
) -> None:
    responder = asking.responder()
    await responder.settle(peer.chain, Role.CLIENT)
    assert judged(asking.trust, peer, space.now) == "accepted"
    await responder.settle(peer.chain, Role.SERVER)
    assert asking.site.asked == [ADDRESS]
    asking.clock.at += 2 * DAY  # its answer has ended too
    asking.site.make = MakeAnswer(this_update=asking.clock.at)
    await responder.settle(peer.chain, Role.CLIENT)
    assert judged(asking.trust, peer, asking.clock.at) == "accepted"


@pytest.mark.attack
async def test_att_25_revocation_learnt_by_asking_holds(
    asking: Asking, peer: Identity, space: Authority
) -> None:
    asking.site.make = MakeAnswer(status=REVOKED)
    await asking.responder().settle(peer.chain, Role.CLIENT)
    assert judged(asking.trust, peer, space.now) == "revoked"


@pytest.mark.requirement("OP-09")
async def test_wt_30_without_an_answer_the_peer_is_deferred_and_not_asked_about_again_at_once(
    asking: Asking, peer: Identity, space: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    asking.site.down = True
    responder = asking.responder()
    for _ in range(3):
        await responder.settle(peer.chain, Role.CLIENT)
        assert judged(asking.trust, peer, space.now) == "revocation unknown"
    assert len(asking.site.asked) == 1
    (said,) = [r for r in caplog.records if r.message == "OCSP answer not taken"]
    assert said.__dict__["reason"] == "ConnectError"
    asking.site.down, asking.clock.ticks = False, NOT_AGAIN_S
    await responder.settle(peer.chain, Role.CLIENT)
    assert judged(asking.trust, peer, space.now) == "accepted"


@pytest.mark.parametrize("mode", ["off", "stapled"])
async def test_nobody_is_asked_unless_the_settings_say_so(
    asking: Asking, peer: Identity, mode: Literal["off", "stapled"]
) -> None:
    await asking.responder(mode).settle(peer.chain, Role.CLIENT)
    assert asking.site.asked == []


async def test_nobody_is_asked_while_a_crl_speaks(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    site = Site(space, peer)
    asking = Asking(site, trust_with(space, anchors, *space.crls()), FakeClock(space.now))
    await asking.responder().settle(peer.chain, Role.CLIENT)
    await asking.responder().settle((), Role.CLIENT)
    assert site.asked == []


@pytest.mark.attack
async def test_a_stranger_cannot_make_us_ask_anybody(asking: Asking, space: Authority) -> None:
    """A certificate of its own making, in our authority's name, with an address of its choice."""
    forger = Authority(space.now, make_key=shared_keys(20))
    inner = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP,
        x509.UniformResourceIdentifier("http://192.0.2.1/inside"),
    )
    forged = with_extension(
        forger, forger.issue(A_SUBJECT), x509.AuthorityInformationAccess([inner])
    )
    ended_since = space.issue(A_SUBJECT, Make(not_after=space.now - timedelta(seconds=1)))
    for stranger in (forged, ended_since):
        await asking.responder(url=ADDRESS).settle(stranger.chain, Role.CLIENT)
    assert asking.site.asked == []


async def test_sessions_of_one_peer_wait_for_one_question(
    asking: Asking, peer: Identity, space: Authority
) -> None:
    asking.site.waiting = asyncio.Event()
    responder = asking.responder(url="http://responder.test/")
    sessions = [asyncio.create_task(responder.settle(peer.chain, Role.CLIENT)) for _ in range(10)]
    await asyncio.sleep(0)
    sessions[0].cancel()  # one connection is lost meanwhile
    await asyncio.sleep(0)
    asking.site.waiting.set()
    await asyncio.gather(*sessions, return_exceptions=True)
    assert asking.site.asked == ["http://responder.test/"]
    assert judged(asking.trust, peer, space.now) == "accepted"


async def test_responder_that_never_answers_holds_nobody_for_long(
    asking: Asking, peer: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.responder.DEADLINE_S", 0.01)
    asking.site.waiting = asyncio.Event()
    async with asyncio.timeout(30):
        await asking.responder().settle(peer.chain, Role.CLIENT)
    assert len(asking.site.asked) == 1


async def test_many_questions_at_once_are_bounded(
    asking: Asking, space: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.responder.AT_ONCE", 2)
    asking.site.waiting = asyncio.Event()
    responder = asking.responder(url=ADDRESS)
    peers = [space.issue(A_SUBJECT) for _ in range(4)]
    sessions = [asyncio.create_task(responder.settle(p.chain, Role.CLIENT)) for p in peers]
    await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(asking.site.asked) == 2
    asking.site.waiting.set()
    await asyncio.gather(*sessions)


def test_stapled_answer_is_taken_and_a_bad_one_is_nothing(
    asking: Asking, peer: Identity, space: Authority
) -> None:
    responder = asking.responder("stapled")
    for bad in (b"", b"rubbish", make_answer(space, peer.certificate, MakeAnswer(spoilt=True))):
        responder.take(bad, peer.chain)
        assert judged(asking.trust, peer, space.now) == "revocation unknown"
    responder.take(make_answer(space, peer.certificate, MakeAnswer()), peer.chain)
    assert judged(asking.trust, peer, space.now) == "accepted"


# ---------------------------------------------------------------- what is told, and what is not


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Of each answer that was not taken: whose certificate, from where, why."""
    found = [r.__dict__ for r in caplog.records if r.message == "OCSP answer not taken"]
    caplog.clear()
    return [(each["serial"], each["from"], each["reason"]) for each in found]


def counted(verdict: str) -> float:
    """What the metrics say."""
    name = "mssmtp_ocsp_answers_total"
    return REGISTRY.get_sample_value(name, {"verdict": verdict}) or 0.0


async def test_an_answer_that_is_not_taken_is_told_with_its_reason(
    asking: Asking,
    peer: Identity,
    space: Authority,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serial, before = serial_text(peer.certificate), counted("not taken")
    asking.site.make = MakeAnswer(spoilt=True)
    responder = asking.responder(url="http://responder.test/")
    for _ in range(2):
        await responder.settle(peer.chain, Role.CLIENT)
    assert told(caplog) == [(serial, "http://responder.test/", "signature")]
    monkeypatch.setattr("mssmtp.responder.DEADLINE_S", 0.01)
    asking.site.waiting = asyncio.Event()
    await asking.responder().settle(peer.chain, Role.CLIENT)
    assert told(caplog) == [(serial, ADDRESS, "no answer in time")]
    asking.responder("stapled").take(b"rubbish", peer.chain)
    assert told(caplog) == [(serial, "stapled", "not readable")]
    silent, responder = space.issue(A_SUBJECT), asking.responder()
    for _ in range(2):
        await responder.settle(silent.chain, Role.CLIENT)
    nowhere = (serial_text(silent.certificate), "nowhere", "no address of a responder")
    assert told(caplog) == [nowhere]
    assert counted("not taken") == before + 4


async def test_a_session_without_an_answer_or_a_certificate_is_nothing_to_tell(
    asking: Asking, peer: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Most peers staple nothing."""
    responder = asking.responder()
    responder.take(b"", peer.chain)
    responder.take(b"", ())
    responder.take(b"rubbish", ())
    await responder.settle((), Role.CLIENT)
    assert told(caplog) == []


async def test_answers_are_counted_by_what_they_say(asking: Asking, peer: Identity) -> None:
    for status, verdict in ((wire.OCSPCertStatus.GOOD, "good"), (REVOKED, "revoked")):
        before = counted(verdict)
        octets = make_answer(asking.site.space, peer.certificate, MakeAnswer(status=status))
        asking.responder("stapled").take(octets, peer.chain)
        assert counted(verdict) == before + 1


def odd_address(space: Authority) -> x509.Certificate:
    """Its alternative name is an address of seven octets."""
    odd = x509.UnrecognizedExtension(
        x509.OID_SUBJECT_ALTERNATIVE_NAME, element(0x30, element(0x87, b"1234567"))
    )
    return with_extension(space, space.issue(replace(A_SUBJECT, cn="nom")), odd).certificate


def odd_issuer(space: Authority) -> x509.Certificate:
    """The name of our authority, in octets that are no text."""

    def change(der: bytes) -> bytes:
        text = element(0x0C, b"ASIP-SANTE")
        assert der.count(text) == 1
        return der.replace(text, element(0x14, b"\xedSIP-SANTE"))

    made = space.issue(A_SUBJECT).certificate
    return x509.load_der_x509_certificate(forged(made, space._key, change))


@pytest.mark.attack
@pytest.mark.parametrize("make", [odd_address, odd_issuer])
async def test_att_16_about_a_certificate_that_cannot_be_read_nobody_is_asked(
    asking: Asking, space: Authority, make: Callable[[Authority], x509.Certificate]
) -> None:
    """The judgement refuses it; nothing breaks before."""
    leaf = make(space)
    with pytest.raises(ValueError, match="issuer|address"):
        _ = leaf.extensions, str(leaf.issuer)
    await asking.responder(url=ADDRESS).settle((leaf,), Role.CLIENT)
    assert asking.site.asked == []


@pytest.mark.attack
def test_att_16_of_an_answer_about_a_certificate_that_cannot_be_read_nothing_is_learnt(
    asking: Asking, space: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    leaf = odd_issuer(space)
    good = make_answer(space, space.issue(A_SUBJECT).certificate, MakeAnswer())
    asking.responder("stapled").take(good, (leaf,))
    (said,) = told(caplog)
    assert said[1:] == ("stapled", "the certificate itself cannot be read")


async def test_failures_are_remembered_up_to_their_number(
    asking: Asking, space: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.responder.MAX_FAILED", 2)
    asking.site.down = True
    responder = asking.responder(url=ADDRESS)
    peers = [space.issue(A_SUBJECT) for _ in range(3)]
    asked = []
    for who in (0, 1, 0, 1, 2, 2, 0, 0):
        await responder.settle(peers[who].chain, Role.CLIENT)
        asked.append(len(asking.site.asked))
    assert asked == [1, 2, 2, 2, 3, 3, 4, 4]
