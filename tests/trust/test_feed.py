"""The feed keeps what was accepted and takes only what is newer and verified (OP-22 to OP-29)."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from mssmtp.config import WhitelistSettings
from mssmtp.demo.authority import EMAIL_ONLY, SIGNER_SUBJECT, Authority, Make, sign
from mssmtp.mail import domain
from mssmtp.pki import CertificateRefused
from mssmtp.trust import Trust
from mssmtp.trust_feed import State, TrustFeed, freshness
from mssmtp.trust_feed.fetch import Validators
from mssmtp.trust_feed.files import Answer, TrustFiles
from mssmtp.trust_feed.state import KEPT_LISTS
from mssmtp.whitelist import Whitelist
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, shared_keys
from tests.trust.bad_lists import SPOILT
from tests.trust.feeding import CRL, LIST_URL, ROOT_CRL, FakeClock, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    now = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    made = World(tmp_path, Authority(now, make_key=shared_keys(10)), FakeClock(now))
    made.publish()
    made.publish_crls()
    return made


async def started(world: World) -> tuple[Trust, TrustFeed]:
    trust, feed = world.worker()
    await feed.load()
    await feed.tick()
    return trust, feed


async def after(world: World, feed: TrustFeed, **by: float) -> None:
    world.clock.advance(**by)
    await feed.tick()


@pytest.mark.requirement("OP-22", "OP-09")
async def test_first_tick_fetches_crls_then_list_and_the_doors_open(world: World) -> None:
    trust, feed = world.worker()
    await feed.load()
    assert trust.snapshot.whitelist is None
    await feed.tick()
    assert trust.snapshot.lists(domain(A_DOMAIN))
    identity = world.authority.issue(A_SUBJECT)
    assert trust.identify(identity.chain, world.clock.now()).crl_number == 1
    assert [url for url, _ in world.site.asked] == [ROOT_CRL, CRL, LIST_URL]
    assert len(world.verified) == 1


async def test_nothing_on_disk_and_no_network_keeps_answering_451_and_tries_soon_again(
    world: World,
) -> None:
    pages = dict(world.site.pages)
    world.site.pages.clear()
    trust, feed = await started(world)
    identity = world.authority.issue(A_SUBJECT)
    with pytest.raises(CertificateRefused) as caught:
        trust.identify(identity.chain, world.clock.now())
    assert str(caught.value.reply).startswith("451 4.7.5")
    world.site.pages.update(pages)
    await after(world, feed, seconds=20)
    trust.identify(identity.chain, world.clock.now())


async def test_run_brings_the_first_list_into_force_and_ends_when_cancelled(world: World) -> None:
    trust, feed = world.worker()
    assert not await feed.wait_in_force(0)
    running = asyncio.create_task(feed.run())
    assert await feed.wait_in_force(10)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    _, second = await started(world)
    assert second._files._fetcher._lock is not None  # let go by the first


async def test_our_own_error_in_one_round_does_not_end_the_feed(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.trust_feed.feed.FIRST_POLL_S", 0.0)
    _, feed = world.worker()
    rounds = 0
    real = feed.tick

    async def tick() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise OSError("disk full")
        await real()

    monkeypatch.setattr(feed, "tick", tick)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(feed.run())
        assert await feed.wait_in_force(10)
        running.cancel()
    assert "trust feed failed; it goes on" in [r.message for r in caplog.records]


async def test_start_without_network_serves_what_is_on_disk(world: World) -> None:
    _, first = await started(world)
    first._files.release()
    world.site.pages.clear()
    trust, feed = world.worker()
    await feed.load()
    assert trust.snapshot.lists(domain(A_DOMAIN))
    trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())
    assert len(world.verified) == 2  # verified anew, never trusted because it is ours


@pytest.mark.attack
async def test_list_changed_on_disk_is_not_used(world: World, tmp_path: Path) -> None:
    await started(world)
    (kept,) = (tmp_path / "home" / "trust" / "lists").glob("*.xml")
    kept.write_bytes(kept.read_bytes().replace(b"hopital-a", b"hopital-x"))
    trust, feed = world.worker()
    await feed.load()
    assert trust.snapshot.whitelist is None


async def test_list_damaged_on_disk_comes_back_from_the_network(
    world: World, tmp_path: Path
) -> None:
    _, first = await started(world)
    first._files.release()
    (kept,) = (tmp_path / "home" / "trust" / "lists").glob("*.xml")
    kept.write_bytes(b"")
    trust, _ = await started(world)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    assert kept.read_bytes() == world.site.pages[LIST_URL]


@pytest.mark.requirement("OP-28")
async def test_start_with_a_damaged_list_goes_on_with_the_one_before_until_it_is_repaired(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, first = await started(world)
    world.clock.advance(minutes=70)
    newest = world.publish(A_DOMAIN, B_DOMAIN)
    await first.tick()
    first._files.release()
    damaged = sorted((tmp_path / "home" / "trust" / "lists").glob("*.xml"))[-1]
    damaged.write_bytes(newest[:-1])
    pages = dict(world.site.pages)
    world.site.pages.clear()
    trust, feed = await started(world)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    assert not trust.snapshot.lists(domain(B_DOMAIN))
    assert "kept list unusable" in caplog.messages
    world.site.pages.update(pages)
    world.publish(A_DOMAIN, date=world.clock.now() - timedelta(minutes=1))  # older than the newest
    await after(world, feed, minutes=70)
    assert not trust.snapshot.lists(domain(B_DOMAIN))
    assert why(caplog)[-1].startswith("older than the list in force")
    world.site.pages[LIST_URL] = newest
    await after(world, feed, minutes=70)
    assert trust.snapshot.lists(domain(B_DOMAIN))
    assert damaged.read_bytes() == newest


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_older_signed_list_in_the_file_of_the_newest_is_not_taken_for_it(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, first = await started(world)
    world.clock.advance(minutes=70)
    newest = world.publish(A_DOMAIN, B_DOMAIN)
    await first.tick()
    first._files.release()
    older, newer = sorted((tmp_path / "home" / "trust" / "lists").glob("*.xml"))
    newer.write_bytes(older.read_bytes())
    trust, feed = world.worker()
    await feed.load()
    assert [vars(r)["reason"] for r in caplog.records] == ["another list"]
    await after(world, feed, minutes=70)
    assert trust.snapshot.lists(domain(B_DOMAIN))
    assert newer.read_bytes() == newest


@pytest.mark.requirement("OP-29")
async def test_list_is_asked_for_every_hour_and_only_if_changed(world: World) -> None:
    trust, feed = await started(world)
    await after(world, feed, minutes=50)
    assert world.site.count(LIST_URL) == 1
    await after(world, feed, minutes=11)
    assert world.site.count(LIST_URL) == 2
    assert world.site.asked[-1][1].etag is not None  # conditional
    assert len(world.verified) == 1
    world.publish(A_DOMAIN, B_DOMAIN)
    await after(world, feed, minutes=61)
    assert trust.snapshot.lists(domain(B_DOMAIN))
    assert len(world.verified) == 2  # not once more on reload


@pytest.mark.requirement("OP-29")
def test_period_varies_by_ten_percent(world: World) -> None:
    class Drawn:
        octets = b""

        def token_bytes(self, octets: int) -> bytes:
            return self.octets

    _, feed = world.worker()
    drawn = Drawn()
    feed._schedule._entropy = drawn
    spans = []
    for drawn.octets in (b"\x00\x00", b"\xff\xff"):
        spans.append(feed._schedule.jittered(timedelta(minutes=60)))
    assert spans == [timedelta(minutes=54), timedelta(minutes=66)]


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_wt_24_older_list_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    trust, feed = await started(world)
    world.publish(A_DOMAIN, B_DOMAIN, date=world.clock.now() - timedelta(seconds=1))
    await after(world, feed, minutes=70)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    assert not trust.snapshot.lists(domain(B_DOMAIN))
    assert why(caplog) == ["older than the list in force: 2026-03-02T08:59:59+00:00"]


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_wt_25_same_date_other_content_is_refused_with_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    world.publish(A_DOMAIN, B_DOMAIN)
    await after(world, feed, minutes=70)
    assert not trust.snapshot.lists(domain(B_DOMAIN))
    assert why(caplog)[0].startswith("same date, other content")
    assert [r.levelno for r in caplog.records if r.getMessage() == "list not taken"] == [
        logging.ERROR
    ]


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_wt_24_older_list_is_refused_after_a_restart_too(world: World) -> None:
    _, first = await started(world)
    first._files.release()
    world.publish(A_DOMAIN, B_DOMAIN, date=world.clock.now() - timedelta(days=1))
    trust, feed = world.worker()
    await feed.load()
    await after(world, feed, minutes=70)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    assert not trust.snapshot.lists(domain(B_DOMAIN))


@pytest.mark.attack
async def test_wt_24_without_the_remembered_date_the_older_list_would_pass(
    world: World, tmp_path: Path
) -> None:
    """The detector of the tests above: what they see is the remembered date at work."""
    trust, feed = await started(world)
    file = tmp_path / "home" / "trust" / "state.json"
    state = json.loads(file.read_bytes())
    state["accepted"][0]["date"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(state))
    world.publish(A_DOMAIN, B_DOMAIN, date=world.clock.now() - timedelta(seconds=1))
    await after(world, feed, minutes=70)
    assert trust.snapshot.lists(domain(B_DOMAIN))


@pytest.mark.requirement("OP-28")
async def test_wt_20_refused_list_leaves_the_previous_one_in_force(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    world.clock.advance(minutes=70)
    world.site.pages[LIST_URL] = world.publish(A_DOMAIN, B_DOMAIN).replace(
        b"cabinet-b", b"cabinet-x"
    )
    await feed.tick()
    assert trust.snapshot.lists(domain(A_DOMAIN))
    assert why(caplog) == ["signature: digest"]
    world.publish(A_DOMAIN, B_DOMAIN)
    await after(world, feed, minutes=6)  # asked again sooner than in an hour
    assert trust.snapshot.lists(domain(B_DOMAIN))


@pytest.mark.attack
@pytest.mark.requirement("OP-28", "OP-23", "OP-24")
async def test_att_33_whatever_is_published_the_previous_list_stays_and_mail_flows(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.publish(A_DOMAIN, date=world.clock.now() - timedelta(hours=1))
    world.publish_crls(days=300)
    trust, feed = await started(world)
    in_force = trust.snapshot.whitelist
    assert in_force is not None
    good = world.publish(A_DOMAIN)
    identity = world.authority.issue(A_SUBJECT)
    for name, spoil, reason in SPOILT:
        caplog.clear()
        world.site.pages[LIST_URL] = spoil(good)
        await after(world, feed, minutes=70)
        assert [w.partition(":")[0] for w in why(caplog)] == [reason], name
        assert trust.snapshot.whitelist is in_force, name
        assert trust.identify(identity.chain, world.clock.now()).list_date == in_force.date
    await after(world, feed, hours=2)
    assert "list not refreshed: alarm" in caplog.messages  # an alarm, and no more than that


@pytest.mark.requirement("OP-25")
async def test_wt_22_renewed_signer_of_the_pinned_subject_is_accepted_with_a_notice(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    assert [r for r in caplog.records if "renewed" in r.message] == []
    renewed = world.authority.issue(SIGNER_SUBJECT, Make(usages=EMAIL_ONLY))
    world.clock.advance(minutes=70)
    world.publish(A_DOMAIN, B_DOMAIN)
    unsigned = world.site.pages[LIST_URL]
    start, end = unsigned.index(b"<Signature "), unsigned.index(b"</Signature>") + 12
    world.site.pages[LIST_URL] = sign(unsigned[:start] + unsigned[end:], renewed)
    await feed.tick()
    assert trust.snapshot.lists(domain(B_DOMAIN))
    assert [r.levelno for r in caplog.records if "renewed" in r.message] == [logging.WARNING]
    assert feed._files.history()[0].detail.startswith("signer renewed: CN=alb.mssante.example,")


@pytest.mark.requirement("OP-27")
async def test_wt_28_without_fetch_mail_flows_with_warning_then_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    del world.site.pages[LIST_URL]
    world.publish_crls(days=30)
    said = []
    for hours in (23, 2, 48):
        caplog.clear()
        await after(world, feed, hours=hours)
        said.append([(r.levelno, r.message) for r in caplog.records if "refreshed" in r.message])
        trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())
    assert said == [
        [],
        [(logging.WARNING, "list not refreshed")],
        [(logging.ERROR, "list not refreshed: alarm")],
    ]


@pytest.mark.requirement("OP-27", "OP-29")
async def test_list_that_nobody_edited_for_days_is_fresh_while_its_server_gives_it(
    world: World,
) -> None:
    _, feed = await started(world)
    for _ in range(3):
        world.publish_crls()
        await after(world, feed, hours=26)
        state = feed._files.state()
        assert freshness(state, WhitelistSettings(), world.clock.now()) == "fresh"
    assert state.listed is not None
    assert world.clock.now() - state.listed.date == timedelta(hours=78)
    assert freshness(State(), WhitelistSettings(), world.clock.now()) == "alarm"


async def test_reminder_comes_once_an_hour(world: World, caplog: pytest.LogCaptureFixture) -> None:
    _, feed = await started(world)
    del world.site.pages[LIST_URL]
    for _ in range(3):
        await after(world, feed, hours=25 / 3 + 1 / 60)
    caplog.clear()
    for _ in range(4):
        await after(world, feed, minutes=20)
    assert sum("not refreshed" in r.message for r in caplog.records) == 1


# ---------------------------------------------------------------- CRLs


@pytest.mark.requirement("OP-09")
async def test_crls_are_fetched_daily_and_a_revocation_takes_effect(world: World) -> None:
    trust, feed = await started(world)
    identity = world.authority.issue(A_SUBJECT)
    trust.identify(identity.chain, world.clock.now())
    world.authority.revoke(identity)
    await after(world, feed, hours=20)
    assert world.site.count(CRL) == 1
    world.publish_crls()
    await after(world, feed, hours=5)
    assert world.site.count(CRL) == 2
    with pytest.raises(CertificateRefused) as caught:
        trust.identify(identity.chain, world.clock.now())
    assert caught.value.reason == "revoked"


@pytest.mark.requirement("OP-09")
async def test_wt_31_wt_30_server_down_the_last_crl_serves_until_its_end_with_alarm_before(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    for url in (ROOT_CRL, CRL):
        del world.site.pages[url]
    identity = world.authority.issue(A_SUBJECT)
    await after(world, feed, days=6)
    trust.identify(identity.chain, world.clock.now())
    assert "CRL ends soon" not in [r.message for r in caplog.records]
    await after(world, feed, hours=13)
    trust.identify(identity.chain, world.clock.now())
    assert "CRL ends soon" in [r.message for r in caplog.records]
    await after(world, feed, hours=12)
    with pytest.raises(CertificateRefused) as caught:
        trust.identify(identity.chain, world.clock.now())
    assert str(caught.value.reply).startswith("451 4.7.5")
    world.publish_crls()
    await after(world, feed, minutes=6)
    trust.identify(identity.chain, world.clock.now())


@pytest.mark.attack
async def test_older_or_foreign_crl_is_refused(world: World) -> None:
    trust, feed = await started(world)
    old = dict(world.site.pages)
    gone = world.authority.issue(A_SUBJECT)
    world.authority.revoke(gone)
    await after(world, feed, hours=12)
    world.publish_crls()
    await after(world, feed, hours=13)
    world.site.pages.update({url: old[url] for url in (ROOT_CRL, CRL)})
    await after(world, feed, hours=27)
    stranger = Authority(world.clock.now(), make_key=shared_keys(20))
    world.site.pages[ROOT_CRL], world.site.pages[CRL] = stranger.crls()
    await after(world, feed, hours=27)
    with pytest.raises(CertificateRefused) as caught:
        trust.identify(gone.chain, world.clock.now())
    assert caught.value.reason == "revoked"


@pytest.mark.requirement("OP-09")
def test_the_daily_download_of_crls_is_at_another_minute_each_time(world: World) -> None:
    _, feed = world.worker()
    day = timedelta(days=1)
    with_chance = {feed._schedule.jittered(day) for feed._schedule._entropy in map(Drawn, range(9))}
    assert len(with_chance) == 9
    assert all(0.9 * day <= span <= 1.1 * day for span in with_chance)


def reasons(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [r.__dict__["reason"] for r in caplog.records if r.getMessage() == event]


class Drawn:
    """Entropy that gives one number."""

    def __init__(self, number: int) -> None:
        self._number = number * 7_000

    def token_bytes(self, octets: int) -> bytes:
        return self._number.to_bytes(octets, "big")


@pytest.mark.requirement("OP-09")
async def test_wt_30_alarm_says_whose_crl_has_ended(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _, feed = await started(world)
    for url in (ROOT_CRL, CRL):
        del world.site.pages[url]
    await after(world, feed, days=8)
    (said,) = [r for r in caplog.records if r.message.startswith("CRL has ended")]
    assert said.levelno == logging.ERROR
    assert "IGC-SANTE" in said.__dict__["issuer"]


@pytest.mark.attack
async def test_crl_that_has_not_begun_does_not_take_the_place_of_one_in_date(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock of the authority that runs ahead would stop the mail of everybody."""
    trust, feed = await started(world)
    now = world.clock.now()
    ahead = world.authority.crls(this_update=now + timedelta(days=3))
    world.site.pages[ROOT_CRL], world.site.pages[CRL] = ahead
    await after(world, feed, hours=27)
    trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())
    assert reasons(caplog, "CRL not taken") == ["not in date, and the one in force is"] * 2
    await after(world, feed, days=2)
    identified = trust.identify(world.authority.issue(A_SUBJECT).chain, world.clock.now())
    assert identified.crl_number == 2


@pytest.mark.attack
@pytest.mark.requirement("OP-25", "OP-28")
async def test_wt_27_revoked_signer_brings_nothing_new_and_an_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    world.authority.revoke(world.authority.signer)
    world.publish_crls()
    world.publish(A_DOMAIN, B_DOMAIN, date=world.clock.now() + timedelta(hours=1))
    await after(world, feed, hours=27)
    assert trust.snapshot.lists(domain(A_DOMAIN))  # what was accepted before stays
    assert not trust.snapshot.lists(domain(B_DOMAIN))
    assert "signer certificate: revoked" in why(caplog)
    messages = [r.message for r in caplog.records]
    assert "signer of the list in force is revoked" in messages


async def test_crl_that_lives_shorter_than_the_period_is_fetched_in_time(world: World) -> None:
    world.publish_crls(days=0.25)
    _, feed = await started(world)
    await after(world, feed, hours=4)
    assert world.site.count(CRL) == 2


async def test_list_that_waited_for_its_crl_comes_into_force_with_it(world: World) -> None:
    """On disk a list and CRLs past their end: verified again once fresh CRLs are there."""
    _, first = await started(world)
    first._files.release()
    world.clock.advance(days=8)
    del world.site.pages[LIST_URL]
    trust, feed = world.worker()
    await feed.load()
    assert trust.snapshot.whitelist is None
    world.publish_crls()
    await feed.tick()
    assert trust.snapshot.lists(domain(A_DOMAIN))


# ---------------------------------------------------------------- several workers, one home


async def test_one_worker_fetches_and_all_reload(world: World) -> None:
    one, feed_one = await started(world)
    two, feed_two = await started(world)
    assert world.site.count(LIST_URL) == 1
    assert two.snapshot.lists(domain(A_DOMAIN))
    world.clock.advance(minutes=70)
    world.publish(A_DOMAIN, B_DOMAIN)
    await feed_one.tick()
    await feed_two.tick()
    assert one.snapshot.lists(domain(B_DOMAIN))
    assert two.snapshot.lists(domain(B_DOMAIN))
    assert world.site.count(LIST_URL) == 2
    feed_one._files.release()  # as when its process ends
    world.clock.advance(minutes=70)
    world.publish(A_DOMAIN)
    await feed_two.tick()
    assert two.snapshot.lists(domain(A_DOMAIN))


async def test_check_without_change_makes_no_worker_verify_again(world: World) -> None:
    _, feed_one = await started(world)
    _, feed_two = await started(world)
    verified = len(world.verified)
    for _ in range(3):
        world.clock.advance(minutes=70)
        await feed_one.tick()
        await feed_two.tick()
    assert len(world.verified) == verified


# ---------------------------------------------------------------- files


def test_last_thirty_lists_stay_on_disk_as_received(world: World, tmp_path: Path) -> None:
    files = TrustFiles(tmp_path)
    for number in range(KEPT_LISTS + 2):
        octets = b"list %d" % number
        date = world.clock.now() + timedelta(hours=number)
        listed = Whitelist(date, sha256(octets).hexdigest(), "signer", ())
        files.take_list(Answer(LIST_URL, octets, Validators()), listed, (), date)
    kept = sorted((tmp_path / "lists").glob("*.xml"))
    assert len(kept) == KEPT_LISTS == 30
    assert kept[-1].read_bytes() == octets
    assert [f"lists/{path.name}" for path in kept] == [e.file for e in files.state().accepted]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"list": {"date": 1}, "crls": {}}'])
async def test_damaged_state_is_fetched_anew(world: World, tmp_path: Path, damage: bytes) -> None:
    _, first = await started(world)
    first._files.release()
    (tmp_path / "home" / "trust" / "state.json").write_bytes(damage)
    trust, feed = world.worker()
    await feed.load()
    await feed.tick()
    assert trust.snapshot.lists(domain(A_DOMAIN))


async def test_files_are_the_owners_alone(world: World, tmp_path: Path) -> None:
    await started(world)
    trust_directory = tmp_path / "home" / "trust"
    modes = {p.stat().st_mode & 0o077 for p in (trust_directory, *trust_directory.rglob("*"))}
    assert modes == {0}
    assert json.loads((trust_directory / "state.json").read_bytes())["in_force"]


def why(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(vars(r)["reason"]) for r in caplog.records if r.getMessage() == "list not taken"]
