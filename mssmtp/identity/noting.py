"""Which logins are told in the log of an account: one of a kind and hour (SEED-48).

A program that reads mail logs in every few minutes, and a guesser as often as he is let: each of
them would fill the log.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime, timedelta

EVERY = timedelta(hours=1)
MOST_KEPT = 20_000


class Hourly:
    """What was noted in the last hour, in one process; bounded, thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: OrderedDict[Hashable, datetime] = OrderedDict()

    def is_due(self, key: Hashable, now: datetime) -> bool:
        """True at most once an hour for each key, which is noted by that."""
        with self._lock:
            before = self._noted.get(key)
            if before is not None and now - before < EVERY:
                return False
            self._noted[key] = now
            self._noted.move_to_end(key)
            while len(self._noted) > MOST_KEPT:
                self._noted.popitem(last=False)
            return True
