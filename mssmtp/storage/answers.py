"""What was read a moment ago, for the doors, as long as nobody has committed anything since.

A query costs two changes of thread, ten times what SELECT and STATUS compute. Whether anybody has
committed, the database tells without a query: an answer of the snapshot that is still the newest
one is as good as a new one. Rights may end by the clock alone: an answer is good for a second, as
in `lately` (SEC-06). Where another node may commit (PostgreSQL), nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from mssmtp.outside import Clock
from mssmtp.storage.engine import Watch

FRESH_S = 1.0
REMEMBERED = 64
"""Answers of one second; the largest names the messages of a mailbox, 4 octets each."""


class Asked(NamedTuple):
    """A question at one moment."""

    question: Hashable
    mark: int | None
    """Of the newest snapshot; None: the database cannot tell."""
    until_s: float
    """How long an answer of this moment is good, by the clock."""
    known: object | None
    """The answer, if there is one that is still good."""


class Answers:
    """Of one process; for one thread, that of its doors. An answer is never changed: several
    sessions share it."""

    def __init__(self, watch: Callable[[], Watch | None], clock: Clock) -> None:
        self._make, self._clock = watch, clock
        self._watch: Watch | None = None
        self._found: dict[Hashable, tuple[object, float]] = {}
        self._valid_for: int | None = None

    def begin(self) -> None:
        """Remember from now on. To be called where waiting for the database holds up nobody."""
        if self._watch is None:
            self._watch = self._make()

    def asked(self, question: Hashable) -> Asked:
        """What is known now, to be taken before the snapshot in which it is looked up otherwise."""
        mark = None if self._watch is None else self._watch.mark()
        if mark is None or mark != self._valid_for:
            self._found, self._valid_for = {}, mark
        now_s = self._clock.monotonic()
        known, until_s = self._found.get(question, (None, 0.0))
        return Asked(question, mark, now_s + FRESH_S, known if now_s < until_s else None)

    def keep(self, asked: Asked, value: object) -> None:
        """Remember the answer that was looked up; what somebody has changed meanwhile is forgotten
        when it is asked for."""
        if asked.mark is None or asked.mark != self._valid_for:
            return
        if len(self._found) >= REMEMBERED:
            self._found = {}
        self._found[asked.question] = value, asked.until_s

    def close(self) -> None:
        """Let go of the database."""
        self._found = {}
        if self._watch is not None:
            self._watch.close()
        self._watch = None
