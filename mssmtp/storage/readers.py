"""The reading threads of a process.

`ThreadPoolExecutor` makes a second future and looks after its threads for every call: together as
dear as a short query. These threads only take the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Call = Callable[[], None]
"""Answers somebody; never raises."""


class Readers:
    """A fixed number of threads that run calls in their order."""

    def __init__(self, count: int) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"store-reader_{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, call: Call) -> bool:
        """Have a thread run `call`. False: closed, nobody will."""
        with self._gate:  # nothing is queued behind the end
            if self._is_closed:
                return False
            self._calls.put(call)
            return True

    def close(self) -> None:
        """Run what waits, then stop."""
        with self._gate:
            self._is_closed = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # its answer must not live until the next
