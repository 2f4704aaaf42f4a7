"""What was opened of packs is remembered: bounded, for a minute, and never for too long."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from mssmtp.storage import store
from mssmtp.storage.remembered import UNUSED_S, Remembered
from mssmtp.storage.textspans import JOINED_LEAST, JOINED_UIDS, Kept, runs
from tests.imap.world import ManualClock
from tests.storage.support import open_new


def test_d11_there_is_room_for_so_many_octets_and_nobody_is_pushed_out() -> None:
    known = Remembered(ManualClock(), most_octets=100)
    known.keep("a", b"1", 60)
    known.keep("b", b"2", 60)
    assert (known.get("a", bytes), known.get("b", bytes)) == (b"1", None)
    known.keep("a", b"3", 30)
    known.keep("b", b"2", 60)
    assert (known.get("a", bytes), known.get("b", bytes)) == (b"3", b"2")
    assert known.get("a", int) is None


def test_what_nobody_uses_is_forgotten_after_a_minute() -> None:
    clock = ManualClock()
    known = Remembered(clock, most_octets=100)
    known.keep("a", b"1", 50)
    known.keep("b", b"2", 50)
    clock.advance(UNUSED_S - 1)
    assert known.get("b", bytes) == b"2"
    clock.advance(2)
    assert known.get("a", bytes) is None
    assert known.get("b", bytes) == b"2"
    known.keep("c", b"3", 50)
    assert known.get("c", bytes) == b"3"
    known.forget()
    assert known.get("c", bytes) is None


def test_what_nobody_uses_is_forgotten_although_nobody_asks_any_more(tmp_path: Path) -> None:
    forgotten = threading.Event()

    class Watched(Remembered):
        """Notices that a store looks after it by itself."""

        def forget_unused(self) -> None:
            super().forget_unused()
            forgotten.set()

    clock = ManualClock()
    known = Watched(clock, most_octets=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "Remembered", lambda _clock: known)
        with closing(open_new(tmp_path / "home")):
            known.keep("a", b"1", 100)
            clock.advance(UNUSED_S + 1)
            for _ in range(2):  # one look may have begun before
                forgotten.clear()
                assert forgotten.wait(10)
    clock.advance(-UNUSED_S)  # were it there still, it would be found
    assert known.get("a", bytes) is None


def test_packs_are_joined_from_window_to_window_without_a_gap() -> None:
    def packs(*firsts: int) -> list[Kept]:
        return [Kept(first, first + 127, 128) for first in firsts]

    whole = packs(*range(0, JOINED_UIDS, 128))
    everybody = range(2 * JOINED_UIDS)
    assert list(runs(whole, everybody)) == [whole]
    further = packs(*range(JOINED_UIDS, JOINED_UIDS + 640, 128))
    assert list(runs(whole + further, everybody)) == [whole, further]
    assert list(runs(further[: JOINED_LEAST - 1], everybody)) == []
    assert list(runs(whole[:8] + whole[9:], everybody)) == [whole[:8], whole[9:]]
    halves = [Kept(0, 63, 64), Kept(64, 100, 30), *whole[1:8]]
    assert list(runs(halves, everybody)) == [whole[1:8]], "a window that is not packed to its end"
    assert list(runs(whole, range(0, JOINED_UIDS, 3))) == [], "few of them are wanted"
