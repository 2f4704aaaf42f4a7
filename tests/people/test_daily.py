"""What happens every day (SEED-51, OP-48, DEF-24, OP-45, OP-49)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.config_notices import NoticeSettings
from mssmtp.config_people import PeopleSettings
from mssmtp.mail import (
    AccountId,
    Actor,
    Address,
    AdminLevel,
    Bal,
    BalState,
    BalType,
    PersonState,
)
from mssmtp.notices import Desk, Kind, courier
from mssmtp.notices.relay import Taken
from mssmtp.people import boxes, inactivity, persons, rechecking
from mssmtp.people.boxes import NewBox
from mssmtp.people.daily import Daily, Done
from mssmtp.people.inactivity import Silence, Step, next_step
from mssmtp.storage import RELAY_STUCK, Administrator, Notice, Reading
from mssmtp.storage.people_values import AddressRetired, BalDetails
from mssmtp.storage.readings import ReadingKind
from mssmtp.storage.register import RegisterEntry
from tests.people.conftest import World, opened
from tests.storage.support import SUBMITTED, accept, inbox, message, read_by

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SETTINGS = PeopleSettings()


@pytest.fixture(scope="module")
def aging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own: years go by in it."""
    with opened(tmp_path_factory.mktemp("daily") / "home") as world:
        yield world


def run(world: World, desk: Desk | None = None, code: int | None = 250) -> Done:
    """A day; then the relay says `code` to what waits, or is not asked at all."""
    daily = Daily(world.store, SETTINGS, desk or world.desk, world.register)
    done = daily.run(world.clock.now())
    if code is not None:
        carry(world, code)
    return done


CARRIED: list[Notice] = []


def carry(world: World, code: int = 250) -> None:
    waiting = world.told(Kind.INACTIVITY)
    said = {each.id: Taken(code) for each in waiting}
    now = world.clock.now()
    world.write(lambda w: courier.record(w, waiting, said, now, is_down=False))
    CARRIED.extend(waiting if code == 250 else ())


def notices_of(world: World, box: Bal) -> list[str]:
    """Of warnings that the relay has taken, the days that were left."""
    return [each.values["days"] for each in CARRIED if each.values["box"] == str(box.address)]


# ---------------------------------------------------------------- the year


@given(
    st.integers(0, 900), st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 2)
)
def test_nobody_is_closed_without_both_warnings_and_the_whole_time_of_the_last(
    start: int, naps: list[int], notices: int
) -> None:
    now, since = START + start * DAY, START
    silence = Silence(since)
    warned: list[datetime] = []
    for nap in naps:
        step = next_step(silence, SETTINGS, now)
        if step is Step.WARN:
            warned.append(now)
            silence = Silence(since, silence.notices + 1, now)
        elif step is Step.CLOSE:
            assert len(warned) == 2
            assert now - warned[-1] >= SETTINGS.inactivity_notices[-1]
            assert now - since >= SETTINGS.inactivity
            return
        now += nap * DAY


@pytest.mark.requirement("SEED-51", "OP-48")
def test_a_box_still_for_a_year_is_warned_of_at_30_and_7_days_then_closed(aging: World) -> None:
    made = aging.certified(aging.structure())
    aging.clock.advance(334 * DAY)
    run(aging)
    assert notices_of(aging, made.box) == []
    aging.clock.advance(DAY)
    run(aging)
    run(aging)  # twice a day changes nothing
    assert notices_of(aging, made.box) == ["30"]
    aging.clock.advance(23 * DAY)
    run(aging)
    assert sorted(notices_of(aging, made.box)) == ["30", "7"]
    to = {each.to for each in CARRIED if each.values["box"] == str(made.box.address)}
    assert to == {made.person.usual_address}
    aging.clock.advance(6 * DAY)
    run(aging)
    assert aging.again(made.box).state is BalState.ACTIVE
    aging.clock.advance(DAY)
    assert run(aging).closed == 1
    assert aging.again(made.box).state is BalState.CLOSED
    assert aging.read(lambda r: r.traces(bal=made.box.id))  # who asks learns why
    aging.clock.advance(SETTINGS.retention + DAY)
    assert run(aging).destroyed >= 1
    assert aging.read(lambda r: r.bal_by_id(made.box.id)) is None
    structure = aging.structure()
    with pytest.raises(AddressRetired):
        aging.org(structure, made.box.address.local)


@pytest.mark.requirement("OP-48")
def test_an_objection_or_a_portal_login_restarts_the_year(aging: World) -> None:
    made = aging.certified(aging.structure())
    aging.clock.advance(340 * DAY)
    run(aging)
    assert notices_of(aging, made.box) == ["30"]
    aging.write(lambda w: inactivity.keep(w, aging.again(made.box)))
    aging.clock.advance(330 * DAY)
    run(aging)
    assert aging.again(made.box).state is BalState.ACTIVE
    aging.clock.advance(10 * DAY)
    run(aging)
    assert len(notices_of(aging, made.box)) == 2  # the first one of another year


def test_a_box_that_nobody_can_be_told_of_is_never_closed(aging: World) -> None:
    """Its holder's only address is a box here, or there is none: no warning reaches anybody."""
    ours = Address.parse("autre@hopital-a.test")
    made = [
        aging.store.write(
            lambda w, name=name, usual=usual: w.create_bal(  # type: ignore[misc]
                Address.parse(f"{name}@hopital-a.test"), BalType.MED, usual_address=usual
            )
        ).result()
        for name, usual in (("muette", None), ("close", ours))
    ]
    for _ in range(3):
        aging.clock.advance(400 * DAY)
        run(aging)
    for box in made:
        found = aging.store.read(partial(Reading.bal_by_id, bal=box.id)).result()
        assert found is not None
        assert found.state is BalState.ACTIVE
        assert notices_of(aging, box) == []


def test_while_the_relay_takes_nothing_nobody_is_closed(aging: World) -> None:
    """The last warning is still with us: whoever it is for has not heard of it."""
    made = aging.certified(aging.structure())
    aging.clock.advance(335 * DAY)
    run(aging)
    aging.clock.advance(23 * DAY)
    run(aging, code=None)
    (waiting,) = aging.told(Kind.INACTIVITY)

    def held(again: datetime, why: str | None) -> None:
        aging.write(lambda w: w.notice_later(waiting.id, again, why, attempted=False))

    held(aging.clock.now(), RELAY_STUCK)
    aging.clock.advance(8 * DAY)
    run(aging, code=None)
    assert aging.again(made.box).state is BalState.ACTIVE
    held(aging.clock.now(), None)
    run(aging)
    assert notices_of(aging, made.box) == ["30", "7"]
    assert aging.again(made.box).state is BalState.ACTIVE, "its whole week begins now"
    aging.clock.advance(7 * DAY)
    run(aging)
    assert aging.again(made.box).state is BalState.CLOSED


@pytest.mark.requirement("OP-48")
def test_a_warning_that_is_refused_for_good_warns_nobody(aging: World) -> None:
    made = aging.certified(aging.structure())
    aging.clock.advance(335 * DAY)
    for _ in range(50):  # an address that exists no more
        run(aging, code=550)
        aging.clock.advance(DAY)
    assert aging.again(made.box).state is BalState.ACTIVE
    run(aging)
    run(aging)
    assert notices_of(aging, made.box) == ["30"], "the first one again, then its time"
    aging.clock.advance(30 * DAY)
    run(aging)
    aging.clock.advance(7 * DAY)
    run(aging)
    assert len(notices_of(aging, made.box)) == 2
    assert aging.again(made.box).state is BalState.CLOSED


def test_a_warning_that_comes_after_the_box_was_used_is_none(aging: World) -> None:
    made = aging.certified(aging.structure())
    aging.clock.advance(335 * DAY)
    run(aging, code=None)
    aging.clock.advance(DAY)
    aging.write(lambda w: inactivity.keep(w, aging.again(made.box)))
    aging.clock.advance(DAY)
    carry(aging)
    aging.clock.advance(335 * DAY)
    run(aging)
    assert notices_of(aging, made.box) == ["30", "30"]
    assert aging.read(lambda r: r.idle_notices(made.box.id)) == 1
    aging.write(lambda w: boxes.close(w, made.box))


@pytest.mark.requirement("OP-48")
def test_without_service_mail_nobody_is_warned_so_nobody_is_closed(aging: World) -> None:
    made = aging.certified(aging.structure())
    aging.clock.advance(500 * DAY)
    silent = Desk(NoticeSettings(), aging.rules.served, aging.clock)
    done = run(aging, silent)
    assert (done.warned, done.closed) == (0, 0)
    assert aging.again(made.box).state is BalState.ACTIVE
    aging.write(lambda w: boxes.close(w, made.box))


def _restarted(world: World, box: Bal) -> bool:
    return world.read(lambda r: r.last_activity(box.id)) == world.clock.now()


@pytest.mark.requirement("DEF-24")
def test_reading_and_sending_by_a_person_count_and_polling_and_arrivals_do_not(
    aging: World,
) -> None:
    structure = aging.structure()
    per, member = aging.certified(structure), aging.certified(structure)
    number = per.person.national_id
    org = aging.org(structure, "suivi", responsible=number, agreed_on=aging.clock.now())
    aging.write(lambda w: w.add_member(org.id, member.person.account))
    new = NewBox(BalType.APP, structure.id, "labo", details=BalDetails(label="Labo"))
    app = aging.write(lambda w: boxes.create(w, aging.rules, new))

    def noted(box: Bal, kind: ReadingKind, account: AccountId) -> None:
        place = inbox(aging.store, box)
        aging.write(lambda w: read_by(w, account, place, [1], kind))
        aging.write(lambda w: w.record_readings())

    who = per.person.account
    for box in (per.box, org, app):
        aging.clock.advance(DAY)
        accept(aging.store, aging.store.seal(message()), [box])  # comes in
        assert not _restarted(aging, box)
        noted(box, "releve", who)  # fetched: a person's client does that by itself
        assert _restarted(aging, box) is (box.type is BalType.APP)
        aging.clock.advance(DAY)
        accept(aging.store, aging.store.seal(message()), [], owner=box.id, transfer=SUBMITTED)
        assert _restarted(aging, box)
        aging.clock.advance(DAY)
        noted(box, "lu", member.person.account)
        assert _restarted(aging, box)
    for box in (per.box, member.box, org, app):
        aging.write(partial(boxes.close, box=box))


# ---------------------------------------------------------------- the weekly question


@pytest.mark.requirement("OP-45")
def test_a_right_that_was_closed_suspends_tells_the_administrator_and_deletes_nothing(
    aging: World,
) -> None:
    structure = aging.structure()
    made, other = aging.certified(structure), aging.certified(structure)
    admin = Address.parse("dsi@clinique.example")
    actor = Actor(AdminLevel.STRUCTURE, "Ana Admin", structure=structure.id)
    aging.write(lambda w: w.add_administrator(Administrator(actor, admin)))
    number = made.person.national_id or ""
    entry = RegisterEntry(number, made.person.last_name)
    aging.write(lambda w: w.put_register_entry(entry))
    aging.clock.advance(8 * DAY)
    assert run(aging).suspended == 0
    aging.write(lambda w: w.put_register_entry(replace(entry, is_open=False)))
    aging.clock.advance(6 * DAY)
    assert run(aging).checked == 0  # once a week
    aging.clock.advance(2 * DAY)
    assert run(aging).suspended == 1
    assert aging.again(made.box).state is BalState.SUSPENDED
    assert aging.again(other.box).state is BalState.ACTIVE
    assert aging.person(made.person).state is PersonState.CERTIFIED
    (told,) = aging.told(Kind.EXERCISE_ENDED)
    assert told.to == admin
    assert "clos" in told.values["reason"]
    traces = aging.read(lambda r: r.traces(account=made.person.account))
    assert traces
    for _ in range(2):  # once: the week after, nobody is told again
        aging.clock.advance(8 * DAY)
        run(aging)
        assert len(aging.told(Kind.EXERCISE_ENDED)) == 1
        assert aging.read(lambda r: r.traces(account=made.person.account)) == traces
    since = aging.read(lambda r: rechecking.ended_since(r, made.person))
    assert since is not None  # `person show` says it all the while
    # Corrected, resumed, closed once more: that is news.
    aging.write(lambda w: w.put_register_entry(entry))
    aging.write(lambda w: persons.resume(w, aging.register, made.person))
    assert aging.read(lambda r: rechecking.ended_since(r, made.person)) is None
    aging.write(lambda w: w.put_register_entry(replace(entry, is_open=False)))
    aging.clock.advance(8 * DAY)
    run(aging)
    assert len(aging.told(Kind.EXERCISE_ENDED)) == 2


def test_a_run_goes_on_behind_a_full_page(aging: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mssmtp.people.daily.AT_ONCE", 2)
    structure = aging.structure()
    made = [aging.certified(structure) for _ in range(5)]
    aging.clock.advance(SETTINGS.register_every + DAY)
    assert run(aging).checked >= 5
    later = [aging.read(partial(Reading.person_dates, person=m.person.id)) for m in made]
    assert {each.checked_at for each in later} == {aging.clock.now()}


def test_boxes_that_a_crash_has_left_between_two_portions_work_the_next_day(
    aging: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.people.boxes.REVIEWED_AT_ONCE", 1)
    structure = aging.structure(is_ready=False)
    made = [aging.certified(structure).box for _ in range(3)]
    aging.write(lambda w: aging.declare_all(w, structure))

    def waiting() -> int:
        return sum(not aging.again(box).exchanges for box in made)

    assert waiting() == 3
    rest = aging.write(lambda w: boxes.review_structure(w, structure.id))
    assert rest is not None  # and nobody comes for it
    assert waiting() == 2
    run(aging)
    assert waiting() == 0
    assert aging.read(boxes.unreviewed) == ()


@pytest.mark.requirement("OP-49")
def test_a_removal_that_a_crash_cut_short_is_ended_the_next_day(aging: World) -> None:
    """Its row is gone, and with it what the daily look goes by; its mail must not stay."""
    made = aging.certified(aging.structure())
    aging.write(lambda w: boxes.close(w, made.box))
    aging.write(lambda w: w.remove_box(made.box.id, "cut short"))
    assert aging.read(lambda r: r.mailboxes(made.box.id))
    run(aging)
    assert not aging.read(lambda r: r.mailboxes(made.box.id))


@pytest.mark.requirement("OP-49")
def test_the_end_of_one_box_does_not_end_the_account_that_has_another_elsewhere(
    aging: World,
) -> None:
    here, there = aging.structure(), aging.structure()
    made = aging.certified(here)
    second = aging.write(
        lambda w: boxes.create(w, aging.rules, NewBox(BalType.PER, there.id), made.person)
    )
    aging.write(lambda w: boxes.close(w, made.box))
    aging.clock.advance(PeopleSettings().retention + DAY)
    aging.write(lambda w: inactivity.keep(w, second))
    assert run(aging).destroyed >= 1
    home = aging.read(lambda r: r.box_of(made.person.account))
    assert home is not None
    assert home.id == second.id
