"""What happens to people every day: still boxes, the weekly question, boxes whose time is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from mssmtp.config_people import PeopleSettings
from mssmtp.mail import BalId, PersonId
from mssmtp.notices import Desk
from mssmtp.people import inactivity, rechecking
from mssmtp.people.inactivity import Step
from mssmtp.people.register import Register, Standing
from mssmtp.storage import Store

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Rows of one look; each box and person is a commit of its own, beside everybody's mail."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one run did."""

    warned: int = 0
    closed: int = 0
    checked: int = 0
    suspended: int = 0
    destroyed: int = 0


@dataclass(frozen=True, slots=True)
class Daily:
    """One run through everybody. It may be repeated at any time: what is done is not done again."""

    store: Store
    settings: PeopleSettings
    desk: Desk
    register: Register

    def run(self, now: datetime) -> Done:
        """All of it; blocks, so not on an event loop."""
        warned, closed = self._still(now)
        checked, suspended = self._recheck(now)
        done = Done(warned, closed, checked, suspended, self._destroy(now))
        if done != Done():
            logger.info("people", extra={name: getattr(done, name) for name in Done.__slots__})
        return done

    def _still(self, now: datetime) -> tuple[int, int]:
        first = max(self.settings.inactivity_notices, default=None)
        before = now - self.settings.inactivity + (first or self.settings.inactivity * 0)
        after, steps = BalId(0), [0, 0]
        while found := self.store.read(
            lambda r, a=after: r.still_boxes(before, a, AT_ONCE)  # type: ignore[misc]
        ).result():
            for still in found:
                step = self.store.write(
                    lambda w, s=still: inactivity.settle(w, self.desk, self.settings, s)  # type: ignore[misc]
                ).result()
                steps[0] += step is Step.WARN
                steps[1] += step is Step.CLOSE
            after = found[-1].bal
        return steps[0], steps[1]

    def _recheck(self, now: datetime) -> tuple[int, int]:
        before = now - self.settings.register_every
        after, counts = PersonId(0), [0, 0]
        while found := self.store.read(
            lambda r, a=after: r.persons_to_check(before, a, AT_ONCE)  # type: ignore[misc]
        ).result():
            for person in found:
                standing = self.store.write(
                    lambda w, p=person: rechecking.recheck(w, self.desk, self.register, p)  # type: ignore[misc]
                ).result()
                counts[0] += 1
                counts[1] += standing in (Standing.CLOSED, Standing.OTHER)
            after = found[-1].id
        return counts[0], counts[1]

    def _destroy(self, now: datetime) -> int:
        """Mail of boxes that were closed long enough ago (OP-49); the proofs stay."""
        count = 0
        while found := self.store.read(
            lambda r: r.closed_boxes(now - self.settings.retention, AT_ONCE)
        ).result():
            for bal in found:
                self.store.shred_bal(bal, "retention of a closed box is over")
                count += 1
        return count
