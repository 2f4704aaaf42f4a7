"""An alarm in the log, once an hour, while the list shows something else for us (OP-35)."""

from __future__ import annotations

import logging
from datetime import datetime

from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.outside import Clock
from mssmtp.own_rows import differences, expected_rows
from mssmtp.trust_feed.schedule import REMIND_EVERY
from mssmtp.whitelist import Whitelist

logger = logging.getLogger(__name__)


class OwnRows:
    """Compares at each new list, and every hour: certificates of ours change too."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._looked: tuple[str, datetime] | None = None

    def look(self, listed: Whitelist | None) -> None:
        """Compare with `listed` if it is time; reads our certificates. Blocks."""
        now = self._clock.now()
        if listed is None or not self._is_due(listed, now):
            return
        self._looked = (listed.sha256, now)
        try:
            rows = expected_rows(self._settings, now)
        except ConfigError as error:
            logger.error(
                "our rows cannot be compared", extra={"what": error.what, "why": error.why}
            )
            return
        for each in differences(self._settings, rows, listed, now):
            facts = {
                "domain": each.domain,
                "column": str(each.column),
                "expected": each.expected,
                "published": each.published,
            }
            logger.error("alarm: the list shows something else for us", extra=facts)

    def _is_due(self, listed: Whitelist, now: datetime) -> bool:
        if self._looked is None or self._looked[0] != listed.sha256:
            return True
        # A clock that was put back says so too, and does not silence the alarm.
        return abs(now - self._looked[1]) >= REMIND_EVERY
