"""Time-ordered unique ids: 48 bits of milliseconds, 80 random ones, never going back."""

from __future__ import annotations

import threading
from datetime import datetime

from mssmtp.outside import Clock, Entropy
from mssmtp.storage.model import to_us

ID_OCTETS = 16
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def made_at_ms(id: bytes) -> int:
    """When an id of 16 octets was made, milliseconds since 1970."""
    return int.from_bytes(id[:6], "big")


def least_octets(moment: datetime) -> bytes:
    """The smallest id of 16 octets made at `moment`."""
    return (to_us(moment) // 1_000 << 80).to_bytes(16, "big")


class Identifiers:
    """A source of 128-bit ids, ordered within the process even when the clock is not."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._last = 0

    def new_octets(self) -> bytes:
        """16 octets, greater than any before."""
        moment = to_us(self._clock.now()) // 1_000
        fresh = int.from_bytes(self._entropy.token_bytes(10), "big")
        with self._lock:
            # A clock that stands still or jumps back continues in small random steps.
            last = self._last
            new = moment << 80 | fresh
            self._last = new if new > last else last + 1 + (fresh & 0xFFFF_FFFF)
            return self._last.to_bytes(ID_OCTETS, "big")

    def new(self) -> str:
        """The same as 26 characters of Crockford's base 32 (as ULIDs are written)."""
        number = int.from_bytes(self.new_octets(), "big")
        return "".join([_PAIRS[number >> shift & 1_023] for shift in range(120, -1, -10)])
