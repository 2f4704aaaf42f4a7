"""Times as people read them: by the clock on the operator's wall (`operator.time_zone`).

Pages, service mails, the part of a report that is for people and the tables of commands come here.
Logs, `--json`, the wire (RFC 5322, 3464) and what is kept stay in UTC or say their offset.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_DAYS = {"fr": "{:%d/%m/%Y}", "en": "{:%d %b %Y}"}
_MOMENTS = {"fr": "{:%d/%m/%Y à %H:%M}", "en": "{:%d %b %Y, %H:%M}"}


def day(at: datetime, zone: tzinfo, language: str = "fr") -> str:
    """The day on that wall: `25/10/2026`, `25 Oct 2026`."""
    return _DAYS[language].format(at.astimezone(zone))


def moment(at: datetime, zone: tzinfo, language: str = "fr") -> str:
    """`25/10/2026 à 02:30 (UTC+1)`: the offset says which of the two 02:30 of the night when clocks
    go back, and tells who reads it overseas whose clock it is."""
    local = at.astimezone(zone)
    return f"{_MOMENTS[language].format(local)} ({_offset(local)})"


def in_sentence(at: datetime, zone: tzinfo) -> str:
    """`2026-10-25 02:30:00 (UTC+1)`, of commands, which speak of seconds."""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} ({_offset(local)})"


def in_table(at: datetime, zone: tzinfo) -> str:
    """`2026-10-25 02:30:00`, under a title that names the zone; with its offset in an hour that
    comes twice."""
    local = at.astimezone(zone)
    is_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    text = local.isoformat(sep=" ", timespec="seconds")
    return text if is_twice else text[: len("2026-10-25 02:30:00")]


def _offset(local: datetime) -> str:
    """`UTC+1`, `UTC-4`, `UTC+5:30`."""
    text = f"{local:%z}"
    hours, minutes = int(text[1:3]), text[3:5]
    if hours == 0 and minutes == "00":
        return "UTC"
    return f"UTC{text[0]}{hours}" + ("" if minutes == "00" else f":{minutes}")


def next_at(hour: int, now: datetime, zone: tzinfo) -> datetime:
    """When that wall's clock next shows `hour`, in UTC: a day later by the calendar, which is of
    23 or 25 hours when summer time begins or ends."""
    due = now.astimezone(zone).replace(hour=hour, minute=0, second=0, microsecond=0)
    return (due if due > now else due + timedelta(days=1)).astimezone(UTC)


def told(text: str) -> datetime | None:
    """The moment that a trace was written with in UTC, `25/10/2026 à 00:30 UTC`; None: none."""
    try:
        return datetime.strptime(text, "%d/%m/%Y à %H:%M UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
