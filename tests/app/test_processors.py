"""A worker for each processor: its threads that share the interpreter stay on one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from mssmtp import processors


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """What the kernel is asked for, on a machine that gives the processors 2, 3 and 5."""
    asked: list[set[int]] = []
    monkeypatch.setattr(processors, "_allowed", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, wanted: asked.append(set(wanted)))
    return asked


def test_each_of_as_many_workers_has_a_processor_of_its_own(chosen: list[set[int]]) -> None:
    for worker in range(4):
        processors.settle(worker, 4)
    assert chosen == [{2}, {3}, {5}, {2}]


def test_fewer_workers_than_processors_are_left_to_the_kernel(chosen: list[set[int]]) -> None:
    processors.settle(0, 2)
    processors.roam()
    assert chosen == []


def test_a_thread_that_computes_for_long_may_run_anywhere(chosen: list[set[int]]) -> None:
    processors.settle(1, 3)
    processors.roam()
    assert chosen == [{3}, {2, 3, 5}]


def test_where_no_processor_may_be_chosen_everything_goes_on(
    chosen: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: int, wanted: set[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    processors.settle(0, 3)
    processors.roam()


def test_a_thread_that_roams_leaves_the_others_where_they_are() -> None:
    before = os.sched_getaffinity(0)
    found: list[set[int]] = []

    def thread() -> None:
        processors.roam()
        found.append(os.sched_getaffinity(0))

    try:
        os.sched_setaffinity(0, {min(before)})
        processors._allowed = frozenset(before)
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        processors._allowed = None
        os.sched_setaffinity(0, before)
    assert found == [before]


_BESIDE_ONE_THAT_WAITS = """
import subprocess
import sys
import threading
from mssmtp import processors
may_end = threading.Event()
other = threading.Thread(target=may_end.wait)
other.start()
found = [processors.alone(0.01)]
may_end.set()
print(*found, processors.alone())
"""


def test_who_forks_waits_for_the_end_of_other_threads_as_the_kernel_sees_it() -> None:
    words = [sys.executable, "-c", _BESIDE_ONE_THAT_WAITS]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["False", "True"]
