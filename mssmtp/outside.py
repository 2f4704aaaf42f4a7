"""The outside enters here: clock, randomness. Below `app` nobody reads either by itself."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as a parameter."""

    def now(self) -> datetime:
        """Aware UTC wall time."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Entropy(Protocol):
    """Randomness as a parameter."""

    def token_bytes(self, octets: int) -> bytes:
        """`octets` octets fit for keys."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def token_bytes(self, octets: int) -> bytes:
        return secrets.token_bytes(octets)
