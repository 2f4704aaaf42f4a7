"""The records behind state.json: what is kept of them, and what is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.trust_feed.fetch import Validators
from mssmtp.trust_feed.files import Answer, ChoiceRefused, TrustFiles
from mssmtp.trust_feed.state import KEPT_EVENTS, KEPT_REFUSALS, Event, Happening, ListState, State
from mssmtp.whitelist import Whitelist

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")


def event(number: int, what: Happening = "accepted") -> Event:
    return Event(at=NOW + timedelta(hours=number), who="server", what=what, sha256=f"{number:064x}")


def listed(digest: str, hours: int = 0) -> Whitelist:
    return Whitelist(NOW + timedelta(hours=hours), digest.ljust(64, "0"), "signer", ())


def take(files: TrustFiles, whitelist: Whitelist, octets: bytes = b"x") -> None:
    answer = Answer("https://liste.test/", octets, Validators())
    files.take_list(answer, whitelist, (), whitelist.date)


def test_oldest_events_are_forgotten_and_refusals_first() -> None:
    state = State()
    for number in range(KEPT_EVENTS + 20):
        state = state.with_event(event(number, "refused" if number % 2 else "accepted"))
    whats = [each.what for each in state.events]
    assert whats.count("refused") == KEPT_REFUSALS
    assert whats.count("accepted") == (KEPT_EVENTS + 20) // 2
    for number in range(1_000, 1_000 + KEPT_EVENTS):
        state = state.with_event(event(number))
    assert len(state.events) == KEPT_EVENTS
    assert state.events[-1] == event(1_000 + KEPT_EVENTS - 1)


def test_another_list_of_the_date_begins_an_alarm_of_its_own() -> None:
    one, later = State().in_conflict_with(listed("aa"), NOW), NOW + timedelta(hours=1)
    again, other = (
        one.in_conflict_with(listed("aa"), later),
        one.in_conflict_with(listed("bb"), later),
    )
    assert again.conflict is not None
    assert other.conflict is not None
    assert (again.conflict.first_seen, again.conflict.last_seen) == (NOW, later)
    assert (other.conflict.first_seen, other.conflict.last_seen) == (later, later)


def test_lists_before_the_one_in_force_are_told_newest_first() -> None:
    accepted = tuple(
        ListState(file=f"{n}.xml", date=NOW + timedelta(hours=n), sha256=str(n)) for n in range(4)
    )
    state = State(accepted=accepted, in_force="2")
    assert [each.sha256 for each in state.before(5)] == ["1", "0"]
    assert [each.sha256 for each in state.before(1)] == ["1"]
    assert state.before(0) == ()
    assert State().before(3) == ()
    assert state.newest == accepted[3]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    files = TrustFiles(tmp_path)
    take(files, listed("aa"))
    take(files, listed("bb", 1), b"y")
    files.keep_crl("http://crl.test/x", b"z", NOW, Validators("tag", "date"))
    state = files.state()
    assert State.model_validate_json(state.model_dump_json()) == state
    assert TrustFiles(tmp_path).state() == state
    assert state.crls["http://crl.test/x"].validators == Validators("tag", "date")


def test_digest_that_two_lists_begin_with_names_neither(tmp_path: Path) -> None:
    files = TrustFiles(tmp_path)
    take(files, listed("abcdef11"))
    take(files, listed("abcdef22", 1))
    with pytest.raises(ChoiceRefused, match="may be several"):
        files.find("abcdef")
    assert files.find("ABCDEF1").sha256.startswith("abcdef11")
