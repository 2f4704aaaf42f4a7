"""Bugs to be found: each is planted in the processes of a soak, never anywhere else.

They are what goes wrong in stores: a number taken outside the transaction, a snapshot that is two,
an answer before the commit, a change that is never told, a UID given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, select

from mssmtp.mail import MailboxId
from mssmtp.storage import Reading, Store, leasing, waiting
from mssmtp.storage.changes import Follower
from mssmtp.storage.committer import Committer
from mssmtp.storage.mailboxes import MailboxWriting
from mssmtp.storage.messages import MessageWriting
from mssmtp.storage.schema import changes, expunged, mailboxes, messages, queue, sql
from mssmtp.storage.view import Row

PLANTS: dict[str, Callable[[], None]] = {}

_HIGHEST = sql(
    select(mailboxes.c.highest_modseq, mailboxes.c.bal).where(mailboxes.c.id == bindparam("id"))
)
_SET_HIGHEST = sql(
    mailboxes.update()
    .where(mailboxes.c.id == bindparam("mailbox_"))
    .values(highest_modseq=bindparam("new"))
)
_TOP_UID = sql(
    select(func.coalesce(func.max(messages.c.uid), 0)).where(
        messages.c.mailbox == bindparam("mailbox")
    )
)
_SET_NEXT = sql(
    mailboxes.update()
    .where(mailboxes.c.id == bindparam("mailbox_"))
    .values(uid_next=bindparam("new"))
)
_UNBURY = sql(
    expunged.delete()
    .where(expunged.c.mailbox == bindparam("mailbox"))
    .where(expunged.c.uid == bindparam("uid"))
)
_LAST_CHANGE = sql(select(func.coalesce(func.max(changes.c.number), 0)))
_DUE_TO_ANYBODY = sql(
    waiting.ROW.where(queue.c.held.is_(False))
    .where(queue.c.next_attempt <= bindparam("now"))
    .order_by(queue.c.next_attempt, queue.c.envelope, queue.c.position)
    .limit(bindparam("most"))
)


def plant(name: str) -> None:
    """Make this process buggy."""
    PLANTS[name]()


def _planted(function: Callable[[], None]) -> Callable[[], None]:
    PLANTS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def _patch(owner: Any, name: str, value: object) -> None:
    setattr(owner, name, value)


@_planted
def _modseq_counted_outside_the_transaction() -> None:
    stores: list[Store] = []
    opened = Store.__init__

    def opening(self: Store, *settings: Any, **more: Any) -> None:
        stores.append(self)
        opened(self, *settings, **more)

    def bump(self: Any, mailbox: MailboxId) -> Any:
        row = stores[-1].read(lambda r: r._one(_HIGHEST, id=mailbox)).result()
        if row is None or self._one(_HIGHEST, id=mailbox) is None:
            return bumped(self, mailbox)
        self._run(_SET_HIGHEST, mailbox_=mailbox, new=row[0] + 1)
        return row[0] + 1, row[1]

    bumped: Any = MailboxWriting._bump
    _patch(Store, "__init__", opening)
    _patch(MailboxWriting, "_bump", bump)


@_planted
def _snapshot_of_two_commits() -> None:
    def run_query(self: Any, query: Callable[[Reading], Any]) -> Any:
        return query(Reading(self._reading_connection(), self._vault))

    _patch(Store, "_run_query", run_query)


@_planted
def _uid_used_again_after_the_last_message_went() -> None:
    def remove(self: Any, mailbox: MailboxId, rows: Sequence[Row]) -> None:
        removed(self, mailbox, rows)
        top = self._one(_TOP_UID, mailbox=mailbox)[0]
        self._run(_SET_NEXT, mailbox_=mailbox, new=top + 1)

    removed: Any = MessageWriting._remove
    _patch(MessageWriting, "_remove", remove)


@_planted
def _answer_before_the_commit() -> None:
    def run(self: Any, one: Any, done: list[Any], rows: Any, **how: Any) -> None:
        ran(self, one, done, rows, **how)
        if done and done[-1].answer is one.answer:
            one.answer.give(done[-1].result)

    ran: Any = Committer._run
    _patch(Committer, "_run", run)


@_planted
def _refusal_before_the_commit() -> None:
    def run(self: Any, one: Any, done: list[Any], rows: Any, **how: Any) -> None:
        ran(self, one, done, rows, **how)
        if one.raised is not None:
            self._fail([one], one.raised)
            one.raised = None

    ran: Any = Committer._run
    _patch(Committer, "_run", run)


@_planted
def _failed_job_leaves_what_it_wrote() -> None:
    class Forgetful:
        """A connection that undoes nothing."""

        def __init__(self, db: Any) -> None:
            self._db = db

        def execute(self, statement: str, *values: Any) -> Any:
            if statement != "ROLLBACK TO job":
                return self._db.execute(statement, *values)
            return None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._db, name)

    def transaction(self: Any, waiting: Any, **how: Any) -> Any:
        if not isinstance(self._db, Forgetful):
            self._db = Forgetful(self._db)
        return transacted(self, waiting, **how)

    transacted: Any = Committer._transaction
    _patch(Committer, "_transaction", transaction)


@_planted
def _change_lost_between_two_looks() -> None:
    def new_changes(self: Any) -> Any:
        found = looked(self)
        self._last = self._db.execute(_LAST_CHANGE).fetchone()[0]
        return found

    looked: Any = Follower._new_changes
    _patch(Follower, "_new_changes", new_changes)


@_planted
def _change_of_a_failed_job_is_told() -> None:
    def run(self: Any, one: Any, done: list[Any], rows: Any, **how: Any) -> None:
        made: list[Any] = []
        view = self._view

        def remembered(rows: Any) -> Any:
            made.append(view(rows))
            return made[-1]

        self._view = remembered
        try:
            ran(self, one, done, rows, **how)
        finally:
            self._view = view
        if one.raised is not None and done:
            done[-1].effects.changes += made[-1].effects.changes

    ran: Any = Committer._run
    _patch(Committer, "_run", run)


@_planted
def _recipient_leased_twice() -> None:
    _patch(leasing, "_DUE", _DUE_TO_ANYBODY)


@_planted
def _expunge_forgets_the_tombstone() -> None:
    def remove(self: Any, mailbox: MailboxId, rows: Sequence[Row]) -> None:
        removed(self, mailbox, rows)
        if len(rows) > 1:
            self._run(_UNBURY, mailbox=mailbox, uid=rows[0][0])

    removed: Any = MessageWriting._remove
    _patch(MessageWriting, "_remove", remove)
