"""Suspending a domain, a certificate or an account, and undoing it (OP-79).

A command writes a row; every worker looks at the rows every few seconds and judges by them: open
sessions feel it at their next command, the queue at its next attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from mssmtp.awaiting import awaited
from mssmtp.errors import MailError, Reply
from mssmtp.mail import AccountId, BalState, Domain
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.suspensions import SuspendedKind, Suspension
from mssmtp.trust import Suspended, Trust

EVERY_S = 5.0
"""Together with the second after which a session asks about itself: far below a minute."""

logger = logging.getLogger(__name__)


class NotSuspended(MailError):
    """There is no such suspension to end."""

    smtp = Reply(
        550, "5.7.1", "Rien de tel n'est suspendu ; `mssmtp suspend list` dit ce qui l'est."
    )
    imap = "NONEXISTENT"


def suspend(writing: Writing, new: Suspension) -> None:
    """From this commit on. An account loses its login and its own box (OP-50); a second time
    changes the reason alone."""
    before = _found(writing, new.kind, new.name)
    if before is not None:
        writing.put_suspension(replace(before, by=new.by, reason=new.reason))
        return
    if new.kind == "account":
        account = AccountId(int(new.name))
        login = writing.account_login(account)
        found = None if login is None else writing.account(login)
        new = replace(new, was_active=found is None or found.active)
        writing.set_account_active(account, active=False)
        own = writing.box_of(account)
        if own is not None and own.state is BalState.ACTIVE:
            writing.set_bal_state(own.id, BalState.SUSPENDED)
            new = replace(new, boxes=(own.id,))
    writing.put_suspension(new)


def resume(writing: Writing, kind: SuspendedKind, name: str) -> None:
    """As it was before, but for boxes that were closed and accounts that others have stopped
    meanwhile. Raises NotSuspended."""
    before = _found(writing, kind, name)
    if before is None:
        raise NotSuspended
    writing.drop_suspension(kind, name)
    if before.is_shared:
        return
    if kind == "account" and before.was_active:
        writing.set_account_active(AccountId(int(name)), active=True)
    for bal in before.boxes:
        box = writing.bal_by_id(bal)
        if box is not None and box.state is BalState.SUSPENDED:
            writing.set_bal_state(bal, BalState.ACTIVE)


def _found(reading: Reading, kind: SuspendedKind, name: str) -> Suspension | None:
    found = reading.suspensions()
    return next((each for each in found if (each.kind, each.name) == (kind, name)), None)


def in_force(reading: Reading) -> Suspended:
    """Everything suspended, as the doors and the relay look at it."""
    found = reading.suspensions()
    return Suspended(
        frozenset(Domain(each.name) for each in found if each.kind == "domain"),
        frozenset(bytes.fromhex(each.name) for each in found if each.kind == "certificate"),
        frozenset(bal for each in found for bal in each.boxes),
    )


class SuspensionWatch:
    """One per worker: what is suspended reaches its doors and its relay. `changed` is called then,
    for sessions that wait and ask nothing."""

    def __init__(self, store: Store, trust: Trust, changed: Callable[[], None]) -> None:
        self._store, self._trust, self._changed = store, trust, changed

    async def look(self) -> None:
        """Take what is in force now; what the store does not tell stays as it was."""
        try:
            found = await awaited(self._store.read(in_force))
        except MailError as error:
            logger.warning("suspensions not read", extra={"kind": type(error).__name__})
            return
        if found != self._trust.suspended:
            self._trust.suspended = found
            logger.info("suspensions have changed", extra={"domains": sorted(found.domains)})
            self._changed()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)
