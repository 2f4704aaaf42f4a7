"""A box in which nothing was done for a year is closed, after two warnings (SEED-51, OP-48).

What counts as activity is DEF-24 (`storage/activity.py`). Nobody is closed who was not warned: a
warning counts when the relay has taken it (`notices/courier.py` records it), and the last one
leaves its whole time, however late it went out. One that was refused is written again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mssmtp.config_people import PeopleSettings
from mssmtp.mail import Address, Bal, BalState, Person
from mssmtp.notices import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.people import boxes, telling
from mssmtp.storage import Writing
from mssmtp.storage.activity import INACTIVITY_TOLD, Still

logger = logging.getLogger(__name__)


class Step(StrEnum):
    """What becomes of a box today."""

    NONE = "none"
    WARN = "warn"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a box has been still: since when, how often its holder was warned, when last."""

    since: datetime
    notices: int = 0
    warned_at: datetime | None = None


def next_step(silence: Silence, settings: PeopleSettings, now: datetime) -> Step:
    """Pure. The first warning comes `inactivity_notices[0]` before the end of the year, and so on;
    after each its whole time is left: nobody is closed before a day that was told."""
    end = _end(silence, settings)
    if silence.notices < len(settings.inactivity_notices):
        due = end - settings.inactivity_notices[silence.notices]
        return Step.WARN if now >= due else Step.NONE
    return Step.CLOSE if now >= end else Step.NONE


def _end(silence: Silence, settings: PeopleSettings) -> datetime:
    end = silence.since + settings.inactivity
    told = settings.inactivity_notices[: silence.notices]
    return end if silence.warned_at is None or not told else max(end, silence.warned_at + told[-1])


def closing_day(silence: Silence, settings: PeopleSettings, now: datetime) -> datetime:
    """When the box will be closed, as a warning of today says."""
    left = settings.inactivity_notices[silence.notices]
    return max(_end(silence, settings), now + left)


def settle(writing: Writing, desk: Desk, settings: PeopleSettings, still: Still) -> Step:
    """Warn or close one box. While no service mail goes out nobody is warned, nobody closed; nor is
    a box that nobody can be told of."""
    box = writing.bal_by_id(still.bal)
    since = writing.last_activity(still.bal)
    if box is None or box.state is not BalState.ACTIVE or not desk.works(writing):
        return Step.NONE
    told = writing.records("bal", box.id).get(INACTIVITY_TOLD)
    warned_at = None if told is None or told.at < since else told.at
    silence = Silence(since, still.notices if warned_at else 0, warned_at)
    step = next_step(silence, settings, writing.now())
    is_waiting = writing.notice_waits(Kind.INACTIVITY, box.id)
    if step is Step.WARN and (is_waiting or not _warn(writing, desk, settings, box, silence)):
        step = Step.NONE
    elif step is Step.CLOSE:
        boxes.close(writing, box)
        writing.trace("account", "mssmtp", "close: a year without activity", bal=box.id)
    return step


def _warn(
    writing: Writing, desk: Desk, settings: PeopleSettings, box: Bal, silence: Silence
) -> bool:
    """False: there is nobody to warn."""
    reached = [to for to in telling.holders(writing, box) if not desk.is_ours(_address(to))]
    if not reached:
        logger.warning("a still box has nobody to be warned", extra={"bal": box.id})
        return False
    now = writing.now()
    day = closing_day(silence, settings, now)
    values = {
        "box": str(box.address),
        "date": f"{day:%d/%m/%Y}",
        "days": str((day - now).days),
        "link": desk.link("compte"),
    }
    for to in reached:
        desk.tell(writing, Kind.INACTIVITY, to, values, bal=box.id)
    return True


def _address(to: Person | Address) -> Address:
    return to.usual_address if isinstance(to, Person) else to


def keep(writing: Writing, box: Bal) -> None:
    """The holder objects, or has logged in to the portal: the year begins again (OP-48)."""
    writing.note_activity(box.id, writing.now())
