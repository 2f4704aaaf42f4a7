"""`mssmtp store check`: what was looked at, what is broken, and the exit code."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.home import Home


def test_a_sound_store_says_what_was_looked_at_and_ends_with_0(home: Home) -> None:
    answer = home.mssmtp("store", "check", "--json")
    assert answer.code == 0
    assert answer.json["sound"] is True
    assert answer.json["counted"]["mailboxes"] > 0
    assert "Every invariant holds" in home.mssmtp("store", "check", "--contents").out


def test_a_broken_invariant_is_code_1_and_names_ids_only(home: Home) -> None:
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE mailboxes SET unseen = 7 WHERE id = 1")
    answer = home.mssmtp("store", "check", "--json")
    assert answer.code == 1
    assert answer.json["problems"] == ["mailbox 1: counters do not fit its messages"]
    people = home.mssmtp("store", "check")
    assert people.code == 1
    assert "mailbox 1: counters" in people.out
