"""Times as people read them, at the edges where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import local_time
from mssmtp.config import OperatorSettings
from mssmtp.mail import domain

PARIS, REUNION = ZoneInfo("Europe/Paris"), ZoneInfo("Indian/Reunion")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-03-29T00:59", "29/03/2026 à 01:59 (UTC+1)"),
        ("2026-03-29T01:00", "29/03/2026 à 03:00 (UTC+2)"),
        ("2026-10-25T00:30", "25/10/2026 à 02:30 (UTC+2)"),
        ("2026-10-25T01:30", "25/10/2026 à 02:30 (UTC+1)"),
        ("2026-12-31T23:30", "01/01/2027 à 00:30 (UTC+1)"),
    ],
)
def test_the_two_half_past_twos_of_a_night_are_told_apart(at: str, told: str) -> None:
    assert local_time.moment(utc(at), PARIS) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Indian/Reunion", "01/06/2026 à 14:00 (UTC+4)"),
        ("America/Guadeloupe", "01/06/2026 à 06:00 (UTC-4)"),
        ("Pacific/Marquesas", "01/06/2026 à 00:30 (UTC-9:30)"),
        ("Pacific/Noumea", "01/06/2026 à 21:00 (UTC+11)"),
        ("UTC", "01/06/2026 à 10:00 (UTC)"),
    ],
)
def test_overseas_has_its_own_clock(name: str, told: str) -> None:
    assert local_time.moment(utc("2026-06-01T10:00"), ZoneInfo(name)) == told


def test_english_readers_have_their_own_form() -> None:
    at = utc("2026-06-01T22:30")
    assert local_time.moment(at, PARIS, "en") == "02 Jun 2026, 00:30 (UTC+2)"
    assert local_time.day(at, PARIS, "en") == "02 Jun 2026"
    assert local_time.day(at, PARIS) == "02/06/2026"


def test_tables_tell_the_offset_only_where_an_hour_comes_twice() -> None:
    assert local_time.in_table(utc("2026-10-25T00:30"), PARIS) == "2026-10-25 02:30:00+02:00"
    assert local_time.in_table(utc("2026-10-25T01:30"), PARIS) == "2026-10-25 02:30:00+01:00"
    assert local_time.in_table(utc("2026-10-25T02:30"), PARIS) == "2026-10-25 03:30:00"
    assert local_time.in_table(utc("2026-03-29T00:30"), PARIS) == "2026-03-29 01:30:00"
    assert local_time.in_sentence(utc("2026-10-25T01:30"), PARIS) == "2026-10-25 02:30:00 (UTC+1)"


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.sampled_from([PARIS, REUNION, ZoneInfo("America/Martinique"), ZoneInfo("Pacific/Tahiti")]),
)
def test_two_moments_a_minute_apart_never_look_alike(at: datetime, zone: ZoneInfo) -> None:
    later = at + timedelta(minutes=1)
    assert local_time.moment(at, zone) != local_time.moment(later, zone)
    assert local_time.in_table(at, zone) != local_time.in_table(at + timedelta(hours=1), zone)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-01-10T05:59", "2026-01-10T06:00"),
        ("2026-01-10T06:00", "2026-01-11T06:00"),
        ("2026-03-28T06:00", "2026-03-29T05:00"),  # a day of 23 hours
        ("2026-10-24T05:00", "2026-10-25T06:00"),  # of 25
        ("2026-01-10T23:30", "2026-01-11T06:00"),
    ],
)
def test_seven_in_the_morning_is_seven_on_the_wall_all_year(now: str, due: str) -> None:
    assert local_time.next_at(7, utc(now), PARIS) == utc(due)


def test_a_trace_is_read_back() -> None:
    assert local_time.told("25/10/2026 à 00:30 UTC") == utc("2026-10-25T00:30")
    for text in ("retrait", "25/10/2026 à 00:30", "", "99/99/9999 à 99:99 UTC"):
        assert local_time.told(text) is None


@pytest.mark.parametrize(
    "name", ["Europe/Pariss", "", "../../etc/passwd", "/etc/localtime", "Europe"]
)
def test_a_zone_that_nobody_knows_is_refused_with_its_remedy(name: str) -> None:
    def made(zone: str) -> OperatorSettings:
        return OperatorSettings(
            name="a", host_name=domain("mx.a.test"), domains=(domain("a.test"),), time_zone=zone
        )

    assert made("America/Cayenne").zone.key == "America/Cayenne"
    with pytest.raises(ValueError, match="is no time zone .* Europe/Paris"):
        made(name)
