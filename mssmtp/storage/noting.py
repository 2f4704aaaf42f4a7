"""What happens to letters, noted for the service mail in the commit in which it happens.

One row names a box and a letter. Who is told of it, and of what, is decided when it is taken up
(`notices.py`): a delivery pays for one insert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, insert, or_, select, update

from mssmtp.mail import AccountId, BalId
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import blobs, envelopes, notices, owners, readings, sql
from mssmtp.storage.view import WritingView

EVENTS_KEPT = timedelta(days=2)
"""An event that nobody took up in that time is of no interest any more."""

_NEW_EVENT = sql(
    insert(notices).values(
        {name: bindparam(name) for name in ("kind", "bal", "blob", "at", "due", "expires_at")}
        | {"attempts": 0}
    )
)
NEW_NOTICE = sql(
    insert(notices)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "account", "bal", "blob", "digest", "at", "due", "expires_at")
        }
        | {"attempts": 0}
    )
    .returning(notices.c.id)
)
SEAL_NOTICE = sql(
    update(notices).where(notices.c.id == bindparam("notice")).values(sealed=bindparam("new"))
)
_SENDERS_BOX = sql(
    select(owners.c.bal, blobs.c.envelope)
    .join_from(blobs, envelopes, envelopes.c.id == blobs.c.envelope)
    .join(owners, owners.c.id == envelopes.c.owner)
    .where(blobs.c.number == bindparam("blob"))
    .where(owners.c.bal.is_not(None))
)
_READ_BEFORE = sql(
    select(readings.c.at)
    .where(readings.c.blob == bindparam("blob"))
    .where(readings.c.bal == bindparam("bal"))
    .where(readings.c.kind == bindparam("kind"))
    .where(or_(readings.c.day != bindparam("day"), readings.c.account != bindparam("account")))
    .limit(1)
)


class NoticeNoting(WritingView):
    """What happens to letters, noted in the commit in which it happens, when anybody may be told
    of it (`Vault.tells`)."""

    def _note_letter(
        self, bal: BalId, blob: int, kind: Literal["arrival", "sealing"] = "arrival"
    ) -> None:
        """A letter has come into a box, or was sent from it: one row, which nobody reads before the
        commit."""
        if not self._vault.tells:
            return
        now = self._vault.clock.now()
        self._later(
            _NEW_EVENT,
            kind=kind,
            bal=bal,
            blob=blob,
            at=to_us(now),
            due=to_us(now),
            expires_at=to_us(now + EVENTS_KEPT),
        )

    def note_opening(self, bal: BalId, told: Mapping[str, Any], blob: int | None = None) -> None:
        """A letter sent from `bal` was opened by a recipient; `told` says by whom and when."""
        if not self._vault.tells:
            return
        now = self._vault.clock.now()
        row = self._new(
            NEW_NOTICE,
            kind="opening",
            account=None,
            bal=bal,
            blob=blob,
            digest=None,
            at=to_us(now),
            due=to_us(now),
            expires_at=to_us(now + EVENTS_KEPT),
        )
        sealed = self._master_seal(notice_purpose(row[0]), json.dumps(dict(told)).encode())
        self._run(SEAL_NOTICE, notice=row[0], new=sealed)

    def _note_first_opening(self, bal: BalId, blob: int, seen: tuple[int, AccountId, int]) -> None:
        """Somebody has `seen` (day, who, when) a letter in `bal`: its sender, if of this operator,
        may want to know it the first time (SEED-62)."""
        day, account, at_us = seen
        sender = self._one(_SENDERS_BOX, blob=blob)
        if sender is None or sender[0] == bal:
            return
        if self._one(_READ_BEFORE, blob=blob, bal=bal, kind="lu", day=day, account=account) is None:
            told = {"reader": bal, "at": at_us, "envelope": sender[1]}
            self.note_opening(BalId(sender[0]), told, blob)


def notice_purpose(id: int) -> bytes:
    """What a sealed notice is bound to."""
    return b"notice\0%d" % id
