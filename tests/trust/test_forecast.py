"""The expiry weather: everything that ends, sorted, with who must act and what to do (F11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.config import DomainSettings, Settings
from mssmtp.demo.authority import EMAIL_ONLY, SIGNER_SUBJECT, Authority, Make
from mssmtp.forecast import HORIZON, Known, Peer, Whose, endings
from mssmtp.mail import domain
from mssmtp.pki import Anchors
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed.peers import MOST, PeerFiles
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    B_DOMAIN,
    B_SUBJECT,
    unsigned_whitelist,
)
from tests.trust.feeding import FakeClock, World, settings_for


def make(authority: Authority, days: float) -> Make:
    return Make(authority.now - timedelta(days=400), authority.now + timedelta(days=days))


@pytest.fixture
def settings(tmp_path: Path, authority: Authority) -> Settings:
    return settings_for(tmp_path, authority)


def known(authority: Authority, snapshot: Snapshot, **peers: float) -> Known:
    """Our certificate has 10 days; a peer's certificates have the days given."""
    own = authority.issue(A_SUBJECT, make(authority, 10)).certificate
    signer = authority.issue(
        SIGNER_SUBJECT, Make(not_after=authority.now + timedelta(days=50), usages=EMAIL_ONLY)
    ).certificate
    seen = [
        Peer(authority.issue(B_SUBJECT, make(authority, days)).certificate, authority.now)
        for days in peers.values()
    ]
    return Known(snapshot, ((Path("own.pem"), own),), seen, signer, authority.now)


def test_what_ends_is_sorted_and_says_who_must_do_what(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    found = endings(settings, known(authority, snapshot, peer=20), authority.now)
    assert [each.at for each in found] == sorted(each.at for each in found)
    by_words = {each.what.split()[0] + " " + each.what.split()[1]: each for each in found}
    assert set(by_words) == {
        "our certificate",
        "certificate of",
        "freshness of",
        "CRL of",
    }
    own = by_words["our certificate"]
    assert own.whose is Whose.OURS
    assert own.at == authority.now + timedelta(days=10)
    assert "with the same name" in own.remedy
    peer = next(each for each in found if each.whose is Whose.PEER)
    assert B_DOMAIN in peer.what
    assert "01 00 00 00 00, support@exploitation.test" in peer.remedy
    assert all(each.then and each.remedy for each in found)


@pytest.mark.requirement("CL-10")
def test_the_crls_that_our_certificates_name_are_in_it(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    url, ends = "http://crl.test/x.crl", authority.now + timedelta(days=2)
    facts = replace(known(authority, snapshot), own_crls=((url, ends),))
    [told] = [each for each in endings(settings, facts, authority.now) if url in each.what]
    assert told.at == ends
    assert told.then == "who checks it refuses us"


def test_what_normally_never_ends_asks_for_something_once_it_has(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    facts = replace(
        known(authority, snapshot), own_crls=(("http://crl.test/x.crl", authority.now),)
    )
    before = authority.now - timedelta(days=1)
    usual = [e for e in endings(settings, facts, before) if e.routine]
    assert len(usual) >= 3
    assert all(each.remedy.startswith("Nothing while ") for each in usual)
    after = authority.now + timedelta(days=9)
    late = [e for e in endings(settings, facts, after) if e.routine]
    assert all(each.remedy.startswith("Now ") for each in late)


def test_only_what_ends_within_the_horizon_is_told(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    facts = known(authority, snapshot, near=89, far=91)
    found = endings(settings, facts, authority.now, HORIZON)
    assert [e.at for e in found if e.whose is Whose.PEER] == [authority.now + timedelta(days=89)]
    assert not any("authority" in each.what for each in found)
    years = endings(settings, facts, authority.now, timedelta(days=3_650))
    assert sum(each.what.startswith("authority ") for each in years) == 2


def test_a_renewed_certificate_of_a_peer_is_forgotten_once_it_is_not_seen_any_more(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    facts = known(authority, snapshot, old=20, new=700)

    def told(now: datetime) -> int:
        return sum(e.whose is Whose.PEER for e in endings(settings, facts, now))

    assert told(authority.now) == 1, "both servers of the name were seen today"
    assert told(authority.now + timedelta(days=3)) == 0
    alone = known(authority, snapshot, old=20)
    late = endings(settings, alone, authority.now + timedelta(days=40))
    assert any(each.whose is Whose.PEER for each in late), "ended, and nothing replaced it"
    assert not any(each.is_trouble(authority.now) for each in endings(settings, alone, late[0].at))
    gone = endings(settings, alone, authority.now + timedelta(days=51))
    assert not any(each.whose is Whose.PEER for each in gone)


def test_a_peer_that_left_the_list_is_no_weather_of_ours(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    anchors = Anchors.from_pem(authority.anchors_pem)
    without = Snapshot(unsigned_whitelist(authority, (A_DOMAIN, A_SUBJECT.text)), None, anchors)
    found = endings(settings, known(authority, without, peer=20), authority.now)
    assert not any(each.whose is Whose.PEER for each in found)
    nothing = Snapshot(None, None, anchors)
    assert endings(settings, Known(nothing, ()), authority.now) == ()


def test_what_has_ended_is_trouble_unless_it_is_a_peers(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    facts = known(authority, snapshot, peer=5)
    later = authority.now + timedelta(days=8)
    trouble = {e.what.split()[0] for e in endings(settings, facts, later) if e.is_trouble(later)}
    assert trouble == {"CRL", "freshness"}
    later += timedelta(days=3)
    ended = [e for e in endings(settings, facts, later) if e.is_trouble(later)]
    assert any(each.whose is Whose.OURS for each in ended)


@pytest.mark.requirement("OP-101")
def test_a_domain_that_moves_is_in_the_forecast(
    authority: Authority, snapshot: Snapshot, settings: Settings
) -> None:
    soon = authority.now + timedelta(days=3)
    tables = (
        DomainSettings(name=domain(A_DOMAIN), served_from=soon),
        DomainSettings(name=domain(B_DOMAIN), forward_only_until=soon),
    )
    moving = settings.model_copy(update={"domains": tables})
    facts = known(authority, snapshot)
    told = [each.what for each in endings(moving, facts, authority.now)]
    assert f"{A_DOMAIN} begins to be served here" in told
    assert f"forwarding of {B_DOMAIN} ends" in told
    assert not any("forwarding" in e.what for e in endings(moving, facts, soon))


# ---------------------------------------------------------------- certificates that were seen


async def test_a_peer_that_is_let_in_is_remembered_on_disk(
    tmp_path: Path, authority: Authority
) -> None:
    world = World(tmp_path, authority, FakeClock(authority.now))
    world.publish_crls()
    world.publish()
    trust, feed = world.worker()
    await feed.tick()
    peer, stranger = authority.issue(A_SUBJECT), authority.issue(B_SUBJECT)
    trust.identify(peer.chain, authority.now)
    trust.judge_server(peer.chain, domain(A_DOMAIN), authority.now)
    with pytest.raises(Exception, match="name not listed"):
        trust.identify(stranger.chain, authority.now)
    await feed.tick()
    kept = PeerFiles(tmp_path / "home" / "trust" / "peers")
    assert [each.certificate for each in kept.all()] == [peer.certificate]
    assert kept.all()[0].at == authority.now
    world.clock.advance(days=1)
    world.publish()
    world.publish_crls()
    await feed.tick()
    trust.identify(peer.chain, world.clock.now())
    await feed.tick()
    assert kept.all()[0].at == world.clock.now()


def test_what_was_met_is_told_once(authority: Authority, snapshot: Snapshot) -> None:
    trust, peer = Trust(snapshot), authority.issue(A_SUBJECT)
    trust.identify(peer.chain, authority.now)
    assert trust.take_met() == (peer.certificate,)
    trust.identify(peer.chain, authority.now)
    assert trust.take_met() == ()


def test_kept_certificates_end_and_are_bounded(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = PeerFiles(tmp_path / "peers")
    old, new = (authority.issue(B_SUBJECT, make(authority, days)) for days in (1, 800))
    files.saw([old.certificate], authority.now)
    files.saw([new.certificate], authority.now + timedelta(days=40))
    assert [each.certificate for each in files.all()] == [new.certificate]
    assert MOST >= 5_000
    monkeypatch.setattr("mssmtp.trust_feed.peers.MOST", 1)
    files.saw([old.certificate], authority.now)
    assert [each.certificate for each in files.all()] == [new.certificate]
    (tmp_path / "peers" / "x.der").write_bytes(b"nothing")
    assert len(files.all()) == 1
