"""What happens to letters, noted for the service mail in the commit in which it happens.

One row names a box and a letter. Who is told of it, and of what, is decided when it is taken up
(`notices.py`): a delivery pays for one insert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import bindparam, insert, select, update

from mssmtp.mail import BalId, EnvelopeId
from mssmtp.storage.identifiers import made_at_ms
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import blobs, envelopes, notices, owners, sql
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
_SENT_FROM = sql(
    select(owners.c.bal, blobs.c.envelope, blobs.c.id)
    .join_from(blobs, envelopes, envelopes.c.id == blobs.c.envelope)
    .join(owners, owners.c.id == envelopes.c.owner)
    .where(blobs.c.number == bindparam("blob"))
    .where(owners.c.bal.is_not(None))
)


class SentFrom(NamedTuple):
    """The box of this operator that a letter was sent from, and when its content was made."""

    bal: BalId
    envelope: EnvelopeId
    made_at_us: int


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

    def _sent_from(self, blob: int, reader: BalId) -> SentFrom | None:
        """Who sent a letter that is in the box `reader`; None: nobody of here, or itself."""
        found = self._one(_SENT_FROM, blob=blob)
        if found is None or found[0] == reader:
            return None
        return SentFrom(BalId(found[0]), EnvelopeId(found[1]), made_at_ms(found[2]) * 1_000)


def notice_purpose(id: int) -> bytes:
    """What a sealed notice is bound to."""
    return b"notice\0%d" % id
