"""Counts distinct wrong secrets per (login, address) and says how long that pair must wait (F13).

Only the pair is slowed: neither the person elsewhere, nor the others behind the same address. A
phone that repeats one old password is one wrong secret, whatever it does. A botnet has an address
for each guess: a login that was guessed at from many is looked at once in two seconds from where
nobody has ever logged in to it; where somebody has, nothing changes.
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
FREE_OF_LOGIN = 20
"""Wrong secrets of one login, from all strange addresses together, before they share one pace."""
PACE_OF_LOGIN_S = 2.0
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
        self._logins: OrderedDict[str, _Record] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, login: str, address: str, now: float) -> float:
        """Seconds until this pair may have a secret verified; 0: now."""
        with self._lock:
            record = self._records.get((login, address))
            wait = max(0.0, record.open_at - now) if record else 0.0
            if (login, address) not in self._trusted and (of := self._logins.get(login)):
                wait = max(wait, of.open_at - now)
            return wait

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
                if (login, address) not in self._trusted:
                    self._from_a_stranger(login, now)
                if len(record.secrets) < MOST_SECRETS:
                    record.secrets.add(secret)
            record.last = now
            wait = _wait(record.wrong)
            record.open_at = max(record.open_at, now + wait)
            return wait

    def right(self, login: str, address: str) -> None:
        """Forget the pair: it has shown that it knows the secret, and is no stranger any more."""
        pair = (login, address)
        with self._lock:
            self._records.pop(pair, None)
            self._trusted[pair] = None
            self._trusted.move_to_end(pair)
            while len(self._trusted) > MOST_PAIRS:
                self._trusted.popitem(last=False)

    def _from_a_stranger(self, login: str, now: float) -> None:
        record = self._logins.get(login)
        if record is None or now - record.last > FORGET_AFTER_S:
            record = _Record()
        self._logins[login] = record
        self._logins.move_to_end(login)
        while len(self._logins) > MOST_PAIRS:
            self._logins.popitem(last=False)
        record.wrong += 1
        record.last = now
        if record.wrong > FREE_OF_LOGIN:
            record.open_at = now + PACE_OF_LOGIN_S


def _wait(wrong: int) -> float:
    if wrong <= FREE:
        return 0.0
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong - FREE - 1, 10)))
