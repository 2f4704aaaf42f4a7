"""What a door has said, on its way to the kernel: bounded, and encrypted no sooner than needed."""

from __future__ import annotations

import asyncio
from collections import deque

from mssmtp.tls_engine import Buffer, Engine

Upper = asyncio.Protocol | asyncio.BufferedProtocol
"""The protocol above TLS: a door's."""

_WRITE_OCTETS = 32_768  # a memory BIO keeps the size of the largest write: 64 KiB held 30 KB more
_HIGH_WATER_OCTETS = 65_536
_STALLED_OCTETS = 1_048_576


class Outgoing:
    """Clear octets on their way down, encrypted only as fast as the raw transport takes them.

    What must wait waits as the caller's own object: a slow peer costs no second copy.
    """

    def __init__(self, raw: asyncio.Transport, engine: Engine) -> None:
        self.upper: Upper | None = None
        self.high, self.low = _HIGH_WATER_OCTETS, _HIGH_WATER_OCTETS // 4
        self._raw = raw
        self._engine = engine
        self._waiting: deque[memoryview] = deque()
        self._waiting_octets = 0
        self._raw_full = False
        self._upper_stopped = False

    @property
    def size(self) -> int:
        """Octets, clear or not, that the kernel has not taken yet."""
        return self._waiting_octets + self._raw.get_write_buffer_size()

    @property
    def is_empty(self) -> bool:
        """Everything written was handed to the raw transport."""
        return not self._waiting

    def set_limits(self, high: int | None, low: int | None) -> None:
        """As asyncio.WriteTransport; the raw transport never holds more than its own default."""
        high = high if high is not None else 4 * low if low is not None else _HIGH_WATER_OCTETS
        low = low if low is not None else high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        # Its low mark must not be above ours, or nobody would tell us that ours is reached.
        raw_high = min(high, _HIGH_WATER_OCTETS)
        self._raw.set_write_buffer_limits(raw_high, min(low, raw_high // 4))
        self._tell_upper()

    def write(self, octets: Buffer) -> None:
        """Encrypt now or keep. Raises TlsFailure."""
        if not self._waiting and not self._raw_full and len(octets) <= _WRITE_OCTETS:
            self._engine.write(octets)
            self._raw.write(self._engine.take())
        else:
            block = memoryview(octets if isinstance(octets, bytes) else bytes(octets))
            self._waiting.append(block)
            self._waiting_octets += len(block)
            self._pump()
        self._tell_upper()

    def pause(self) -> None:
        self._raw_full = True

    def resume(self) -> None:
        """The raw transport has room. Raises TlsFailure."""
        self._raw_full = False
        self._pump()
        self._tell_upper()

    def send_records(self) -> bool:
        """Send what reading made OpenSSL say (alerts, key updates). False: it piles up.

        A peer that asks for key updates and never reads would fill our memory (ATT-40).
        """
        records = self._engine.take()
        if records:
            self._raw.write(records)
            return self._raw.get_write_buffer_size() <= _STALLED_OCTETS
        return True

    def discard(self) -> None:
        """The connection is gone."""
        self._waiting.clear()
        self._waiting_octets = 0
        self.upper = None

    def _pump(self) -> None:
        while self._waiting and not self._raw_full:
            block = self._waiting.popleft()
            if len(block) > _WRITE_OCTETS:
                self._waiting.appendleft(block[_WRITE_OCTETS:])
                block = block[:_WRITE_OCTETS]
            self._waiting_octets -= len(block)
            self._engine.write(block)
            self._raw.write(self._engine.take())

    def _tell_upper(self) -> None:
        if self.upper is None:
            return
        if not self._upper_stopped and self.size > self.high:
            self._upper_stopped = True
            self.upper.pause_writing()
        elif self._upper_stopped and self.size <= self.low:
            self._upper_stopped = False
            self.upper.resume_writing()
