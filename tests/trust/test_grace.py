"""`whitelist.grace_lists`: what a list leaves out may stay valid for so many lists (OP-34)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity, Subject, row
from mssmtp.mail import Address, DnKey, domain
from mssmtp.pki import CertificateRefused, listed_name
from mssmtp.trust import PeerRefused, Trust
from mssmtp.trust_feed import TrustFeed, TrustFiles
from mssmtp.whitelist import Whitelist
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, shared_keys
from tests.trust.feeding import FakeClock, World

OTHERS = tuple((f"d{number}.test", A_SUBJECT) for number in range(60))
ALL = ((A_DOMAIN, A_SUBJECT), (B_DOMAIN, B_SUBJECT), *OTHERS)
WITHOUT_B = ((A_DOMAIN, A_SUBJECT), *OTHERS)
SENDER = Address.parse("dr@cabinet-b.test")


@pytest.fixture
def world(tmp_path: Path) -> World:
    now = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    made = World(tmp_path, Authority(now, make_key=shared_keys(10)), FakeClock(now))
    made.whitelist["grace_lists"] = 1
    made.publish_rows(ALL)
    made.publish_crls(days=30)
    return made


async def started(world: World) -> tuple[Trust, TrustFeed]:
    trust, feed = world.worker()
    await feed.tick()
    return trust, feed


async def published(world: World, feed: TrustFeed, pairs: tuple[tuple[str, Subject], ...]) -> None:
    world.clock.advance(minutes=70)
    world.publish_rows(pairs)
    await feed.tick()


def judged(world: World, trust: Trust, peer: Identity) -> str:
    """Inbound and outbound must agree; the reason, or "accepted"."""
    now = world.clock.now()
    try:
        trust.bind(trust.identify(peer.chain, now), SENDER)
    except (PeerRefused, CertificateRefused) as error:
        with pytest.raises((PeerRefused, CertificateRefused)):
            trust.judge_server(peer.chain, SENDER.domain, now)
        return error.reason
    trust.judge_server(peer.chain, SENDER.domain, now)
    return "accepted"


@pytest.mark.requirement("OP-34")
async def test_removed_domain_is_refused_at_the_next_list(world: World) -> None:
    world.whitelist["grace_lists"] = 0
    trust, feed = await started(world)
    peer = world.authority.issue(B_SUBJECT)
    assert judged(world, trust, peer) == "accepted"
    await published(world, feed, WITHOUT_B)
    assert judged(world, trust, peer) == "name not listed"


@pytest.mark.requirement("OP-34")
async def test_removed_domain_stays_valid_for_as_many_lists_as_set(world: World) -> None:
    trust, feed = await started(world)
    peer = world.authority.issue(B_SUBJECT)
    await published(world, feed, WITHOUT_B)
    assert judged(world, trust, peer) == "accepted"
    listed = trust.snapshot.whitelist
    assert listed is not None
    (dn,) = listed.names(domain(B_DOMAIN))
    assert listed.is_graced(domain(B_DOMAIN), dn)
    assert domain(B_DOMAIN) not in listed.domains
    row = listed.row(domain(B_DOMAIN), dn)
    assert row is not None
    assert row.dn == B_SUBJECT.text
    await published(world, feed, WITHOUT_B)
    assert judged(world, trust, peer) == "name not listed"


@pytest.mark.requirement("OP-34")
async def test_removed_name_of_a_domain_has_its_grace_beside_the_new_one(world: World) -> None:
    trust, feed = await started(world)
    renamed = Subject("mx2.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")
    await published(world, feed, ((B_DOMAIN, renamed), *WITHOUT_B))
    old, new = world.authority.issue(B_SUBJECT), world.authority.issue(renamed)
    assert (judged(world, trust, old), judged(world, trust, new)) == ("accepted", "accepted")
    await published(world, feed, ((B_DOMAIN, renamed), *WITHOUT_B))
    assert judged(world, trust, old) == "name not listed"
    assert judged(world, trust, new) == "accepted"


@pytest.mark.attack
@pytest.mark.requirement("OP-34")
async def test_grace_is_not_for_a_revoked_certificate(world: World) -> None:
    trust, feed = await started(world)
    peer = world.authority.issue(B_SUBJECT)
    world.authority.revoke(peer)
    world.publish_crls(days=30)
    world.clock.advance(hours=27)
    await published(world, feed, WITHOUT_B)
    assert judged(world, trust, peer) == "revoked"
    assert judged(world, trust, world.authority.issue(B_SUBJECT)) == "accepted"


@pytest.mark.requirement("OP-34")
async def test_grace_outlives_a_restart_and_is_verified_again(world: World, tmp_path: Path) -> None:
    _, first = await started(world)
    await published(world, first, WITHOUT_B)
    first._files.release()
    trust, _ = await started(world)
    peer = world.authority.issue(B_SUBJECT)
    assert judged(world, trust, peer) == "accepted"
    earlier = sorted((tmp_path / "home" / "trust" / "lists").glob("*.xml"))[0]
    earlier.write_bytes(earlier.read_bytes().replace(b"cabinet-b", b"cabinet-x"))
    again, feed = world.worker()
    await feed.load()
    assert judged(world, again, peer) == "name not listed"


async def test_domain_that_comes_back_is_no_longer_graced(world: World) -> None:
    trust, feed = await started(world)
    await published(world, feed, WITHOUT_B)
    await published(world, feed, ALL)
    listed = trust.snapshot.whitelist
    assert listed is not None
    assert listed.graced == ()
    assert domain(B_DOMAIN) in listed.domains


# ---------------------------------------------------------------- the index, without a feed

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
NEW_B = Subject("mx2.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")


def of(*pairs: tuple[str, Subject], said: str = "") -> Whitelist:
    rows = [row(name, subject.text, updated=NOW, description=said) for name, subject in pairs]
    return Whitelist(NOW, "0" * 64, "signer", tuple(rows))


def key(subject: Subject) -> DnKey:
    found = listed_name(subject.text)
    assert found is not None
    return found


def test_grace_adds_exactly_what_the_list_leaves_out() -> None:
    a, b, old, new = domain(A_DOMAIN), domain(B_DOMAIN), key(B_SUBJECT), key(NEW_B)
    earlier = of((A_DOMAIN, A_SUBJECT), (B_DOMAIN, B_SUBJECT), ("parti.test", A_SUBJECT))
    listed = of((A_DOMAIN, A_SUBJECT), (B_DOMAIN, NEW_B)).with_grace([earlier])
    assert [each.domain for each in listed.graced] == [B_DOMAIN, "parti.test"]
    assert listed.names(b) == {old, new}
    assert (listed.is_graced(b, old), listed.is_graced(b, new)) == (True, False)
    assert not listed.is_graced(a, key(A_SUBJECT))
    assert listed.domains == {a, b}
    assert listed.lists(domain("parti.test"))
    assert listed.domains_of(key(A_SUBJECT)) == {a, domain("parti.test")}
    assert [row.dn for row in listed.rows_of(b)] == [NEW_B.text, B_SUBJECT.text]
    graced = listed.row(domain("parti.test"), key(A_SUBJECT))
    assert graced is not None
    assert graced.domain == "parti.test"
    assert {pair for pair, _ in listed.bindings()} == {(a, key(A_SUBJECT)), (b, new)}
    alone = listed.without_grace()
    assert alone.names(b) == {new}
    assert alone.graced == ()
    assert not alone.lists(domain("parti.test"))


def test_grace_of_nothing_is_the_list_itself() -> None:
    listed = of((A_DOMAIN, A_SUBJECT), (B_DOMAIN, B_SUBJECT))
    assert listed.with_grace([of((A_DOMAIN, A_SUBJECT))]) is listed
    assert listed.with_grace([]) is listed
    assert listed.without_grace() is listed


def test_grace_of_several_lists_is_one_row_for_each_pair() -> None:
    one, two = of((B_DOMAIN, B_SUBJECT), said="un"), of((B_DOMAIN, B_SUBJECT), said="deux")
    graced = of((A_DOMAIN, A_SUBJECT)).with_grace([one, two]).graced
    assert [row.domain for row in graced] == [B_DOMAIN]


def test_grace_of_a_graced_list_is_of_what_was_signed_only() -> None:
    """Otherwise a row would be handed on from list to list for ever."""
    older, old = of((B_DOMAIN, B_SUBJECT)), of((A_DOMAIN, A_SUBJECT))
    assert of((A_DOMAIN, A_SUBJECT)).with_grace([old.with_grace([older])]).graced == ()


@pytest.mark.attack
@pytest.mark.requirement("OP-34")
async def test_what_a_rollback_left_does_not_come_back_as_a_grace(
    world: World, tmp_path: Path
) -> None:
    """A list that wrongly gives B's domain to A is left; the corrected one does not revive it."""
    files, now = TrustFiles(tmp_path / "home" / "trust"), world.clock.now()
    wrong = ((B_DOMAIN, A_SUBJECT), *ALL)
    trust, feed = await started(world)
    good = files.state().accepted[-1].sha256
    for rows in (wrong, wrong):
        await published(world, feed, rows)
    files.roll_back(good, "admin", now)
    files.undo("admin", now)
    assert len(files.state().before(9)) == 2  # taken back: they count again
    files.roll_back(good, "admin", now)
    await published(world, feed, ALL)
    assert files.state().rolled_back is None
    assert [each.sha256 for each in files.state().before(9)] == [good]
    impostor = world.authority.issue(A_SUBJECT)
    assert judged(world, trust, impostor) == "name not of domain"
