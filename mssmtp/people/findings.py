"""What `mssmtp doctor` says about people: who waits for certification, who cannot be warned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mssmtp.config import Settings
from mssmtp.finding import Finding, Severity
from mssmtp.mail import BalId
from mssmtp.people import structures
from mssmtp.storage import Reading


def findings(reading: Reading, settings: Settings, now: datetime) -> Iterator[Finding]:
    """An alarm when a request has waited for more than 48 hours (SEED-36)."""
    waiting = reading.pending_persons()
    late = [each for each in waiting if now - each.since > settings.people.certify_within]
    if late:
        hours = int((now - late[0].since).total_seconds() // 3_600)
        yield Finding(
            Severity.ERROR,
            "certification",
            f"{len(late)} of {len(waiting)} requests wait for more than"
            f" {settings.people.certify_within}, the oldest for {hours} h",
            "`mssmtp person pending` lists them; `mssmtp person certify` or `refuse` answers.",
        )
    else:
        yield Finding(Severity.OK, "certification", f"{len(waiting)} requests waiting")
    bare = [each for each in reading.structures() if structures.missing(reading, each)]
    if bare:
        yield Finding(
            Severity.WARNING,
            "structures",
            f"{len(bare)} have not declared everything: their new boxes wait",
            "`mssmtp structure show` says what is missing.",
        )
    if reading.still_boxes(now - settings.people.inactivity, BalId(0), 1) and not (
        settings.notices.is_on
    ):
        yield Finding(
            Severity.WARNING,
            "inactivity",
            "boxes were not used for a year, and nobody can be warned: they stay open",
            "Set notices.relay_host: their holders are warned, then they are closed (OP-48).",
        )
