"""Counts distinct wrong secrets per (login, address) and says how long that pair must wait (F13).

Only the pair is slowed: neither the person elsewhere, nor the others behind the same address; a
/64 of IPv6 is one address. A phone that repeats one old password is one wrong secret, whatever it
does. A botnet has an address for each guess: a login that was guessed at from many is looked at
once in two seconds from where nobody has ever logged in to it; where somebody has, nothing changes.

The counts stand in memory that the workers share since their fork: a guesser who changes between
them has one pace. It never grows; where a set of places is full, who was seen least lately is
forgotten, and an address that floods it meets a key it does not know. Two workers that write one
place at the same moment may lose a count, and half a place is taken for none: never a lock-out.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from mmap import mmap
from typing import NamedTuple

from mssmtp.mail import counted_as
from mssmtp.outside import Entropy

FREE = 3
"""Distinct wrong secrets without a wait: typing errors."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
FORGET_AFTER_S = 3600.0
FREE_OF_LOGIN = 20
"""Wrong secrets of one login, from all strange addresses together, before they share one pace."""
PACE_OF_LOGIN_S = 2.0
MOST_SECRETS = 9
"""Of one place, the newest; an older one that comes again counts again."""

_KEY_OCTETS = 32
_SETS, _WAYS = 16_384, 4
_PLACE = struct.Struct(f"=QddI{MOST_SECRETS}I")
"""Whose, 0 for nobody; open again at; seen last; wrong secrets; what is left of each."""
_TABLE_OCTETS = _SETS * _WAYS * _PLACE.size
_NONE = (0,) * MOST_SECRETS
OCTETS = _KEY_OCTETS + 3 * _TABLE_OCTETS


def shared_memory(entropy: Entropy) -> mmap:
    """Made before the workers are forked; pages that nobody has written cost nothing."""
    memory = mmap(-1, OCTETS)
    memory[:_KEY_OCTETS] = entropy.token_bytes(_KEY_OCTETS)
    return memory


class _Count(NamedTuple):
    open_at: float = 0.0
    last: float = 0.0
    wrong: int = 0
    secrets: tuple[int, ...] = _NONE

    def with_secret(self, secret: int) -> _Count:
        return self._replace(wrong=self.wrong + 1, secrets=(secret, *self.secrets[:-1]))


class _Table:
    """Places by number, four to a set."""

    def __init__(self, memory: mmap, number: int) -> None:
        self._memory, self._first = memory, _KEY_OCTETS + number * _TABLE_OCTETS

    def get(self, whose: int, now: float) -> _Count | None:
        """None: nothing is known, or nothing that a count can have made."""
        place = self._place(whose)
        if place is None:
            return None
        _, open_at, last, wrong, *secrets = _PLACE.unpack_from(self._memory, place)
        is_of_now = -LONGEST_WAIT_S <= now - last <= FORGET_AFTER_S
        if not is_of_now or not open_at <= now + LONGEST_WAIT_S:
            return None
        return _Count(open_at, last, wrong, tuple(secrets))

    def holds(self, whose: int) -> bool:
        """Whether there is anything of it, however old."""
        return self._place(whose) is not None

    def keep(self, whose: int, count: _Count) -> None:
        place = self._place(whose)
        if place is None:
            place = min(self._places(whose), key=self._seen)
        number = min(count.wrong, 0xFFFFFFFF)
        _PLACE.pack_into(
            self._memory, place, whose, count.open_at, count.last, number, *count.secrets
        )

    def drop(self, whose: int) -> None:
        place = self._place(whose)
        if place is not None:
            _PLACE.pack_into(self._memory, place, 0, 0.0, 0.0, 0, *_NONE)

    def _seen(self, place: int) -> float:
        found = _PLACE.unpack_from(self._memory, place)
        return float(found[2]) if found[0] else 0.0

    def _place(self, whose: int) -> int | None:
        for place in self._places(whose):
            if _PLACE.unpack_from(self._memory, place)[0] == whose:
                return place
        return None

    def _places(self, whose: int) -> range:
        first = self._first + whose % _SETS * _WAYS * _PLACE.size
        return range(first, first + _WAYS * _PLACE.size, _PLACE.size)


class Guesses:
    """Thread-safe. Times are monotonic seconds, which all processes of a machine share."""

    def __init__(self, memory: mmap, realm: str = "") -> None:
        """`realm` keeps logins of one kind apart from those of another."""
        self._memory, self._realm = memory, realm
        self._lock = threading.Lock()
        self.key = memory[:_KEY_OCTETS]
        self._pairs, self._logins, self._trusted = (_Table(memory, n) for n in range(3))

    @classmethod
    def alone(cls, entropy: Entropy) -> Guesses:
        """Of one process that shares with nobody."""
        return cls(shared_memory(entropy))

    def of(self, realm: str) -> Guesses:
        """Other logins in the same memory."""
        return Guesses(self._memory, realm)

    def wait_s(self, login: str, address: str, now: float) -> float:
        """Seconds until this pair may have a secret verified; 0: now."""
        with self._lock:
            return self._waits(login, address, now)

    def begin(self, login: str, address: str, now: float) -> float:
        """As `wait_s`; 0: a secret is verified now, and whoever shares its pace waits meanwhile.

        Or else as many could be looked at together as workers and threads have time for.
        """
        with self._lock:
            wait = self._waits(login, address, now)
            if wait <= 0:
                pair, of = self._pair(login, address), self._tag(login)
                count = self._pairs.get(pair, now)
                if count is not None and count.wrong > FREE:
                    opens = now + _wait(count.wrong)
                    self._pairs.keep(pair, count._replace(open_at=opens))
                siege = self._siege(login, address, now)
                if siege is not None:
                    opens = now + PACE_OF_LOGIN_S
                    self._logins.keep(of, siege._replace(open_at=opens))
            return wait

    def wrong(self, login: str, address: str, secret: bytes, now: float) -> float:
        """Note a wrong secret (its keyed digest). Seconds the answer must be held back."""
        left, pair = self._left(secret), self._pair(login, address)
        with self._lock:
            count = self._pairs.get(pair, now) or _Count()
            if left not in count.secrets:
                count = count.with_secret(left)
                if not self._trusted.holds(pair):
                    self._from_a_stranger(login, now)
            wait = _wait(count.wrong)
            opens = max(count.open_at, now + wait)
            self._pairs.keep(pair, count._replace(open_at=opens, last=now))
            return wait

    def right(self, login: str, address: str, now: float) -> None:
        """Forget the pair: it has shown that it knows the secret, and is no stranger any more."""
        pair = self._pair(login, address)
        with self._lock:
            self._pairs.drop(pair)
            self._trusted.keep(pair, _Count(last=now))

    def _waits(self, login: str, address: str, now: float) -> float:
        count = self._pairs.get(self._pair(login, address), now)
        siege = self._siege(login, address, now)
        opens = (each.open_at for each in (count, siege) if each is not None)
        return max(0.0, max(opens, default=now) - now)

    def _siege(self, login: str, address: str, now: float) -> _Count | None:
        """What slows strangers of this login, if `address` is one and they are many."""
        of = self._logins.get(self._tag(login), now)
        if of is None or of.wrong <= FREE_OF_LOGIN:
            return None
        return None if self._trusted.holds(self._pair(login, address)) else of

    def _from_a_stranger(self, login: str, now: float) -> None:
        of = self._tag(login)
        record = (self._logins.get(of, now) or _Count()).with_secret(0)
        if record.wrong > FREE_OF_LOGIN:
            record = record._replace(open_at=now + PACE_OF_LOGIN_S)
        self._logins.keep(of, record._replace(last=now))

    def _pair(self, login: str, address: str) -> int:
        return self._tag(f"{login}\0{counted_as(address)}")

    def _tag(self, text: str) -> int:
        octets = f"{self._realm}\0{text}".encode("utf-8", "surrogatepass")
        found = hashlib.blake2b(octets, digest_size=8, key=self.key).digest()
        return int.from_bytes(found, "big") or 1

    def _left(self, secret: bytes) -> int:
        found = hashlib.blake2b(secret, digest_size=4, key=self.key).digest()
        return int.from_bytes(found, "big") or 1


def _wait(wrong: int) -> float:
    if wrong <= FREE:
        return 0.0
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong - FREE - 1, 10)))
