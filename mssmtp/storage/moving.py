"""Copying and moving messages between mailboxes, of one box or of two."""

from __future__ import annotations

from collections.abc import Sequence

from mssmtp.mail import ALL_RIGHTS, BalId, MailboxId, Uid
from mssmtp.storage.messages import MessageWriting
from mssmtp.storage.view import Row


class MovingWriting(MessageWriting):
    """COPY and MOVE of one commit; `copying` puts several together."""

    def copy(
        self, source: MailboxId, uids: Sequence[Uid], target: MailboxId, rights: str = ALL_RIGHTS
    ) -> list[tuple[Uid, Uid]]:
        """Copy; pairs (old UID, new UID) in order. Vanished UIDs are left out (GEN-10), and flags
        that may not be set in the target with `rights`. Raises OverQuota."""
        rows = self._full_rows(source, uids)
        here, there = self._bal_of(source), self._bal_of(target)
        self._demand_room_for(rows, there)
        self._share_all(rows, here, there)
        return self._copy_rows(source, rows, target, rights)

    def move(
        self, source: MailboxId, uids: Sequence[Uid], target: MailboxId, rights: str = ALL_RIGHTS
    ) -> list[tuple[Uid, Uid]]:
        """Copy and expunge as one (RFC 6851); pairs (old UID, new UID). Raises OverQuota.

        Within a BAL as many messages refer to a letter as before.
        """
        rows = self._full_rows(source, uids)
        here, there = self._bal_of(source), self._bal_of(target)
        if here != there:
            self._demand_room_for(rows, there)
            self._share_all(rows, here, there)
        pairs = self._copy_rows(source, rows, target, rights)
        if rows:
            self._remove(source, rows)
        if here != there:
            owner = self._bal_key(here).id
            for row in rows:
                self._release(row[4], owner)
        return pairs

    def _share_all(self, rows: Sequence[Row], here: BalId, there: BalId) -> None:
        source, target = self._bal_key(here), self._bal_key(there)
        for row in rows:
            self._share(row[4], source, target)

    def _demand_room_for(self, rows: Sequence[Row], bal: BalId) -> None:
        self.demand_room(bal, sum(row[2] for row in rows), len(rows))

    def _copy_rows(
        self, source: MailboxId, rows: Sequence[Row], target: MailboxId, rights: str
    ) -> list[tuple[Uid, Uid]]:
        """Rows of letters that the BAL of `target` can open."""
        if not rows:
            return []
        translate = self._flag_translation(source, target, rights)
        made = self._add_messages(target, [(translate(row[1]), *row[2:]) for row in rows])
        return [(Uid(row[0]), Uid(uid)) for row, uid in zip(rows, made, strict=True)]
