"""How fast a box writes: exact for all workers together, bounded, and never a lock-out."""

from __future__ import annotations

import os
from mmap import mmap

from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.config_policy import RateSettings
from mssmtp.mail import Address, Bal, BalId, BalType
from mssmtp.rates import OCTETS, Rates, shared_memory

SETTINGS = RateSettings(per_hour=60, app_per_hour=3600, burst=10)


def box(number: int = 7, kind: BalType = BalType.ORG) -> Bal:
    return Bal(BalId(number), Address.parse(f"b{number}@hopital-a.test"), kind)


def accepted(rates: Rates, bal: Bal, now: float, tries: int) -> int:
    count = 0
    for _ in range(tries):
        if not rates.wait_s(bal, now):
            rates.charge(bal, now)
            count += 1
    return count


def test_a_burst_passes_then_one_for_each_share_of_the_hour() -> None:
    rates = Rates(SETTINGS)
    assert accepted(rates, box(), 1000.0, 50) == 10
    assert 0 < rates.wait_s(box(), 1000.0) <= 60.0
    assert accepted(rates, box(), 1060.0, 50) == 1
    assert accepted(rates, box(), 1000.0 + 3600 * 5, 50) == 10
    assert accepted(rates, box(8), 1000.0, 50) == 10, "boxes do not wait for each other"


def test_software_is_faster_and_nought_is_no_limit() -> None:
    rates = Rates(SETTINGS)
    app = box(9, BalType.APP)
    assert accepted(rates, app, 0.0, 50) == 10
    assert accepted(rates, app, 5.0, 50) == 5
    free = Rates(RateSettings(per_hour=0, app_per_hour=0))
    assert accepted(free, box(), 0.0, 5_000) == 5_000


def test_workers_count_together() -> None:
    memory = shared_memory()
    here = Rates(SETTINGS, memory)
    assert accepted(here, box(), 0.0, 4) == 4
    child = os.fork()
    if child == 0:  # a worker: its memory is its own but for what was shared before
        os._exit(accepted(Rates(SETTINGS, memory), box(), 0.0, 50))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 6
    assert accepted(here, box(), 0.0, 50) == 0


@given(st.lists(st.tuples(st.floats(0, 120), st.integers(1, 15)), max_size=30))
@settings(max_examples=60)
def test_no_pattern_gets_more_than_the_burst_and_the_pace(steps: list[tuple[float, int]]) -> None:
    rates, now, sent = Rates(SETTINGS), 50.0, 0
    for pause, tries in steps:
        now += pause
        sent += accepted(rates, box(), now, tries)
    assert sent <= 10 + (now - 50.0) / 60.0 + 1e-6


def test_memory_is_bounded_and_what_no_count_can_have_made_locks_nobody_out() -> None:
    memory = shared_memory()
    rates = Rates(SETTINGS, memory)
    for number in range(1, 200_000, 97):
        rates.charge(box(number), 0.0)
    assert len(memory) == OCTETS <= 2**21
    broken: mmap = shared_memory()
    broken[:] = b"\x07\0\0\0\0\0\0\0" * (OCTETS // 8)
    assert not Rates(SETTINGS, broken).wait_s(box(7), 0.0)
    torn = Rates(SETTINGS, broken)
    torn.charge(box(7), 1e9)
    assert not torn.wait_s(box(7), 5.0), "a moment from another boot is forgotten"


def urgent(rates: Rates, bal: Bal, now: float, tries: int, *, is_machine: bool = False) -> int:
    return sum(rates.grants_urgency(bal, now, is_machine=is_machine) for _ in range(tries))


def test_so_many_letters_an_hour_are_urgent_and_their_share_comes_back_evenly() -> None:
    rates = Rates(RateSettings(urgent_per_hour=4, app_urgent_per_hour=60))
    assert urgent(rates, box(), 1000.0, 20) == 4
    assert urgent(rates, box(), 1000.0 + 900.0, 20) == 1
    assert urgent(rates, box(8), 1000.0, 20) == 4, "boxes do not share it"
    assert urgent(rates, box(9, BalType.APP), 1000.0, 99) == 60
    assert urgent(rates, box(10), 1000.0, 99, is_machine=True) == 60
    assert accepted(rates, box(), 1000.0, 50) == 50, "recipients are counted apart"
    assert urgent(Rates(RateSettings(urgent_per_hour=0)), box(), 0.0, 5) == 0


def test_workers_count_urgent_letters_together() -> None:
    memory, given = shared_memory(), RateSettings(urgent_per_hour=5)
    assert urgent(Rates(given, memory), box(), 10.0, 3) == 3
    assert urgent(Rates(given, memory), box(), 10.0, 3) == 2
