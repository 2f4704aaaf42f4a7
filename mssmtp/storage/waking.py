"""Telling sessions that wait and ask nothing that what let them in may have ended (SEC-06)."""

from __future__ import annotations

from sqlalchemy import bindparam, select, union

from mssmtp.mail import AccountId, BalId
from mssmtp.storage.schema import accounts, delegations, members, sql
from mssmtp.storage.view import WritingView

_OPENED = sql(
    union(
        select(accounts.c.bal)
        .where(accounts.c.id == bindparam("account"))
        .where(accounts.c.bal.is_not(None)),
        select(members.c.bal).where(members.c.account == bindparam("account")),
        select(delegations.c.bal)
        .where(delegations.c.account == bindparam("account"))
        .where(delegations.c.ended_at.is_(None)),
    )
)


class WakingWriting(WritingView):
    """By a change of the whole box, which is of no mailbox."""

    def _login_changed(self, account: AccountId) -> None:
        """Sessions that wait in any box that the account opens ask whether they still may: nobody
        idles on with a password that was taken away (SEC-06, ATT-18)."""
        for (bal,) in self._all(_OPENED, account=account):
            self._box_changed(BalId(bal))
