"""A store that waits for its disk or its database: a page that says so, in time (CL-79)."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mssmtp.errors import StorageUnavailable
from mssmtp.storage import deadlines
from tests.web.browser import Browser, Page
from tests.web.conftest import PASSWORD, Place
from tests.web.test_account_pages import attested

pytestmark = pytest.mark.requirement("CL-79")
SOON_S = 0.5
LATEST_S = SOON_S * 10 / deadlines.ANSWER_WITHIN_S
"""What ten seconds are to who is as impatient as this store is now."""


@contextmanager
def impatient(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(place.store._deadlines, "within_s", SOON_S)
        yield


def logged_in(place: Place, usual: str) -> Browser:
    account = place.person(usual)
    place.store.write(lambda writing: attested(writing, account)).result()
    browser = place.browser()
    browser.log_in(usual, PASSWORD)
    place.clock.advance(61)
    return browser


def assert_told_in_time(page: Page, began_s: float) -> None:
    assert page.status == 503, page.text
    assert StorageUnavailable().reply.text.split(";")[-1].strip(" .") in page.text
    # The processor is shared with other tests: three times what is allowed it never needs.
    assert time.monotonic() - began_s < 3 * LATEST_S


def test_a_form_is_refused_in_time_while_nothing_can_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = logged_in(place, "attente@cabinet.example")
    with impatient(place, monkeypatch), (place.settings.store.home / "commit.lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        began_s = time.monotonic()
        assert_told_in_time(browser.submit("compte/boite", {"faire": "garder"}), began_s)
    assert browser.get("compte").status == 200


def test_a_page_is_refused_in_time_while_nothing_can_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = logged_in(place, "lecture@cabinet.example")
    go = threading.Event()
    with impatient(place, monkeypatch):
        stuck = [
            place.store.read(lambda r: go.wait(20))
            for _ in range(place.settings.store.read_threads)
        ]
        began_s = time.monotonic()
        try:
            assert_told_in_time(browser.get("compte"), began_s)
        finally:
            go.set()
    for each in stuck:
        each.exception(20)
    assert browser.get("compte").status == 200
