"""Hours of a script that names no zone are those of the operator's clock (RFC 5260 4.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest

from mssmtp.sieve.interpreter import run
from mssmtp.sieve.outcome import Filing
from mssmtp.sieve.script import Script
from tests.sieve.letters import NOW, PLAIN, box_of, letter_of

PARIS, GUADELOUPE = ZoneInfo("Europe/Paris"), ZoneInfo("America/Guadeloupe")
NOUMEA = ZoneInfo("Pacific/Noumea")


def is_filed(test: str, zone: tzinfo) -> bool:
    script = f'require ["date", "fileinto"]; if {test} {{ fileinto "Soir"; }}'.encode()
    letter = replace(letter_of(PLAIN), now=NOW.astimezone(zone))
    return run(Script.read(script), letter, box_of("Soir")).filings == (Filing("Soir"),)


@pytest.mark.parametrize(("zone", "hour"), [(UTC, 14), (PARIS, 15), (GUADELOUPE, 10)])
def test_the_hour_of_now_is_that_of_the_wall(zone: tzinfo, hour: int) -> None:
    assert is_filed(f'currentdate "hour" "{hour}"', zone)
    assert is_filed('currentdate :zone "+0000" "hour" "14"', zone)


def test_the_day_of_a_letter_too_unless_a_zone_is_named() -> None:
    """It was written on the 5th at 21:30 UTC."""
    assert is_filed('date "date" "date" "2026-01-06"', NOUMEA)
    assert is_filed('date "date" "hour" "22"', PARIS)
    assert is_filed('date :originalzone "date" "hour" "23"', NOUMEA)
    assert is_filed('date :zone "+0000" "date" "hour" "21"', NOUMEA)
