"""What a person sees and decides: history, held lists, rollback; and what no choice takes away."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from mssmtp.demo.authority import Authority
from mssmtp.mail import domain
from mssmtp.trust import Trust
from mssmtp.trust_feed import TrustFeed
from mssmtp.trust_feed.fetch import Validators
from mssmtp.trust_feed.files import ChoiceRefused, TrustFiles
from mssmtp.trust_feed.state import KEPT_REFUSALS
from tests.authority import A_DOMAIN, B_DOMAIN, shared_keys
from tests.trust.feeding import LIST_URL, FakeClock, World

MANY = tuple(f"domaine-{number}.test" for number in range(20))


@pytest.fixture
def world(tmp_path: Path) -> World:
    now = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    made = World(tmp_path, Authority(now, make_key=shared_keys(10)), FakeClock(now))
    made.publish(A_DOMAIN, *MANY)
    made.publish_crls(days=300)
    return made


@pytest.fixture
def files(world: World, tmp_path: Path) -> TrustFiles:
    return TrustFiles(tmp_path / "home" / "trust")


async def started(world: World) -> tuple[Trust, TrustFeed]:
    trust, feed = world.worker()
    await feed.tick()
    return trust, feed


async def hour(world: World, feed: TrustFeed) -> None:
    world.clock.advance(minutes=70)
    await feed.tick()


async def published(world: World, feed: TrustFeed, *domains: str) -> str:
    """A list of the moment is published and asked for; its digest."""
    world.clock.advance(minutes=70)
    world.publish(*domains)
    await feed.tick()
    state = feed._files.state()
    assert state.published is not None
    return state.published.sha256


def now_in_force(trust: Trust) -> str:
    assert trust.snapshot.whitelist is not None
    return trust.snapshot.whitelist.sha256


# ---------------------------------------------------------------- history


@pytest.mark.requirement("OP-26")
async def test_every_list_leaves_a_line_saying_when_by_whom_and_what(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    accepted_at = world.clock.now()
    second = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    held = await published(world, feed, A_DOMAIN)
    files.confirm(held[:12], "anne", world.clock.now())
    files.roll_back(first, "anne", world.clock.now())
    files.undo("bruno", world.clock.now())
    events = files.history()[::-1]
    assert [(e.what, e.who, e.sha256) for e in events] == [
        ("accepted", "server", first),
        ("accepted", "server", second),
        ("held", "server", held),
        ("confirmed", "anne", held),
        ("rolled back", "anne", first),
        ("undone", "bruno", held),
    ]
    assert events[0].at == events[0].date == accepted_at
    assert events[2].detail.startswith("shrinks by 95.5 %: 22 rows to 1")


async def test_octets_of_a_list_are_those_that_were_signed(world: World, files: TrustFiles) -> None:
    trust, feed = await started(world)
    first = world.site.pages[LIST_URL]
    digest = now_in_force(trust)
    await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    assert files.list_octets(digest[:8].upper()) == first
    for unknown in ("0" * 12, digest[:5], ""):
        with pytest.raises(ChoiceRefused, match="digest"):
            files.list_octets(unknown)


@pytest.mark.attack
async def test_nonsense_published_all_day_does_not_push_the_history_out(
    world: World, files: TrustFiles, tmp_path: Path
) -> None:
    trust, feed = await started(world)
    for number in range(KEPT_REFUSALS + 5):
        world.site.pages[LIST_URL] = b"<x>%d" % number
        await hour(world, feed)
        await hour(world, feed)  # the same again says nothing new
    whats = [event.what for event in files.history()]
    assert whats == ["refused"] * KEPT_REFUSALS + ["accepted"]
    assert files.history()[0].detail == "not XML"
    assert len(list((tmp_path / "home" / "trust" / "refused").iterdir())) == 3
    assert trust.snapshot.lists(domain(A_DOMAIN))


# ---------------------------------------------------------------- brakes


@pytest.mark.requirement("OP-28")
async def test_list_that_shrinks_too_much_is_held_and_mail_flows_by_the_one_before(
    world: World, files: TrustFiles, caplog: pytest.LogCaptureFixture
) -> None:
    trust, feed = await started(world)
    before = now_in_force(trust)
    lost = await published(world, feed, A_DOMAIN, *MANY[2:])
    assert now_in_force(trust) == before
    assert trust.snapshot.lists(domain(MANY[0]))
    held = files.held()
    assert held is not None
    assert (held.listed.sha256, held.since) == (lost, world.clock.now())
    assert [r.levelname for r in caplog.records if "held" in r.message] == ["ERROR"]
    _, second = world.worker()
    await second.load()  # a restart changes nothing
    assert files.held() == held


async def test_list_that_shrinks_by_five_percent_is_no_surprise(world: World) -> None:
    trust, feed = await started(world)
    await published(world, feed, A_DOMAIN, *MANY[1:])  # 21 to 20: 4.8 %
    assert not trust.snapshot.lists(domain(MANY[0]))


@pytest.mark.requirement("OP-35")
async def test_list_without_our_own_entry_is_held(world: World, files: TrustFiles) -> None:
    trust, feed = await started(world)
    await published(world, feed, "autre.test", *MANY)
    assert trust.snapshot.lists(domain(A_DOMAIN))
    held = files.held()
    assert held is not None
    assert held.reasons == (f"our entry is lost: {A_DOMAIN}",)


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_list_of_a_later_day_is_held_so_that_it_keeps_no_other_out(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    world.publish(A_DOMAIN, B_DOMAIN, *MANY, date=world.clock.now() + timedelta(days=300))
    await hour(world, feed)
    held = files.held()
    assert held is not None
    assert held.reasons == ("is dated 2026-12-27 09:00 UTC, later than now",)
    newer = await published(world, feed, A_DOMAIN, *MANY)
    assert now_in_force(trust) == newer
    world.publish(A_DOMAIN, *MANY, date=world.clock.now() + timedelta(minutes=125))
    await hour(world, feed)
    assert files.held() is None  # clocks differ by less than an hour


@pytest.mark.attack
@pytest.mark.requirement("OP-28")
async def test_list_that_shrinks_a_little_every_hour_is_held_too(
    world: World, files: TrustFiles
) -> None:
    """Twenty-one domains, one fewer at a time: each step alone would pass."""
    _, feed = await started(world)
    await published(world, feed, A_DOMAIN, *MANY[1:])
    assert files.held() is None
    held = await published(world, feed, A_DOMAIN, *MANY[2:])
    found = files.held()
    assert found is not None
    assert found.reasons == (
        "shrinks by 9.5 %: 21 rows to 19 within a day",
        "shrinks by 9.5 %: 21 domains to 19 within a day",
    )
    files.confirm(held, "admin", world.clock.now())
    await published(world, feed, A_DOMAIN, *MANY[2:], B_DOMAIN)
    assert files.held() is None  # counted from what the person has seen
    for _ in range(2):
        await published(world, feed, A_DOMAIN, *MANY[3:], B_DOMAIN)
    assert files.held() is None


@pytest.mark.requirement("OP-28")
async def test_list_that_shrinks_a_little_every_two_days_is_no_surprise(
    world: World, files: TrustFiles
) -> None:
    _, feed = await started(world)
    for number in (1, 2):
        world.clock.advance(days=2)
        await published(world, feed, A_DOMAIN, *MANY[number:])
    assert files.held() is None


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_list_of_a_later_day_confirmed_by_mistake_is_left_by_a_rollback(
    world: World, files: TrustFiles
) -> None:
    """Else every list would be older than it until that day, and no command would help."""
    trust, feed = await started(world)
    first = now_in_force(trust)
    world.publish(A_DOMAIN, *MANY, date=world.clock.now() + timedelta(days=300))
    later = world.site.pages[LIST_URL]
    await hour(world, feed)
    held = files.held()
    assert held is not None
    files.confirm(held.listed.sha256, "admin", world.clock.now())
    await published(world, feed, A_DOMAIN, *MANY)
    assert now_in_force(trust) == held.listed.sha256
    files.roll_back(first, "admin", world.clock.now())
    newer = await published(world, feed, A_DOMAIN, *MANY)
    assert now_in_force(trust) == newer
    world.site.pages[LIST_URL] = later
    await hour(world, feed)
    assert now_in_force(trust) == newer  # played back, it waits for a person again
    assert files.held() is not None


async def test_held_list_is_not_fetched_or_verified_again_and_stays_held(
    world: World, files: TrustFiles
) -> None:
    _, feed = await started(world)
    await published(world, feed, A_DOMAIN)
    verified, held = len(world.verified), files.held()
    for _ in range(3):
        await hour(world, feed)
    assert len(world.verified) == verified
    assert world.site.asked[-1][1].etag is not None
    assert files.held() == held


async def test_confirmed_list_is_in_force_in_every_running_worker(
    world: World, files: TrustFiles
) -> None:
    one, feed_one = await started(world)
    two, feed_two = await started(world)
    lost = await published(world, feed_one, A_DOMAIN)
    files.confirm(lost, "anne", world.clock.now())
    await feed_one.tick()
    await feed_two.tick()
    assert now_in_force(one) == now_in_force(two) == lost
    assert files.held() is None
    with pytest.raises(ChoiceRefused, match="nothing to confirm"):
        files.confirm(lost, "anne", world.clock.now())


async def test_only_the_held_list_can_be_confirmed(world: World, files: TrustFiles) -> None:
    trust, feed = await started(world)
    before = now_in_force(trust)
    await published(world, feed, A_DOMAIN)
    with pytest.raises(ChoiceRefused, match="not the list that is held"):
        files.confirm(before, "anne", world.clock.now())


async def test_newer_list_that_is_fine_takes_the_place_of_a_held_one(
    world: World, files: TrustFiles, tmp_path: Path
) -> None:
    trust, feed = await started(world)
    await published(world, feed, A_DOMAIN)
    good = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    assert now_in_force(trust) == good
    assert files.held() is None
    assert list((tmp_path / "home" / "trust" / "held").iterdir()) == []


async def test_newer_list_that_is_worse_takes_the_place_of_a_held_one_too(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    before = now_in_force(trust)
    await published(world, feed, A_DOMAIN, *MANY[10:])
    worse = await published(world, feed, A_DOMAIN)
    held = files.held()
    assert held is not None
    assert held.listed.sha256 == worse
    assert now_in_force(trust) == before


# ---------------------------------------------------------------- rollback


@pytest.mark.requirement("OP-26")
async def test_rollback_stays_until_something_newer_than_what_was_left_is_published(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    left = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    files.roll_back(first, "anne", world.clock.now())
    await feed.tick()
    assert now_in_force(trust) == first
    verified = len(world.verified)
    for _ in range(2):
        await hour(world, feed)  # the list that was left is still published
    assert now_in_force(trust) == first
    assert len(world.verified) == verified
    newer = await published(world, feed, A_DOMAIN, *MANY)
    assert now_in_force(trust) == newer != left
    assert files.state().rolled_back is None


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
async def test_rollback_does_not_open_the_door_to_lists_older_than_the_one_left(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    await published(world, feed, A_DOMAIN, *MANY)
    files.roll_back(first, "anne", world.clock.now())
    await feed.tick()
    between = world.clock.now() - timedelta(minutes=10)
    world.publish(B_DOMAIN, A_DOMAIN, *MANY, date=between)
    await hour(world, feed)
    assert now_in_force(trust) == first
    assert files.history()[0].what == "refused"


async def test_rollback_outlives_a_restart_and_undo_ends_it(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    left = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    files.roll_back(first, "anne", world.clock.now())
    feed._files.release()
    trust, feed = world.worker()
    await feed.tick()
    assert now_in_force(trust) == first
    files.undo("anne", world.clock.now())
    await feed.tick()
    assert now_in_force(trust) == left
    with pytest.raises(ChoiceRefused, match="no rollback"):
        files.undo("anne", world.clock.now())


async def test_rollback_goes_only_to_an_earlier_accepted_list(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    second = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    held = await published(world, feed, A_DOMAIN)
    for target, why in ((second, "in force already"), (held, "never in force")):
        with pytest.raises(ChoiceRefused, match=why):
            files.roll_back(target, "anne", world.clock.now())
    files.roll_back(first, "anne", world.clock.now())
    with pytest.raises(ChoiceRefused, match="newest"):
        files.roll_back(second, "anne", world.clock.now())


# ---------------------------------------------------------------- anti-rollback, conflict


@pytest.mark.attack
@pytest.mark.requirement("OP-26")
@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]", b'{"accepted": [1]}', b"{}"])
async def test_wt_24_a_lost_state_does_not_make_an_older_list_acceptable(
    world: World, tmp_path: Path, damage: bytes | None
) -> None:
    trust, feed = await started(world)
    digest = now_in_force(trust)
    feed._files.release()
    file = tmp_path / "home" / "trust" / "state.json"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    world.publish(B_DOMAIN, date=world.clock.now() - timedelta(days=1))
    trust, feed = await started(world)
    await hour(world, feed)
    assert now_in_force(trust) == digest


@pytest.mark.requirement("OP-26")
async def test_wt_25_two_lists_of_one_date_are_an_alarm_until_a_newer_one_comes(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    date = world.clock.now()
    world.publish(A_DOMAIN, B_DOMAIN, *MANY, date=date)
    await hour(world, feed)
    first_seen = world.clock.now()
    await hour(world, feed)
    conflict = TrustFiles(files._directory).state().conflict
    assert conflict is not None
    assert (conflict.date, conflict.first_seen) == (date, first_seen)
    assert conflict.last_seen == world.clock.now()
    await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    assert files.state().conflict is None


async def test_state_of_the_version_before_is_taken_over(world: World, tmp_path: Path) -> None:
    """It knew the list in force and the CRLs by other names."""
    trust, feed = await started(world)
    feed._files.release()
    file = tmp_path / "home" / "trust" / "state.json"
    state = json.loads(file.read_bytes())
    kept = state["accepted"][0]
    old = {key: kept[key] for key in ("file", "date", "sha256")} | {"checked_at": kept["date"]}
    file.write_text(json.dumps({"list": old, "crls": state["crls"]}))
    world.site.pages.clear()
    again, second = world.worker()
    await second.load()
    assert now_in_force(again) == now_in_force(trust)
    assert again.snapshot.revocation is not None


# ---------------------------------------------------------------- what the metrics page says


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"mssmtp_whitelist_{name}")


@pytest.mark.requirement("OP-27")
async def test_metrics_tell_age_size_and_what_waits_for_a_person(
    world: World, files: TrustFiles
) -> None:
    trust, feed = await started(world)
    first = now_in_force(trust)
    assert (gauge("age_seconds"), gauge("rows"), gauge("held")) == (0, 21, 0)
    await published(world, feed, A_DOMAIN)
    assert (gauge("rows"), gauge("held")) == (21, 1)
    newer = await published(world, feed, A_DOMAIN, B_DOMAIN, *MANY)
    assert (gauge("rows"), gauge("held"), gauge("rolled_back")) == (22, 0, 0)
    files.roll_back(first, "anne", world.clock.now())
    await feed.tick()
    assert (gauge("rows"), gauge("rolled_back"), gauge("conflict")) == (21, 1, 0)
    world.publish(A_DOMAIN, *MANY, date=files.find(newer).date)
    world.clock.advance(minutes=70)
    await feed.tick()
    assert gauge("conflict") == 1
    world.site.pages.clear()
    world.clock.advance(hours=30)
    await feed.tick()
    assert gauge("age_seconds") == (30 * 60 + 70) * 60


# ---------------------------------------------------------------- refresh


async def test_refresh_that_was_asked_for_happens_in_the_next_round(
    world: World, files: TrustFiles
) -> None:
    _, feed = await started(world)
    asked = len(world.site.asked)
    await feed.tick()
    assert len(world.site.asked) == asked
    files.request_refresh()
    await feed.tick()
    assert len(world.site.asked) == asked + 3
    await feed.tick()
    assert len(world.site.asked) == asked + 3


def test_what_root_types_leaves_files_the_server_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, tuple[int, int]] = {}
    home = tmp_path.stat()

    def chown(made: Path | int, user: int, group: int) -> None:
        path = made if isinstance(made, Path) else Path(f"/proc/self/fd/{made}").readlink()
        given[path.name] = (user, group)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    files = TrustFiles(tmp_path / "trust")
    files.request_refresh()
    files.keep_crl("http://crl.test/x.crl", b"x", datetime.now(UTC), Validators())
    assert {"trust", "lists", "refresh", "changing", ".state.json.new"} <= set(given)
    assert set(given.values()) == {(home.st_uid, home.st_gid)}
    given.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files.request_refresh()
    assert given == {}


async def test_list_asked_of_another_address_is_asked_without_conditions(world: World) -> None:
    _, first = await started(world)
    first._files.release()
    world.whitelist["url"] = "https://autre.test/liste.xml"
    world.site.pages[world.whitelist["url"]] = world.site.pages[LIST_URL]
    _, feed = world.worker()
    await feed.load()
    await hour(world, feed)
    url, validators = world.site.asked[-1]
    assert (url, validators) == (world.whitelist["url"], Validators())
    await hour(world, feed)
    assert world.site.asked[-1][1].etag is not None


async def test_commands_beside_a_fetching_worker_lose_nothing(
    world: World, files: TrustFiles
) -> None:
    """Every change reads what is there at that moment: two writers never undo one another."""
    _, feed = await started(world)
    lost = await published(world, feed, A_DOMAIN)
    await asyncio.gather(
        asyncio.to_thread(files.confirm, lost, "anne", world.clock.now()),
        *(asyncio.to_thread(feed._files.checked_list, world.clock.now()) for _ in range(5)),
    )
    assert files.state().in_force == lost
    assert files.history()[0].what == "confirmed"
