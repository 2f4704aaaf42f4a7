"""The retry schedule as a table (OP-18)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.config import QueueSettings
from mssmtp.smtp_out import next_attempt

QUEUED = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
SETTINGS = QueueSettings()


@pytest.mark.requirement("OP-18")
@pytest.mark.parametrize(
    ("failures", "failed_after_min", "again_after_min"),
    [
        (1, 0, 5),
        (2, 5, 15),
        (3, 15, 35),
        (4, 35, 75),
        (5, 75, 135),
        (6, 135, 195),
        (30, 24 * 60, 25 * 60),
        (1, 47 * 60, 47 * 60 + 5),
        (50, 47 * 60 + 30, 48 * 60),
        (1, 48 * 60 - 1, 48 * 60),
        (51, 48 * 60, None),
        (1, 72 * 60, None),
    ],
)
def test_retries_start_at_5_min_grow_to_1_h_and_end_at_48_h(
    failures: int, failed_after_min: int, again_after_min: int | None
) -> None:
    failed_at = QUEUED + timedelta(minutes=failed_after_min)
    again = None if again_after_min is None else QUEUED + timedelta(minutes=again_after_min)
    assert next_attempt(failures, failed_at, QUEUED, SETTINGS) == again


@given(st.integers(1, 10_000), st.floats(0, 100))
def test_an_attempt_is_later_than_the_failure_and_not_after_the_end(
    failures: int, hours: float
) -> None:
    failed_at = QUEUED + timedelta(hours=hours)
    again = next_attempt(failures, failed_at, QUEUED, SETTINGS)
    if again is None:
        assert failed_at >= QUEUED + SETTINGS.give_up_after
    else:
        assert failed_at < again <= QUEUED + SETTINGS.give_up_after
        assert again - failed_at <= SETTINGS.longest_retry


@pytest.mark.requirement("OP-18")
def test_a_whole_life_in_the_queue() -> None:
    """Walking the schedule ends at 48 hours exactly, after a bounded number of attempts."""
    at, failures, steps = QUEUED, 1, [QUEUED]
    while (again := next_attempt(failures, at, QUEUED, SETTINGS)) is not None:
        at, failures = again, failures + 1
        steps.append(at)
    assert steps[-1] == QUEUED + timedelta(hours=48)
    assert len(steps) == 52
