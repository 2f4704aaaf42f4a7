"""`date` and `date-time` of RFC 3501 9."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

from mssmtp.errors import BadSyntax

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})\Z")
_DATE_TIME = re.compile(
    r"( \d|\d\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z"
)
_EARLIEST_S = int(datetime(1982, 1, 1, tzinfo=UTC).timestamp())
_EPOCH = date(1970, 1, 1)


def parse_date(text: str) -> date:
    """`date-text` of SEARCH, e.g. 1-Feb-1994. Raises BadSyntax."""
    found = _DATE.match(text)
    if not found:
        raise BadSyntax("not a date")
    return _day(found.group(1), found.group(2), found.group(3))


def _day(day: str, month: str, year: str) -> date:
    try:
        return date(int(year), _NUMBERS[month.lower()], int(day))
    except (KeyError, ValueError) as error:
        raise BadSyntax("not a date") from error


def parse_date_time(text: str) -> datetime:
    """`date-time` of APPEND, without quotes, as aware UTC. Raises BadSyntax."""
    found = _DATE_TIME.match(text)
    if not found:
        raise BadSyntax("not a date-time")
    day, month, year, hour, minute, second, sign, zone_h, zone_m = found.groups()
    on = _day(day, month, year)
    offset = timedelta(hours=int(zone_h), minutes=int(zone_m))
    try:
        zone = timezone(offset if sign == "+" else -offset)
        at = datetime(on.year, on.month, on.day, int(hour), int(minute), min(int(second), 59))
        return at.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadSyntax("not a date-time") from error


def render_date(on: date) -> bytes:
    """`on` as SEARCH takes it."""
    return b"%d-%s-%04d" % (on.day, _MONTHS[on.month - 1].encode(), on.year)


def render_date_time(at_us: int) -> bytes:
    """INTERNALDATE, microseconds since 1970, with its quotes.

    Nothing before 1982 leaves us (APL-06: clients crash).
    """
    days, second = divmod(max(at_us // 1_000_000, _EARLIEST_S), 86_400)
    minute = second // 60
    return b'%b %02d:%02d:%02d +0000"' % (_rendered(days), minute // 60, minute % 60, second % 60)


@lru_cache(maxsize=4_096)
def _rendered(days: int) -> bytes:
    day = _EPOCH + timedelta(days=days)
    return b'"%02d-%s-%04d' % (day.day, _MONTHS[day.month - 1].encode(), day.year)
