"""When each address is asked again, and what is said about it how often."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from mssmtp import metrics
from mssmtp.outside import Clock, Entropy
from mssmtp.trust_feed.fetch import FetchFailed
from mssmtp.whitelist import ListRefused

logger = logging.getLogger(__name__)

RETRY = timedelta(minutes=5)
FIRST_RETRY = timedelta(seconds=15)
"""While nothing usable was ever obtained: the doors are answering 451."""
REMIND_EVERY = timedelta(hours=1)


class Schedule:
    """The due times of all addresses of one feed; `longest_retry` bounds the wait after failure."""

    def __init__(self, clock: Clock, entropy: Entropy, longest_retry: timedelta) -> None:
        self._clock, self._entropy = clock, entropy
        self._retry = min(RETRY, longest_retry)
        self._due: dict[str, datetime] = {}
        self._reminded: dict[str, datetime] = {}
        self._hurried = False

    def is_due(self, url: str, checked_at: datetime | None, period: timedelta) -> bool:
        """Is it time to ask `url`, last asked with success at `checked_at`?"""
        if url not in self._due:
            last = (not self._hurried and checked_at) or self._clock.now() - 2 * period
            self._due[url] = last + self.jittered(period)
        now, due = self._clock.now(), self._due[url]
        return now >= due or due > now + 2 * period  # never so far ahead: the clock was put back

    def plan(self, url: str, period: timedelta) -> None:
        """Ask `url` again after about `period`."""
        self._due[url] = self._clock.now() + self.jittered(period)

    def hurry(self) -> None:
        """Everything is due now: a person asked."""
        self._due.clear()
        self._hurried = True

    def jittered(self, period: timedelta) -> timedelta:
        """± 10 %, so that the operators do not all come at once (OP-29)."""
        fraction = int.from_bytes(self._entropy.token_bytes(2), "big") / 65_535
        return period * (0.9 + 0.2 * fraction)

    def failed(self, what: str, url: str, error: Exception, *, usable: bool) -> None:
        """Log and count a failure; ask again soon, and sooner when nothing is usable."""
        reason = error.reason if isinstance(error, ListRefused) else what
        metrics.trust_failures.labels(reason=reason).inc()
        level = logging.WARNING if isinstance(error, FetchFailed) else logging.ERROR
        logger.log(level, "%s not taken", what, extra={"url": url, "reason": str(error)})
        self.plan(url, self._retry if usable else FIRST_RETRY)

    def say(self, level: int, event: str, facts: dict[str, str]) -> None:
        """Log a standing trouble, once an hour."""
        now = self._clock.now()
        if now - self._reminded.get(event, now - REMIND_EVERY) >= REMIND_EVERY:
            self._reminded[event] = now
            logger.log(level, event, extra=facts)
