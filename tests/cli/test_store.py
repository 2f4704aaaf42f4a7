"""`mssmtp store check`: what was verified, what is broken, and the exit code."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.home import Home


def test_a_sound_store_says_what_was_verified_and_ends_with_0(home: Home) -> None:
    answer = home.mssmtp("store", "check", "--json")
    assert answer.code == 0
    assert answer.json["sound"] is True
    assert answer.json["counted"]["mailboxes"] > 0
    names = {found["invariant"] for found in answer.json["verified"]}
    assert {"uid", "modseq", "counters", "references", "conservation", "chain", "file"} <= names
    assert all(found["problems"] == 0 and found["says"] for found in answer.json["verified"])


def test_contents_adds_what_only_opening_tells(home: Home) -> None:
    answer = home.mssmtp("store", "check", "--contents", "--json")
    names = {found["invariant"] for found in answer.json["verified"]}
    assert {"pages", "sealed-content", "content-digest", "sealed-box", "sealed-pack"} <= names
    people = home.mssmtp("store", "check", "--deep")
    assert "Every invariant holds" in people.out
    assert "nothing opened" not in people.out
    assert "nothing opened" in home.mssmtp("store", "check").out


def test_a_broken_invariant_is_code_1_and_names_ids_only(home: Home) -> None:
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE mailboxes SET unseen = 7 WHERE id = 1")
    answer = home.mssmtp("store", "check", "--json")
    assert answer.code == 1
    assert answer.json["problems"] == ["mailbox 1: counters do not fit its messages"]
    (broken,) = [found for found in answer.json["verified"] if found["problems"]]
    assert (broken["invariant"], broken["problems"]) == ("counters", 1)
    people = home.mssmtp("store", "check")
    assert people.code == 1
    assert "mailbox 1: counters" in people.out
    assert "1 broken" in people.out
