"""The pace of guesses is one for all workers, whoever of them is asked (F13, ATT-14)."""

from __future__ import annotations

import os
from collections.abc import Callable
from mmap import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import app
from mssmtp.app import Shared
from mssmtp.demo.authority import Authority, Identity
from mssmtp.identity import guesses
from mssmtp.identity.guesses import LONGEST_WAIT_S, Guesses, shared_memory
from mssmtp.storage import Store
from mssmtp.trust import Snapshot, Trust
from tests.identity.fakes import Entropy
from tests.smtp_in.rig import make_rig

ZOE, HERE, THERE = "zoe@hopital-a.test", "192.0.2.1", "192.0.2.2"


def elsewhere(ask: Callable[[], int]) -> int:
    """What another worker finds: its memory is its own but for what was shared before the fork."""
    child = os.fork()
    if child == 0:
        os._exit(ask())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def looked_at(memory: mmap, seconds: range, where: str) -> int:
    """How many of twenty guesses a second are verified, each by another worker; all are wrong."""
    count, doors = 0, (Guesses(memory), Guesses(memory))
    for number in range(seconds.start * 20, seconds.stop * 20):
        now, door = 1_000.0 + number / 20, doors[number % 2]
        address = WHERE[where](number)
        if not door.begin(ZOE, address, now):
            door.wrong(ZOE, address, b"guess %d" % number, now)
            count += 1
    return count


WHERE = {
    "one address": lambda number: HERE,
    "one /64 of IPv6": lambda number: f"2001:db8:0:64::{number + 1:x}",
    "a botnet": lambda number: f"203.0.{number // 250}.{number % 250}",
    "a botnet of IPv6": lambda number: f"2001:db8:{number + 1:x}::1",
}


@pytest.mark.attack("ATT-14")
@pytest.mark.parametrize("where", WHERE)
def test_att_14_two_workers_look_at_no_more_guesses_than_one(where: str) -> None:
    alone = looked_at(shared_memory(Entropy()), range(60), where)
    free = guesses.FREE_OF_LOGIN + 1 if "botnet" in where else guesses.FREE + 1
    assert alone <= free + 60 / guesses.PACE_OF_LOGIN_S
    memory = shared_memory(Entropy())
    first = elsewhere(lambda: looked_at(memory, range(30), where))
    assert first + looked_at(memory, range(30, 60), where) == alone


@pytest.mark.attack("ATT-14")
def test_att_14_of_many_that_come_together_one_is_looked_at() -> None:
    """What a botnet sends at once to two workers with threads of their own: nobody has been found
    wrong yet when the last of them asks."""
    memory = shared_memory(Entropy())
    here, there = Guesses(memory), Guesses(memory)
    for number in range(guesses.FREE_OF_LOGIN + 1):
        here.wrong(ZOE, f"198.51.100.{number}", b"%d" % number, 0.0)
    now = guesses.PACE_OF_LOGIN_S
    opened = [
        door.begin(ZOE, f"203.0.113.{number}", now) == 0
        for number in range(100)
        for door in (here, there)
    ]
    assert sum(opened) == 1


def test_a_device_known_to_one_worker_is_known_to_all() -> None:
    memory = shared_memory(Entropy())
    Guesses(memory).right(ZOE, HERE, 0.0)
    for number in range(50):
        Guesses(memory).wrong(ZOE, f"203.0.113.{number}", b"%d" % number, 1.0)
    assert elsewhere(lambda: Guesses(memory).begin(ZOE, HERE, 1.0) > 0) == 0
    assert elsewhere(lambda: Guesses(memory).begin(ZOE, THERE, 1.0) > 0) == 1


def test_one_old_password_is_one_wrong_secret_to_all_workers() -> None:
    memory = shared_memory(Entropy())
    key = Guesses(memory).key
    for number in range(20):
        door = Guesses(memory)
        assert door.key == key  # what passwords are digested with
        assert door.wrong(ZOE, HERE, b"old", float(number)) == 0


def test_logins_of_another_kind_have_counts_of_their_own() -> None:
    door = Guesses.alone(Entropy())
    for number in range(9):
        door.of("machine").wrong(ZOE, HERE, b"%d" % number, 0.0)
    assert door.of("machine").wait_s(ZOE, HERE, 0.0) > 0
    assert door.wait_s(ZOE, HERE, 0.0) == 0


def test_counts_beyond_the_places_forget_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "_SETS", 1)
    door = Guesses.alone(Entropy())
    for number in range(9):
        door.wrong(ZOE, HERE, b"%d" % number, float(number))
    assert door.wait_s(ZOE, HERE, 8.0) > 0
    for number in range(4):
        door.wrong(f"other {number}", HERE, b"x", 9.0)
    assert door.wait_s(ZOE, HERE, 9.0) == 0


@given(st.binary(min_size=56, max_size=56))
def test_octets_that_no_count_has_made_lock_nobody_out(torn: bytes) -> None:
    memory = shared_memory(Entropy())
    door = Guesses(memory)
    for number in range(9):
        door.wrong(ZOE, HERE, b"%d" % number, 0.0)
    place = door._pairs._place(door._pair(ZOE, HERE))
    assert place is not None
    memory[place + 8 : place + 64] = torn
    assert 0 <= door.begin(ZOE, HERE, 0.0) <= LONGEST_WAIT_S
    assert 0 <= door.wrong(ZOE, HERE, b"x", 0.0) <= LONGEST_WAIT_S


def test_the_workers_of_a_server_share_them(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot, tmp_path: Path
) -> None:
    rig = make_rig(authority, healthy, snapshot, tmp_path)
    Store.create(rig.settings.store, app.CLOCK, app.ENTROPY)
    store = Store(rig.settings.store, app.CLOCK, app.ENTROPY)
    shared, trust = Shared.made(), Trust(snapshot)
    here, there = (
        app.services_of(rig.settings, store, trust, shared=shared).authenticator for _ in range(2)
    )
    for number in range(9):
        here.guesses.wrong(ZOE, HERE, b"%d" % number, 0.0)
    assert there.guesses.wait_s(ZOE, HERE, 0.0) > 0
    store.close()
