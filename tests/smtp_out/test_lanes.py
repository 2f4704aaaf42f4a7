"""Who is delivered to next: adaptive, per operator and per domain, fair, urgent first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mssmtp.mail import Address, Domain, Envelope, EnvelopeId, Recipient
from mssmtp.smtp_lanes import (
    FAILING_AT_ONCE,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MOST_HELD,
    STARTED_WITH,
    Lanes,
    Pace,
)
from mssmtp.smtp_wire import PeerFailed
from mssmtp.storage import BY_HAND, Lease

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)
_numbers = iter(range(1_000_000))


def lease(name: str, *, priority: int = 0, until: datetime = LATER) -> Lease:
    to = Recipient(Address.parse(f"luc@{name}"))
    id = EnvelopeId(f"{next(_numbers):026d}")
    return Lease(
        envelope=Envelope(id, None, (to,), NOW, priority=priority),
        domain=to.address.domain,
        recipients=(to,),
        attempts=0,
        warned=False,
        queued_at=NOW,
        until=until,
        skip=0,
        size_octets=100,
        owner=Domain("a.test"),
        positions=(0,),
        turn=7,
    )


def filled(lanes: Lanes, **letters: int) -> None:
    """So many letters for each domain, all of one operator when its name begins alike."""
    for name, count in letters.items():
        for _ in range(count):
            lanes.add(lease(f"{name}.test"), name[0])


def domains(leases: list[Lease]) -> list[str]:
    return [each.domain.partition(".")[0] for each in leases]


def test_a_pace_grows_with_successes_and_halves_with_failures() -> None:
    pace = Pace(20)
    assert int(pace.allowed) == STARTED_WITH
    for _ in range(200):
        pace.succeeded()
    assert int(pace.allowed) == 20
    for expected in (10, 5, 2, 1, 1):
        pace.failed()
        assert int(pace.allowed) == expected


def test_a_slow_operator_fills_its_own_lane_only() -> None:
    lanes = Lanes(20, 200)
    filled(lanes, slow=100, quick=2)
    started = list(lanes.start())
    assert domains(started).count("slow") == STARTED_WITH
    assert domains(started).count("quick") == 2
    assert list(lanes.start()) == [], "nobody has ended"
    lanes.done(started[0])
    assert domains(list(lanes.start())) == ["slow"]


def test_what_is_not_recorded_takes_no_place_at_the_operator_and_is_bounded() -> None:
    lanes = Lanes(20, 40)
    filled(lanes, a=100)
    ended = []
    while started := list(lanes.start()):
        ended += [lanes.done(each) for each in started]
    assert STARTED_WITH < len(ended) < 20, "a disk that does not answer ends it"
    filled(lanes, b=100)
    assert set(domains(list(lanes.start()))) == {"b"}, "nor does it shut others out"
    for lane in ended:
        lanes.recorded(lane)
    assert "a" in domains(list(lanes.start()))


def test_domains_of_one_operator_take_turns() -> None:
    lanes = Lanes(20, 200)
    filled(lanes, aa=10, ab=10)
    assert domains(list(lanes.start())) == ["aa", "ab", "aa", "ab", "aa"]


def test_a_crowd_of_slow_operators_leaves_room_for_the_next() -> None:
    lanes = Lanes(20, 200)
    for number in range(10):
        for _ in range(50):
            lanes.add(lease(f"slow{number}.test"), number)
    for each in range(10):
        lanes.lane(Domain(f"slow{each}.test")).pace.allowed = 20.0
        lanes.road(Domain(f"slow{each}.test")).pace.allowed = 20.0
    running = domains(list(lanes.start()))
    assert 150 <= len(running) <= 190
    lanes.add(lease("next.test"), "next")
    assert domains(list(lanes.start())) == ["next"]


def test_among_many_operators_each_has_its_share_of_all_connections() -> None:
    """A handshake costs more than a letter: few connections for many letters, not many for few."""
    lanes = Lanes(most=20, in_all=8)
    letters = {f"{chr(97 + n)}x": 6 for n in range(4)}
    due = [(Domain(f"{name}.test"), NOW) for name in letters]
    lanes.wants(due, NOW, 0.0)
    filled(lanes, ax=6)
    assert domains(list(lanes.start())) == ["ax", "ax"], "the others are expected: they are due"
    filled(lanes, bx=6, cx=6, dx=6)
    started = domains(list(lanes.start()))
    assert all(started.count(name) <= 2 for name in letters)
    lanes.wants(due[:1], NOW, 0.0)
    alone = Lanes(most=20, in_all=8)
    alone.wants(due[:1], NOW, 0.0)
    filled(alone, ax=6)
    assert len(list(alone.start())) > 2, "nobody else is there: no share"


def test_many_domains_of_one_operator_are_one_among_the_crowd() -> None:
    lanes = Lanes(most=20, in_all=100)
    names = [f"a{n}" for n in range(50)]
    filled(lanes, **dict.fromkeys(names, 1))
    list(lanes.start())
    lanes.wants([(Domain(f"{name}.test"), NOW) for name in names], NOW, 0.0)
    for _ in range(30):
        lanes.reached(Domain("a0.test"))
    assert list(lanes.start()), "its fifty domains do not make it a fiftieth"


def test_what_is_urgent_overtakes_and_has_one_place_more() -> None:
    lanes = Lanes(20, 200)
    filled(lanes, a=30)
    list(lanes.start())
    lanes.add(lease("a.test", priority=6), "a")
    lanes.add(lease("a.test", priority=3), "a")
    (urgent,) = list(lanes.start())
    assert urgent.envelope.priority == 6


def test_who_calls_everything_urgent_does_not_keep_the_others_waiting_for_ever() -> None:
    lanes = Lanes(1, 200)
    filled(lanes, a=1)
    for _ in range(1_000):
        lanes.add(lease("a.test", priority=9), "a")
    passed = 0
    while (started := next(lanes.start())).envelope.priority and passed < 2_000:
        lanes.recorded(lanes.done(started))
        lanes.add(lease("a.test", priority=9), "a")
        passed += 1
    assert 0 < passed <= 9 * 50
    assert lanes.wants([(Domain("a.test"), NOW)], NOW, 0.0) == [], "no more of them for now"


def test_who_cannot_be_reached_twice_is_left_alone_for_a_while() -> None:
    lanes = Lanes(20, 200)
    filled(lanes, a=3)
    road, error = lanes.road(Domain("a.test")), PeerFailed("down")
    road.missed(error, 100.0)
    assert not road.is_paused(100.0), "once is an accident"
    for failures, pause in ((2, FIRST_PAUSE_S), (3, 2 * FIRST_PAUSE_S), (9, LONGEST_PAUSE_S)):
        while road.failures < failures:
            road.missed(error, 100.0)
        assert road.is_paused(100.0 + pause - 1)
        assert not road.is_paused(100.0 + pause)
    due = [(Domain("a.test"), NOW), (Domain("b.test"), NOW)]
    assert [want.domain for want in lanes.wants(due, NOW, 101.0)] == ["b.test"]
    assert 0 < lanes.next_look(due, NOW, 101.0) <= LONGEST_PAUSE_S
    by_hand = [(Domain("a.test"), BY_HAND)]
    assert [want.domain for want in lanes.wants(by_hand, NOW, 101.0)] == ["a.test"]
    assert not road.is_paused(101.0), "who says now is not told to wait"
    (failing, _) = lanes.wants(due, NOW, 200.0)
    assert failing.most > FAILING_AT_ONCE - 10, "the next failure is theirs too"
    road.reached()
    assert not road.is_paused(101.0)


def test_only_what_there_is_room_for_is_wanted() -> None:
    lanes = Lanes(20, 200)
    a, held = Domain("a.test"), Domain("held.test")
    due = [(a, NOW), (held, None), (Domain("later.test"), NOW + timedelta(seconds=9))]
    (want,) = lanes.wants(due, NOW, 0.0)
    assert (want.domain, want.after) == (a, 0)
    for _ in range(want.most):
        lanes.add(lease("a.test"), "a")
    (full,) = lanes.wants(due, NOW, 0.0)
    assert (full.most, full.after) == (0, 7)
    assert full.express > 0, "what is urgent is not kept waiting by what is not"
    assert lanes.next_look(due, NOW, 0.0) == 9.0


def test_all_domains_together_hold_a_bounded_number() -> None:
    lanes = Lanes(20, 200)
    due = [(Domain(f"d{number}.test"), NOW) for number in range(5_000)]
    wants = lanes.wants(due, NOW, 0.0)
    assert sum(want.most for want in wants) <= MOST_HELD + len(due)
    assert min(want.most for want in wants) == 1, "nobody is forgotten"


def test_what_would_outlive_its_lease_is_taken_out() -> None:
    lanes = Lanes(2, 200)
    soon = NOW + timedelta(seconds=10)
    lanes.add(lease("a.test"), "a")
    lanes.add(lease("a.test", until=soon), "a")
    lanes.add(lease("b.test", until=soon), "b")
    late = lanes.take_out(NOW + timedelta(seconds=40))
    assert sorted(domains(late)) == ["a", "b"]
    assert domains(list(lanes.start())) == ["a"]
    assert lanes.held == 0


def test_a_new_list_moves_a_domain_to_its_new_operator() -> None:
    lanes = Lanes(2, 200)
    lanes.add(lease("a.test"), "old")
    (started,) = lanes.start()
    lanes.add(lease("a.test"), "new")
    assert lanes.lane(Domain("a.test")).key == "old", "one is still under way"
    lanes.done(started)
    (second,) = lanes.start()
    lanes.done(second)
    lanes.add(replace(second), "new")
    assert lanes.lane(Domain("a.test")).key == "new"
    (third,) = lanes.start()
    lanes.done(third)
    lanes.forget_idle(0.0)
    assert not lanes.running
