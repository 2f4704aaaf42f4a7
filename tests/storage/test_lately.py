"""Boxes looked up lately: never an answer that a committed change has made wrong."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal, BalState
from mssmtp.storage import Store
from mssmtp.storage.lately import FRESH_S, Lately
from tests.storage.support import SteppingClock, add_bal, reopen


def kept(store: Store, bal: Bal) -> Bal | None:
    """As a door does: the mark first, then the query."""
    mark = store.lately.mark()
    found = store.read(lambda r: r.bal(bal.address)).result()
    assert found is not None
    store.lately.keep(mark, found)
    return store.lately.bal(bal.address)


def test_a_box_is_remembered_for_a_second(store: Store, zoe: Bal, clock: SteppingClock) -> None:
    assert kept(store, zoe) == zoe
    clock.advance(timedelta(seconds=FRESH_S))
    assert store.lately.bal(zoe.address) is None


@pytest.mark.attack
def test_att_25_a_suspended_box_is_looked_up_anew_at_once(store: Store, zoe: Bal) -> None:
    kept(store, zoe)
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.SUSPENDED)).result()
    assert store.lately.bal(zoe.address) is None
    found = kept(store, zoe)
    assert found is not None
    assert found.state is BalState.SUSPENDED


@pytest.mark.attack
def test_att_25_a_shredded_box_is_looked_up_anew_at_once(store: Store, zoe: Bal) -> None:
    kept(store, zoe)
    store.shred_bal(zoe.id, "order 7")
    assert store.lately.bal(zoe.address) is None


def test_another_process_s_change_counts(store: Store, zoe: Bal, home: Path) -> None:
    kept(store, zoe)
    other = reopen(home)
    try:
        other.write(lambda w: w.set_bal_state(zoe.id, BalState.SUSPENDED)).result()
        assert store.lately.bal(zoe.address) is None
    finally:
        other.close()


def test_what_was_read_before_a_change_is_not_kept_after_it(store: Store, zoe: Bal) -> None:
    mark = store.lately.mark()
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.SUSPENDED)).result()
    store.lately.keep(mark, zoe)
    assert store.lately.bal(zoe.address) is None


def test_a_change_that_is_not_committed_changes_nothing(store: Store, zoe: Bal) -> None:
    kept(store, zoe)

    def fails(writing: object) -> None:
        writing.set_bal_state(zoe.id, BalState.SUSPENDED)  # type: ignore[attr-defined]
        raise LookupError

    with pytest.raises(LookupError):
        store.write(fails).result()
    assert store.lately.bal(zoe.address) == zoe


def test_a_disk_without_room_costs_the_sharing_only(
    tmp_path: Path, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int, offset: int, octets: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    lately = Lately(tmp_path, SteppingClock())
    lately.keep(lately.mark(), zoe)
    assert lately.bal(zoe.address) == zoe
    lately.changed()
    assert lately.bal(zoe.address) is None
    lately.close()


def in_a_child(act: Callable[[], bool]) -> int:
    """How a process that does this ends, within five seconds; 0 when it was so."""
    child = os.fork()
    if not child:
        os._exit(not act())
    impatient = threading.Timer(5, os.kill, (child, signal.SIGKILL))
    impatient.start()
    _, status = os.waitpid(child, 0)
    impatient.cancel()
    return os.waitstatus_to_exitcode(status)


@pytest.mark.attack
def test_att_25_a_disk_that_takes_no_write_ends_no_process_and_nothing_stale_is_told(
    tmp_path: Path, zoe: Bal
) -> None:
    """The space is there; some file systems want more for every write (D9)."""

    def refused() -> bool:
        lately = Lately(tmp_path, SteppingClock())
        lately.keep(lately.mark(), zoe)
        known = lately.bal(zoe.address)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        lately.changed()
        return known == zoe and lately.bal(zoe.address) is None

    assert in_a_child(refused) == 0


@pytest.mark.requirement("CL-79")
def test_a_disk_that_stands_still_holds_up_no_door(disk: Path, zoe: Bal) -> None:
    """Who asks reads a page; who has changed a box waits for that disk in any case."""
    lately = Lately(disk, SteppingClock())
    lately.changed()
    os.sync()
    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    try:

        def asked() -> bool:
            lately.keep(lately.mark(), zoe)
            return lately.mark() == 1 and lately.bal(zoe.address) == zoe

        assert in_a_child(asked) == 0
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)
    lately.close()


def test_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mssmtp.storage.lately.REMEMBERED", 2)
    boxes = [add_bal(store, f"u{number}@hopital-a.test") for number in range(3)]
    for box in boxes:
        kept(store, box)
    assert [store.lately.bal(box.address) for box in boxes] == [None, None, boxes[2]]
