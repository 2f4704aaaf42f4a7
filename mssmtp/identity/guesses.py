"""Counts distinct wrong secrets per (login, address) and says how long that pair must wait (F13).

Only the pair is slowed: neither the person elsewhere, nor the others behind the same address. A
phone that repeats one old password is one wrong secret, whatever it does.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

FREE = 3
"""Distinct wrong secrets without a wait: typing errors."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
FORGET_AFTER_S = 3600.0
MOST_PAIRS = 50_000
MOST_SECRETS = 64
"""Of one pair; beyond it every wrong secret counts as a new one."""


@dataclass(slots=True)
class _Record:
    secrets: set[bytes] = field(default_factory=set)
    wrong: int = 0
    open_at: float = 0.0
    last: float = 0.0


class Guesses:
    """Memory of one worker, bounded; thread-safe. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def wait_s(self, login: str, address: str, now: float) -> float:
        """Seconds until this pair may have a secret verified; 0: now."""
        with self._lock:
            record = self._records.get((login, address))
            return max(0.0, record.open_at - now) if record else 0.0

    def wrong(self, login: str, address: str, secret: bytes, now: float) -> float:
        """Note a wrong secret (its keyed digest). Seconds the answer must be held back."""
        with self._lock:
            record = self._records.get((login, address))
            if record is None or now - record.last > FORGET_AFTER_S:
                record = _Record()
            self._records[login, address] = record
            self._records.move_to_end((login, address))
            while len(self._records) > MOST_PAIRS:
                self._records.popitem(last=False)
            if secret not in record.secrets:
                record.wrong += 1
                if len(record.secrets) < MOST_SECRETS:
                    record.secrets.add(secret)
            record.last = now
            wait = _wait(record.wrong)
            record.open_at = max(record.open_at, now + wait)
            return wait

    def right(self, login: str, address: str) -> None:
        """Forget the pair: it has shown that it knows the secret."""
        with self._lock:
            self._records.pop((login, address), None)


def _wait(wrong: int) -> float:
    if wrong <= FREE:
        return 0.0
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong - FREE - 1, 10)))
