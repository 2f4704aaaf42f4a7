"""Dates of header fields (RFC 5322 3.3, 4.3), read leniently; bad ones are None, never an error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

from mssmtp.message.headers import values

MAX_DATE_OCTETS = 200
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
_MONTH_NAMES = tuple(name.capitalize() for name in _MONTHS)
_USUAL = re.compile(
    rb"(?:[A-Za-z]{3},?+ ++)?+(\d{1,2} [A-Za-z]{3} \d{4}) ([01]\d|2[0-3]):([0-5]\d):([0-5]\d)"
    rb" ([\x2b-])(0\d|1[0-4])([0-5]\d)(?: *+\([^()]*+\))?+"
)
"""A date as nearly everybody writes it (RFC 5322 3.3)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class _Read:
    day: date
    hour: int
    minute: int
    second: int
    zone: str


def parse_date(value: bytes) -> datetime | None:
    """The instant, aware; an unknown zone is UTC (RFC 5322 4.3)."""
    read = _read(value)
    if read is None:
        return None
    try:
        naive = datetime(
            read.day.year, read.day.month, read.day.day, read.hour, read.minute, read.second
        )
        return naive.replace(tzinfo=_zone(read.zone))
    except (ValueError, OverflowError):
        return None


def sent_us(value: bytes | None) -> int | None:
    """The instant of a Date field in microseconds since 1970; None when it says none."""
    usual = _USUAL.fullmatch(value or b"")
    day_us = None if usual is None else _day_us(usual[1])
    if usual is not None and day_us is not None:
        _, hour, minute, second, sign, zone_h, zone_m = usual.groups()
        zone_s = 3_600 * int(zone_h) + 60 * int(zone_m)
        clock_s = 3_600 * int(hour) + 60 * int(minute) + int(second)
        return day_us + 1_000_000 * (clock_s + (zone_s if sign == b"-" else -zone_s))
    moment = parse_date(value or b"")
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=4_096)
def _day_us(text: bytes) -> int | None:
    """Midnight in UTC of `day month year`; letters of the past share few days."""
    moment = parse_date(text)
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def sent_on(header: bytes) -> date | None:
    """The day in `Date:` as written: SENTON disregards time and zone (RFC 3501 6.4.4)."""
    found = values(header, "date")
    read = _read(found[0]) if found else None
    return read.day if read else None


def render_date(moment: datetime) -> str:
    """`moment` (aware) for a Date field, whatever the locale."""
    offset = moment.utcoffset() or timedelta()
    minutes = round(abs(offset).total_seconds()) // 60
    sign = "-" if offset < timedelta() else "+"
    return (
        f"{_DAY_NAMES[moment.weekday()]}, {moment.day:02} {_MONTH_NAMES[moment.month - 1]}"
        f" {moment.year:04} {moment.hour:02}:{moment.minute:02}:{moment.second:02}"
        f" {sign}{minutes // 60:02}{minutes % 60:02}"
    )


def _read(value: bytes) -> _Read | None:
    """`[day-name,] day month year [time [zone]]`, with the separators seen in the wild."""
    words = value[:MAX_DATE_OCTETS].decode("latin-1").partition("(")[0].replace(",", " ").split()
    clock = next((i for i, word in enumerate(words) if ":" in word), None)
    hour, minute, second = _clock(words[clock]) if clock is not None else (0, 0, 0)
    zone = words[clock + 1] if clock is not None and clock + 1 < len(words) else ""
    if clock is not None:  # `05-Jan-2026` before the time; a `-0500` after it is a zone
        words[:clock] = " ".join(words[:clock]).replace("-", " ").split()
    else:
        words = " ".join(words).replace("-", " ").split()
    month = next((i for i, word in enumerate(words) if word[:3].lower() in _MONTHS), None)
    if month is None or len(words) < 3:
        return None
    numbers = [(i, int(w)) for i, w in enumerate(words) if w.isascii() and w.isdigit()]
    before = [n for i, n in numbers if i < month]
    after = [n for i, n in numbers if i > month]
    day = before[-1] if before else after.pop(0) if after else 0
    year = _year(after[0]) if after else 0
    try:
        day_of_year = date(year, _MONTHS[words[month][:3].lower()], day)
    except (ValueError, OverflowError):
        return None
    return _Read(day_of_year, hour, minute, second, zone)


def _year(number: int) -> int:
    """RFC 5322 4.3: two digits below 50 are this century, three count from 1900."""
    if number < 50:
        return 2000 + number
    return 1900 + number if number < 1000 else number


def _clock(word: str) -> tuple[int, int, int]:
    numbers = [
        int(n) if n.isascii() and n.isdigit() and len(n) <= 2 else -1 for n in word.split(":")
    ]
    hour, minute, second = (*numbers, 0, 0)[:3]
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        return 0, 0, 0
    return hour, minute, min(second, 59)


def _zone(word: str) -> timezone:
    if word[:1] in ("+", "-") and len(word) >= 5 and word[1:5].isascii() and word[1:5].isdigit():
        minutes = int(word[1:3]) * 60 + int(word[3:5])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if word[0] == "-" else minutes))
    return timezone(timedelta(hours=_ZONES[word.upper()])) if word.upper() in _ZONES else UTC
