"""What was opened of packs a moment ago, and what was made of it, in one process.

A client asks the same of a mailbox again and again, and opening a pack costs more than looking
through it. What is remembered stands under all that it was made of: it is right as long as it is
asked for by the same, and never changed. Bounded by octets (D11). Who goes through more than there
is room for does not push out what others use, and what nobody has used for a minute is forgotten:
what people have written stays open in memory no longer than somebody reads it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

from mssmtp.outside import Clock

T = TypeVar("T")

MOST_OCTETS = 25_165_824
UNUSED_S = 60.0


class Remembered:
    """Values with the octets that they take; safe between threads."""

    def __init__(self, clock: Clock, most_octets: int = MOST_OCTETS) -> None:
        self._clock = clock
        self._most = most_octets
        self._octets = 0
        self._values: OrderedDict[Hashable, tuple[object, int, float]] = OrderedDict()
        """The least used first, with the moment of its last use."""
        self._lock = threading.Lock()

    def get(self, key: Hashable, kind: type[T]) -> T | None:
        """The value that was kept under `key`."""
        now_s = self._clock.monotonic()
        with self._lock:
            self._forget_unused(now_s)
            known = self._values.get(key)
            if known is None or not isinstance(known[0], kind):
                return None
            self._values[key] = known[0], known[1], now_s
            self._values.move_to_end(key)
            return known[0]

    def keep(self, key: Hashable, value: object, octets: int) -> None:
        """Remember it, if there is room."""
        now_s = self._clock.monotonic()
        with self._lock:
            self._forget_unused(now_s)
            before = self._values.pop(key, None)
            self._octets -= 0 if before is None else before[1]
            if self._octets + octets <= self._most:
                self._values[key] = value, octets, now_s
                self._octets += octets

    def forget_unused(self) -> None:
        """What nobody has used for a minute, also when nobody asks for anything any more."""
        if not self._values:
            return
        now_s = self._clock.monotonic()
        with self._lock:
            self._forget_unused(now_s)

    def forget(self) -> None:
        """Everything."""
        with self._lock:
            self._values.clear()
            self._octets = 0

    def _forget_unused(self, now_s: float) -> None:
        while self._values:
            key, (_, octets, used_s) = next(iter(self._values.items()))
            if now_s - used_s < UNUSED_S:
                return
            del self._values[key]
            self._octets -= octets
