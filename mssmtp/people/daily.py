"""What happens to people every day: still boxes, the weekly question, boxes whose time is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from mssmtp.config_people import PeopleSettings
from mssmtp.mail import BalId, PersonId
from mssmtp.notices import Desk
from mssmtp.people import boxes, inactivity, parts, rechecking
from mssmtp.people.inactivity import Step
from mssmtp.people.register import Register, Standing
from mssmtp.storage import Reading, Store

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Rows of one look; each box and person is a job of its own, beside everybody's mail, and those of
one look wait for the disk together."""
_OVER = "retention of a closed box is over"


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
        self._finish_reviews()
        warned, closed = self._still(now)
        checked, suspended = self._recheck(now)
        done = Done(warned, closed, checked, suspended, self._destroy(now))
        if done != Done():
            logger.info("people", extra={name: getattr(done, name) for name in Done.__slots__})
        return done

    def _finish_reviews(self) -> None:
        """Boxes whose structure has declared everything, and which a crash has left waiting."""
        for begun in self.store.read(boxes.unreviewed).result():
            boxes.finish_review(self.store, begun)

    def _still(self, now: datetime) -> tuple[int, int]:
        first = max(self.settings.inactivity_notices, default=None)
        before = now - self.settings.inactivity + (first or self.settings.inactivity * 0)
        after, steps = BalId(0), [0, 0]
        while found := self.store.read(
            partial(Reading.still_boxes, before=before, after=after, most=AT_ONCE)
        ).result():
            settle = partial(inactivity.settle, desk=self.desk, settings=self.settings)
            begun = [self.store.write(partial(settle, still=still)) for still in found]
            settled = [each.result() for each in begun]
            steps[0] += settled.count(Step.WARN)
            steps[1] += settled.count(Step.CLOSE)
            after = found[-1].bal
        return steps[0], steps[1]

    def _recheck(self, now: datetime) -> tuple[int, int]:
        before = now - self.settings.register_every
        after, counts = PersonId(0), [0, 0]
        while found := self.store.read(
            partial(Reading.persons_to_check, before=before, after=after, most=AT_ONCE)
        ).result():
            recheck = partial(rechecking.recheck, desk=self.desk, register=self.register)
            begun = [self.store.write(partial(recheck, person=person)) for person in found]
            standings = [each.result() for each in begun]
            counts[0] += len(standings)
            counts[1] += standings.count(Standing.CLOSED) + standings.count(Standing.OTHER)
            after = found[-1].id
        return counts[0], counts[1]

    def _destroy(self, now: datetime) -> int:
        """Mail of boxes that were closed long enough ago (OP-49); the proofs stay, and whom they
        name (SEED-66)."""
        count = 0
        for bal in self.store.read(lambda r: r.half_removed()).result():  # a crash has left it
            self.store.remove_bal(bal, _OVER)
        while found := self.store.read(
            lambda r: r.closed_boxes(now - self.settings.retention, AT_ONCE)
        ).result():
            for bal in found:
                self.store.write(partial(parts.go_on, closed=bal)).result()
                self.store.remove_bal(bal, _OVER)
                count += 1
        return count
