"""Room of a box (RFC 9208 3): what it may hold and what it holds, in octets and in messages."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update

from mssmtp.errors import MailError
from mssmtp.mail import BalId
from mssmtp.storage.model import NoSuchBal
from mssmtp.storage.schema import bals, mailboxes, sql
from mssmtp.storage.view import View, WritingView

_LIMITS = sql(
    select(bals.c.quota_octets, bals.c.quota_messages).where(bals.c.id == bindparam("bal"))
)
_USED = sql(
    select(
        func.coalesce(func.sum(mailboxes.c.size), 0),
        func.coalesce(func.sum(mailboxes.c.messages), 0),
    ).where(mailboxes.c.bal == bindparam("bal"))
)
_SET = sql(
    update(bals)
    .where(bals.c.id == bindparam("bal"))
    .values(quota_octets=bindparam("octets"), quota_messages=bindparam("messages"))
)


class OverQuota(MailError):
    """Storing this would exceed what the box may hold (RFC 5530, RFC 9208 4.3.1).

    A delivery never meets it: the policy refuses the recipient before.
    """

    imap = "OVERQUOTA"


@dataclass(frozen=True, slots=True)
class Room:
    """Limits that are None do not exist."""

    octets: int
    messages: int
    most_octets: int | None
    most_messages: int | None

    def takes(self, octets: int, messages: int) -> bool:
        """Whether that much more fits in."""
        return not _beyond(self.octets + octets, self.most_octets) and not _beyond(
            self.messages + messages, self.most_messages
        )


class QuotaReading(View):
    """Looking at room."""

    def room(self, bal: BalId) -> Room:
        """What a box holds and may hold. Raises NoSuchBal."""
        limits = self._apart(_LIMITS, bal=bal)
        used = self._apart(_USED, bal=bal)
        if limits is None or used is None:
            raise NoSuchBal
        default = self._vault.quota_octets
        most_octets = default if limits[0] is None else limits[0]
        return Room(int(used[0]), int(used[1]), most_octets or None, limits[1] or None)

    def quota(self, bal: BalId) -> tuple[int | None, int | None]:
        """Octets and messages as they were set for this box. Raises NoSuchBal."""
        row = self._one(_LIMITS, bal=bal)
        if row is None:
            raise NoSuchBal
        return row[0], row[1]

    def demand_room(self, bal: BalId, octets: int, messages: int) -> None:
        """Raises OverQuota, NoSuchBal."""
        if not self.room(bal).takes(octets, messages):
            raise OverQuota


class QuotaWriting(QuotaReading, WritingView):
    """Setting limits."""

    def set_quota(self, bal: BalId, octets: int | None, messages: int | None) -> None:
        """None: as the settings say; 0: no limit. Raises NoSuchBal."""
        if not self._run(_SET, bal=bal, octets=octets, messages=messages):
            raise NoSuchBal


def _beyond(number: int, most: int | None) -> bool:
    return most is not None and number > most
