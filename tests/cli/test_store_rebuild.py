"""`mssmtp store rebuild`: what it made, and whether that was there already."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from mssmtp.storage.messages import TEXT_UIDS
from tests.home import CLOCK, Home


def fill(home: Home) -> None:
    with home.store() as store:
        bal = store.read(lambda r: r.bals()).result()[0]
        box = store.read(lambda r: r.mailboxes(bal.id)).result()[0].id
        letters = [store.seal(b"Subject: essai %d\r\n\r\nmot\r\n" % n) for n in range(TEXT_UIDS)]
        store.write(
            lambda w: [w.append(box, letter, frozenset(), CLOCK.now()) for letter in letters]
        ).result()
        store.settle()


def test_a_rebuild_tells_how_many_and_that_they_are_identical(home: Home) -> None:
    fill(home)
    answer = home.mssmtp("store", "rebuild", "--json")
    assert answer.code == 0
    assert answer.json["byte_identical"] is True
    assert answer.json["messages"] == TEXT_UIDS
    assert answer.json["made"]["packs_of_texts"] == {"identical": 2, "changed": 0, "missing": 0}
    people = home.mssmtp("store", "rebuild", "--from-the-start")
    assert people.code == 0
    assert "Byte-identical" in people.out


def test_a_message_that_cannot_be_read_is_code_1(home: Home) -> None:
    fill(home)
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE blobs SET data = zeroblob(10) WHERE number = 5")
    answer = home.mssmtp("store", "rebuild", "--json")
    assert answer.code == 1
    assert len(answer.json["damaged"]) == 1
    assert "cannot be read" in home.mssmtp("store", "rebuild").out
