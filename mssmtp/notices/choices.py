"""Who wants to be told of what (SEED-47): the notification table of a box or of one of its members.

Codes, links, delegations, emergency access and the end of a box are always told: they protect the
holder. What happens to letters is a choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Literal, Self

from mssmtp.errors import Damaged
from mssmtp.mail import AccountId, Bal, BalType, Role
from mssmtp.storage import NoSuchBal, Reading, Writing

_KIND = "notifications"


class Pace(StrEnum):
    """When: at each letter, together once an hour, together once a day, never."""

    AT_ONCE = "at-once"
    HOURLY = "hourly"
    DAILY = "daily"
    NEVER = "never"


EVENTS = ("arrival", "opening", "sealing")
"""What of letters one may be told of: one has come (SEED-61), one that was sent was opened
(SEED-62), one was sent."""


@dataclass(frozen=True, slots=True)
class Choices:
    """One line of the table. Of openings and sealings each is told by itself, or none."""

    arrival: Pace = Pace.AT_ONCE
    opening: Pace = Pace.AT_ONCE
    sealing: Pace = Pace.NEVER

    @classmethod
    def usual(cls, bal: Bal, role: Role | None = None) -> Self:
        """What who has chosen nothing gets. Mail of software is nobody's to be told of; members
        who treat the mail of an ORG box are told together, so that twenty colleagues do not get a
        mail each for every letter."""
        if bal.type is BalType.APP or role is Role.LECTEUR:
            return cls(Pace.NEVER, Pace.NEVER)
        return cls() if role is None else cls(Pace.HOURLY, Pace.NEVER)

    def changed(self, wishes: Mapping[str, Pace]) -> Self:
        """With `wishes` in the place of some. Raises ValueError for what cannot be chosen."""
        for event, pace in wishes.items():
            if event not in EVENTS:
                raise ValueError(f"« {event} » n'est pas un événement")
            if event != "arrival" and pace not in (Pace.AT_ONCE, Pace.NEVER):
                raise ValueError(f"« {event} » se dit aussitôt (at-once) ou jamais (never)")
        return replace(self, **wishes)

    def table(self) -> dict[str, str]:
        """Event -> pace."""
        return {event: pace.value for event, pace in asdict(self).items()}


def of_box(reading: Reading | Writing, bal: Bal) -> Choices:
    """What the holder of a box chose; of an ORG box: for the usual address of its own, if any."""
    return _with(Choices.usual(bal), _chosen(reading, "bal", bal.id))


def of_member(reading: Reading | Writing, account: AccountId, role: Role, bal: Bal) -> Choices:
    """What a member chose for an ORG box."""
    chosen = _stored(_chosen(reading, "account", account)).get(str(bal.id))
    return _with(Choices.usual(bal, role), json.dumps(chosen or {}).encode())


def choose_for_box(writing: Writing, bal: Bal, wishes: Mapping[str, Pace]) -> Choices:
    """The holder's choice. Raises ValueError."""
    choices = of_box(writing, bal).changed(wishes)
    writing.prefer("bal", bal.id, _KIND, json.dumps(choices.table()).encode())
    return choices


def choose_for_member(
    writing: Writing, account: AccountId, bal: Bal, wishes: Mapping[str, Pace]
) -> Choices:
    """A member's choice for an ORG box. Raises ValueError, NoSuchBal for a stranger."""
    role = writing.role(account, bal.id)
    if role is None:
        raise NoSuchBal
    choices = of_member(writing, account, role, bal).changed(wishes)
    stored = _stored(_chosen(writing, "account", account))
    stored[str(bal.id)] = choices.table()
    writing.prefer("account", account, _KIND, json.dumps(stored).encode())
    return choices


def _chosen(reading: Reading | Writing, subject: Literal["bal", "account"], id: int) -> bytes:
    """What is damaged was not chosen: people are told as usual (D10)."""
    try:
        return reading.preference(subject, id, _KIND) or b""
    except Damaged:
        return b""


def _stored(octets: bytes) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(octets) if octets else {}
    return found


def _with(usual: Choices, octets: bytes) -> Choices:
    if not octets:
        return usual
    found: dict[str, str] = json.loads(octets)
    return usual.changed({event: Pace(found[event]) for event in EVENTS if event in found})
