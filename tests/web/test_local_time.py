"""Pages tell and take times of the operator's clock (`operator.time_zone`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from mssmtp.admin.operation import Row
from mssmtp.config import Settings
from mssmtp.web.sentences import sentence
from mssmtp.web.texts import catalogue
from tests.web.conftest import PASSWORD, Place

REUNION = ZoneInfo("Indian/Reunion")


@pytest.fixture(scope="module")
def overseas(make_place: Callable[..., Place], web_settings: Settings) -> Place:
    """The same operator on La Réunion: four hours before UTC has them."""
    operator = web_settings.operator.model_copy(update={"time_zone": "Indian/Reunion"})
    place = make_place(web_settings.model_copy(update={"operator": operator}))
    place.person("ines@cabinet.example")
    return place


@pytest.mark.requirement("SEED-44", "SEED-48")
def test_days_typed_are_days_there_and_come_back_as_typed(overseas: Place) -> None:
    browser = overseas.browser()
    browser.log_in("ines@cabinet.example", PASSWORD)
    asked = {"texte": "Absente", "debut": "2026-03-01", "fin": "2026-03-08"}
    shown = browser.submit("compte/absence", asked)
    assert 'value="2026-03-01"' in shown.html
    assert 'value="2026-03-08"' in shown.html
    for wrong in ("0001-01-01", "9999-12-31", "2026-02-30"):
        refused = browser.submit("compte/absence", asked | {"debut": wrong, "fin": wrong})
        assert refused.status in (200, 422), wrong
        assert browser.get(f"compte/activite?du={wrong}&au={wrong}").status in (200, 422), wrong
    at = overseas.clock.now().astimezone(REUNION)
    assert f"{at:%d/%m/%Y à %H:}" in browser.get("compte/activite").text
    assert "(UTC+4)" in browser.get("compte/activite").text
    there, before = at.date().isoformat(), "2026-01-01"
    assert "(UTC+4)" in browser.get(f"compte/activite?du={there}&au={there}").text
    assert "(UTC+4)" not in browser.get(f"compte/activite?du={before}&au={before}").text


def test_a_right_is_told_by_the_readers_clock() -> None:
    row: Row = {
        "action": "rights",
        "request": "delegation given: luc@a.test may read in zoe@a.test, until 25/10/2026 à 00:30"
        " UTC; congés",
        "answer": "ok",
    }
    for zone, told in ((UTC, "25/10/2026 à 00:30 (UTC)"), (REUNION, "25/10/2026 à 04:30 (UTC+4)")):
        found = sentence(row, catalogue("fr"), zone)
        assert found.places["until"] == told
        assert found.reason == "congés"
