"""Reading threads: every call is run, in order, until the end."""

from __future__ import annotations

import threading

from mssmtp.storage.readers import Readers


def test_what_was_put_before_the_end_is_run_and_nothing_after() -> None:
    readers = Readers(1)
    done: list[int] = []
    gate = threading.Event()

    def wait() -> None:
        gate.wait()

    assert readers.put(wait)
    for number in range(5):
        assert readers.put(lambda number=number: done.append(number))  # type: ignore[misc]
    gate.set()
    readers.close()
    assert done == [0, 1, 2, 3, 4]
    assert not readers.put(lambda: done.append(9))
    assert done == [0, 1, 2, 3, 4]
