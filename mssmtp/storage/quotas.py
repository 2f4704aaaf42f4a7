"""Room of a box (RFC 9208 3): what it may hold and what it holds, in octets and in messages."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update

from mssmtp.errors import MailError
from mssmtp.mail import BalId, MailboxId
from mssmtp.storage.model import NoSuchBal, NoSuchMailbox
from mssmtp.storage.schema import bals, mailboxes, sql
from mssmtp.storage.view import Row, View, WritingView

_LIMITS = sql(
    select(bals.c.quota_octets, bals.c.quota_messages).where(bals.c.id == bindparam("bal"))
)
_HERE = mailboxes.alias("here")
_USED_OF = select(
    bals.c.quota_octets,
    bals.c.quota_messages,
    func.coalesce(func.sum(mailboxes.c.size), 0),
    func.coalesce(func.sum(mailboxes.c.messages), 0),
    bals.c.id,
).group_by(bals.c.id)
_ROOM = sql(
    _USED_OF.join_from(bals, mailboxes, mailboxes.c.bal == bals.c.id, isouter=True).where(
        bals.c.id == bindparam("bal")
    )
)
_ROOM_AROUND = sql(
    _USED_OF.join_from(_HERE, bals, bals.c.id == _HERE.c.bal)
    .join(mailboxes, mailboxes.c.bal == bals.c.id)
    .where(_HERE.c.id == bindparam("mailbox"))
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
        row = self._one(_ROOM, bal=bal)
        if row is None:
            raise NoSuchBal
        return self._room_of(row)

    def _room_of(self, row: Row) -> Room:
        most_octets, most_messages, octets, messages, _ = row
        if most_octets is None:
            most_octets = self._vault.quota_octets
        return Room(int(octets), int(messages), most_octets or None, most_messages or None)

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

    def _demand_room_around(self, mailbox: MailboxId, octets: int, messages: int) -> BalId:
        """As `demand_room` for the box of `mailbox`; which it is. Raises NoSuchMailbox too."""
        row = self._one(_ROOM_AROUND, mailbox=mailbox)
        if row is None:
            raise NoSuchMailbox
        if not self._room_of(row).takes(octets, messages):
            raise OverQuota
        return BalId(row[4])


class QuotaWriting(QuotaReading, WritingView):
    """Setting limits."""

    def set_quota(self, bal: BalId, octets: int | None, messages: int | None) -> None:
        """None: as the settings say; 0: no limit. Raises NoSuchBal."""
        if not self._run(_SET, bal=bal, octets=octets, messages=messages):
            raise NoSuchBal


def _beyond(number: int, most: int | None) -> bool:
    return most is not None and number > most
