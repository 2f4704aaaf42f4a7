"""When a well-signed list waits for a person: a mistake at the authority cuts hospitals off too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssmtp.mail import DnKey, Domain
from mssmtp.whitelist import Whitelist


@dataclass(frozen=True, slots=True)
class Own:
    """Ourselves as the list knows us: served domains and the names of our certificates."""

    domains: tuple[Domain, ...]
    names: frozenset[DnKey]


AHEAD = timedelta(hours=1)
STRETCH = timedelta(days=1)
"""Many small losses within it are one big loss."""


def ahead(listed: Whitelist, now: datetime) -> tuple[str, ...]:
    """Once in force, a list of a later day would keep out all lists until that day (OP-26)."""
    if listed.date <= now + AHEAD:
        return ()
    return (f"is dated {listed.date:%Y-%m-%d %H:%M} UTC, later than now",)


def reasons_to_hold(
    previous: Whitelist, listed: Whitelist, own: Own, shrink_percent: float
) -> tuple[str, ...]:
    """Why `listed` should not follow `previous` unseen; empty: nothing is unusual.

    Only what is lost counts: a list may grow as it likes, and an entry of ours that was not in
    force before cannot be lost.
    """
    counts = (
        ("rows", len(previous.rows), len(listed.rows)),
        ("domains", len(previous.domains), len(listed.domains)),
    )
    return (
        *_shrunk(counts, shrink_percent),
        *(f"our entry is lost: {name}" for name in _lost(previous, listed, own)),
    )


def shrunk_in_steps(
    sizes: Iterable[tuple[int, int]], listed: Whitelist, shrink_percent: float
) -> tuple[str, ...]:
    """Against the largest of the lists before: `sizes` are their rows and domains."""
    rows, domains = zip(*((0, 0), *sizes), strict=True)
    counts = (
        ("rows", max(rows), len(listed.rows)),
        ("domains", max(domains), len(listed.domains)),
    )
    return tuple(f"{each} within a day" for each in _shrunk(counts, shrink_percent))


def _shrunk(counts: Iterable[tuple[str, int, int]], percent: float) -> Iterator[str]:
    for what, before, after in counts:
        if before and (before - after) * 100 > percent * before:
            lost = (before - after) * 100 / before
            yield f"shrinks by {lost:.1f} %: {before} {what} to {after}"


def _lost(previous: Whitelist, listed: Whitelist, own: Own) -> Iterator[Domain]:
    """Domains of ours that some certificate of ours could speak for, and none can any more."""
    for name in own.domains:
        had = {dn for dn in previous.names(name) & own.names if not previous.is_graced(name, dn)}
        if had and not listed.names(name) & own.names:
            yield name
