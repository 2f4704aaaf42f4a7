"""Parts of dates as RFC 5260 4 compares them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

ZONE = re.compile(r"([+-])(\d\d)(\d\d)\Z")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PARTS = frozenset(
    (
        *("year", "month", "day", "date", "julian", "hour", "minute", "second", "time"),
        *("iso8601", "std11", "zone", "weekday"),
    )
)


def zone_of(text: str) -> timezone:
    """`+0100` as a zone; UTC for anything else."""
    found = ZONE.match(text)
    if found is None:
        return UTC
    minutes = 60 * int(found.group(2)) + int(found.group(3))
    if minutes >= 24 * 60:
        return UTC
    return timezone(timedelta(minutes=-minutes if found.group(1) == "-" else minutes))


def part_of(at: datetime, part: str) -> str:
    """One of PARTS of a moment that bears its zone; "" for anything else."""
    simple = {
        "year": "%Y",
        "month": "%m",
        "day": "%d",
        "date": "%Y-%m-%d",
        "hour": "%H",
        "minute": "%M",
        "second": "%S",
        "time": "%H:%M:%S",
        "zone": "%z",
    }
    if part in simple:
        return at.strftime(simple[part])
    match part:
        case "julian":  # the Modified Julian Day
            return str((at.date() - datetime(1858, 11, 17, tzinfo=UTC).date()).days)
        case "weekday":
            return str((at.weekday() + 1) % 7)
        case "iso8601":
            zone = at.strftime("%z")
            return f"{at:%Y-%m-%dT%H:%M:%S}{zone[:3]}:{zone[3:]}"
        case "std11":
            day, month = _WEEKDAYS[at.weekday()], _MONTHS[at.month - 1]
            return f"{day}, {at.day:02} {month} {at:%Y %H:%M:%S %z}"
    return ""
