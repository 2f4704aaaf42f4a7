"""`mssmtp store check` and `stats`: what was verified, what is broken, what fills the store."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from mssmtp.storage import schema
from tests.home import CLOCK, ZOE, Home


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
    assert {"pages", "sealed-content", "content-digest", "sealed-bals", "sealed-pack"} <= names
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


def test_stats_tell_sizes_counts_and_keys_but_no_address(home: Home) -> None:
    with home.store() as store:
        bal = store.read(lambda r: r.bals()).result()[0]
        letter = store.seal(b"Subject: essai\r\n\r\n" + os.urandom(200_000).hex().encode())
        store.write(
            lambda w: w.append(w.mailboxes(bal.id)[0].id, letter, frozenset(), CLOCK.now())
        ).result()
    answer = home.mssmtp("store", "stats", "--json")
    assert answer.code == 0
    told = answer.json
    assert told["rows"]["messages"] == told["rows"]["files"] == 1
    assert told["octets"]["database"] > 0
    assert told["octets"]["files"] > 200_000
    assert told["message_octets"] == letter.size_octets
    assert told["largest"][0]["octets"] == letter.size_octets
    assert told["engine"].startswith("SQLite")
    assert told["schema"] == schema.VERSION
    assert told["master_key"]
    people = home.mssmtp("store", "stats").out
    assert "390.6 KiB" in people
    assert "@" not in people + answer.out


def test_rotate_replaces_every_key_and_the_server_of_the_old_one_goes_on(home: Home) -> None:
    before = (home.directory / "keys/master.key").read_bytes()
    with home.store() as running:
        seen = running.read(lambda r: (r.bals(), r.mailboxes(r.bals()[0].id))).result()
        answer = home.mssmtp("store", "rotate", "all", "--messages", "--json")
        assert answer.code == 0, answer.err
        assert {step: told["finished"] for step, told in answer.json.items()} == {
            "master_key": True,
            "keys_of_owners": True,
            "keys_of_messages": True,
        }
        assert running.read(lambda r: (r.bals(), r.mailboxes(r.bals()[0].id))).result() == seen
    (old,) = [p for p in (home.directory / "keys").iterdir() if p.name != "master.key"]
    assert old.read_bytes() == before != (home.directory / "keys/master.key").read_bytes()
    assert home.mssmtp("store", "check", "--contents").code == 0


def test_rotate_counts_before_it_changes_anything(home: Home) -> None:
    before = (home.directory / "keys/master.key").read_bytes()
    counted = home.mssmtp("store", "rotate", "all", "--dry-run", "--json").json
    assert counted["rows"]["bals"] > 0
    assert counted["rows"]["mailboxes"] > 0
    assert counted["total"] == sum(counted["rows"].values())
    assert "nothing was changed" in home.mssmtp("store", "rotate", "master", "--dry-run").out
    prepared = home.mssmtp("store", "rotate", "master", "--prepare", "--json").json
    assert (home.directory / "keys/master.key").read_bytes() == before
    assert home.mssmtp("store", "rotate", "master").code == 0
    again = home.mssmtp("store", "rotate", "master", "--prepare").out
    assert prepared["key"] not in again


def test_rotate_takes_one_box_and_refuses_what_it_does_not_know(home: Home) -> None:
    one = home.mssmtp("store", "rotate", "bal", str(ZOE))
    assert one.code == 0
    assert "needed by nothing" in one.out
    assert home.mssmtp("store", "rotate", "bal", "personne@hopital-a.test").code == 1
    for wrong in (["key"], ["bal"], ["master", str(ZOE)], ["master", "--messages"]):
        assert home.mssmtp("store", "rotate", *wrong).code == 2


def test_rotate_keeps_the_old_key_for_what_does_not_open(home: Home) -> None:
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE mailboxes SET sealed = zeroblob(60) WHERE id = 2")
    answer = home.mssmtp("store", "rotate", "bal", str(ZOE))
    assert answer.code == 1
    assert "does not open: mailboxes 2" in answer.out
    assert home.mssmtp("store", "rotate", "bal", str(ZOE), "--finish").code == 0


def test_rotate_says_where_the_new_key_is_and_what_to_do_with_the_old_one(home: Home) -> None:
    told = home.mssmtp("store", "rotate", "master").out
    key = home.mssmtp("store", "stats", "--json").json["master_key"]
    assert f"The key is {key} now, in {home.directory / 'keys/master.key'}" in told
    assert "Copy it to the safe places" in told


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["foo"], 2, "« foo » is not a level of keys"),
        (["bal"], 2, "« bal » is not a level of keys"),
        (["master", "--messages"], 2, "no message hangs on the master key itself"),
        (["bal", "foo"], 2, "Écrivez nom@domaine."),
        (["bal", "nobody@hopital-a.test"], 1, "nobody@hopital-a.test: is no box here"),
        (["domain", "a..b"], 2, "Write a domain, without @."),
        (["domain", "hopital-a.test"], 1, "nothing was sealed for it yet"),
    ],
)
def test_rotate_says_what_it_cannot_do(home: Home, words: list[str], code: int, why: str) -> None:
    answer = home.mssmtp("store", "rotate", *words)
    assert answer.code == code, answer.err
    assert why in answer.err


@pytest.mark.requirement("SEED-89")
def test_without_its_key_nothing_opens_and_the_id_of_the_one_wanted_is_told(home: Home) -> None:
    key = home.mssmtp("store", "stats", "--json").json["master_key"]
    (home.directory / "keys/master.key").rename(home.directory / "master.key")
    for command in (["store", "check"], ["store", "stats"], ["bal", "list"]):
        answer = home.mssmtp(*command)
        assert answer.code == 2
        assert (
            f"cannot be read (No such file or directory); the store wants key {key}" in answer.err
        )
        assert "Restore it from its safe copy" in answer.err


def test_names_in_json_can_be_written_in_a_program(home: Home) -> None:
    stats = home.mssmtp("store", "stats", "--json").json
    checked = home.mssmtp("store", "check", "--contents", "--json").json
    for name in [*stats["octets"], *stats["rows"], *checked["counted"]]:
        assert name.isidentifier(), name
