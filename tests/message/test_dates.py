"""Dates of header fields, read and written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.message.dates import parse_date, render_date, sent_on, sent_us


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Mon, 05 Jan 2026 09:15:00 +0100", "2026-01-05T09:15:00+01:00"),
        (b"5 Jan 2026 09:15 EST (heure)", "2026-01-05T09:15:00-05:00"),
        (b"05-Jan-2026 09:15:00 -0500", "2026-01-05T09:15:00-05:00"),
        (b"05-Jan-26 09:15:00 -1200", "2026-01-05T09:15:00-12:00"),
        (b"Mon Jan  5 09:15:00 2026", "2026-01-05T09:15:00+00:00"),
        (b"Fri, 31 Dec 99 23:59:60 GMT", "1999-12-31T23:59:59+00:00"),
        (b"Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00+00:00"),
        (b"1 Jan 2199 00:00:00 Z", "2199-01-01T00:00:00+00:00"),
        (b"1 janvier 2026 25:99", "2026-01-01T00:00:00+00:00"),
        (b"", None),
        (b"hier", None),
        (b"32 Jan 2026 00:00:00 +0000", None),
        (b"1 Jan 99999 00:00:00", None),
        (b"\xff\0 Jan", None),
        (b"1 Jan " + b"9" * 5_000, None),
    ],
)
def test_dates_are_read_leniently(value: bytes, expected: str | None) -> None:
    found = parse_date(value)
    assert (found.isoformat() if found else None) == expected


def test_the_sending_day_disregards_the_zone() -> None:
    assert sent_on(b"Date: Mon, 05 Jan 2026 23:59:00 -1100\r\n\r\n") == date(2026, 1, 5)
    assert sent_on(b"Subject: x\r\n\r\n") is None


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1950, 1, 1), datetime(2150, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
)
def test_dates_survive_being_written(naive: datetime, minutes: int) -> None:
    moment = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    found = parse_date(render_date(moment).encode())
    assert found == moment
    assert render_date(moment.astimezone(UTC)).endswith("+0000")


DATES = [
    b"Mon",
    b",",
    b" ",
    b"5",
    b"Jan",
    b"-",
    b"2026",
    b":",
    b"09:15:00",
    b"+0100",
    b"(",
    b"\xff",
    b"99999",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(DATES), max_size=20))
def test_any_octets_are_a_date_or_none(pieces: list[bytes]) -> None:
    parse_date(b"".join(pieces))


PIECES = [
    *(
        "Mon, ",
        "Mon ",
        "1",
        "05",
        "31",
        "99",
        " ",
        "Jan",
        "feb",
        "Xyz",
        " 2026",
        " 26",
        " 09:15:00",
    ),
    *(" 23:59:60", " 24:00:00", " 9:15", " +0100", " -0530", " +1500", " +0160", " EST", " (x)"),
    "garbage",
]


@given(
    st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
        st.datetimes(timezones=st.just(UTC)).map(render_date),
    )
)
def test_the_instant_is_that_of_the_lenient_reading(text: str) -> None:
    expected = parse_date(text.encode())
    found = sent_us(text.encode())
    if expected is None:
        assert found is None
    else:
        assert found == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
