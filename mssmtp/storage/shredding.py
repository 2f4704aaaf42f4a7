"""Removing a box for ever: its mail when its time is over (OP-49), or its key with it.

Of a box that is removed the content of every letter is destroyed with its keys, batch by batch; its
proofs stay, and can be opened. Of one that is shredded the key of the box goes first, and from that
commit on nobody can read it, nor its part of the proofs, whatever copies of its rows exist
elsewhere; the ledger keeps its chain: ids, times and digests, not who. Both go on when called
again. Traces of what people did stay as long as they must (OP-73). Whoever else has a copy of a
letter keeps it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update

from mssmtp.mail import BalId, EnvelopeId, MailboxId
from mssmtp.storage.invited import InvitedWriting
from mssmtp.storage.model import NoSuchBal
from mssmtp.storage.schema import (
    accounts,
    acl,
    answered,
    app_passwords,
    bals,
    bindings,
    correspondents,
    delegations,
    entries,
    envelopes,
    event_lines,
    facts,
    mailboxes,
    members,
    messages,
    notices,
    owners,
    passwords,
    persons,
    preferences,
    queue,
    readings,
    scripts,
    secrets,
    sent,
    sent_copies,
    sql,
    subscriptions,
    suspensions,
)
from mssmtp.storage.view import View

AT_ONCE = 256

_SHRED = sql(
    update(owners)
    .where(owners.c.bal == bindparam("bal_"))
    .values(wrapped=bindparam("nothing"), mark=bindparam("nothing"), older=None)
)
_WAITING = sql(
    select(queue.c.envelope)
    .join_from(queue, envelopes, envelopes.c.id == queue.c.envelope)
    .where(envelopes.c.owner == bindparam("owner"))
    .distinct()
)
_ACCOUNTS = sql(select(accounts.c.id).where(accounts.c.bal == bindparam("bal")))
_OF_ACCOUNT = tuple(
    sql(delete(table).where(column == bindparam("account")))
    for table, column in (
        (app_passwords, app_passwords.c.account),
        (members, members.c.account),
        (delegations, delegations.c.account),
        (acl, acl.c.account),
        (entries, entries.c.account),
        (notices, notices.c.account),
        (persons, persons.c.account),
        (bindings, bindings.c.account),
        (passwords, passwords.c.account),
        (secrets, secrets.c.subject),
        (accounts, accounts.c.id),
    )
)
_OF_BAL = tuple(
    sql(delete(table).where(column == bindparam("bal")))
    for table, column in (
        (members, members.c.bal),
        (delegations, delegations.c.bal),
        (correspondents, correspondents.c.bal),
        (subscriptions, subscriptions.c.bal),
        (entries, entries.c.bal),
        (readings, readings.c.bal),
        (scripts, scripts.c.bal),
        (answered, answered.c.bal),
        (app_passwords, app_passwords.c.bal),
        (bindings, bindings.c.bal),
        (notices, notices.c.bal),
        (bals, bals.c.id),
    )
)
_PREFERENCES = sql(
    delete(preferences)
    .where(preferences.c.subject == bindparam("subject"))
    .where(preferences.c.id == bindparam("id"))
)
_SUSPENSION = sql(
    delete(suspensions)
    .where(suspensions.c.kind == bindparam("kind"))
    .where(suspensions.c.name == bindparam("name"))
)
_OF_OWNER = tuple(
    sql(delete(table).where(table.c.owner == bindparam("owner"))) for table in (facts, sent)
)
_LINES = sql(delete(event_lines).where(event_lines.c.owner == bindparam("owner")))
_HALF_REMOVED = sql(
    select(mailboxes.c.bal)
    .distinct()
    .join_from(mailboxes, bals, bals.c.id == mailboxes.c.bal, isouter=True)
    .where(bals.c.id.is_(None))
    .order_by(mailboxes.c.bal)
)
_A_MAILBOX = sql(
    select(mailboxes.c.id)
    .where(mailboxes.c.bal == bindparam("bal"))
    .order_by(mailboxes.c.id)
    .limit(1)
)
_SOME = sql(
    select(
        messages.c.uid,
        messages.c.modseq,
        messages.c.flags,
        messages.c.size,
        messages.c.internal_date,
        messages.c.blob,
    )
    .where(messages.c.mailbox == bindparam("mailbox"))
    .order_by(messages.c.uid)
    .limit(bindparam("most"))
)
_DROP_MAILBOX = sql(delete(mailboxes).where(mailboxes.c.id == bindparam("mailbox")))
_DROP_COPIES = sql(delete(sent_copies).where(sent_copies.c.mailbox == bindparam("mailbox")))


class ShredReading(View):
    """What a crash has left undone."""

    def half_removed(self) -> list[BalId]:
        """Boxes that are gone, and of whose mail something is left."""
        return [BalId(row[0]) for row in self._all(_HALF_REMOVED)]


class ShredWriting(InvitedWriting):
    """Making a box unreadable for ever."""

    def shred_key(self, bal: BalId, reason: str) -> None:
        """Remove a box and destroy its key: what its proofs say of people is lost with it.

        Nothing happens when it is shredded already. Raises NoSuchBal.
        """
        if (owner := self._owner_id(bal)) is None:
            raise NoSuchBal
        if not self._marks[owner].mark:
            return
        self.remove_box(bal, reason)
        self._run(_SHRED, bal_=bal, nothing=b"")
        self._run(_LINES, owner=owner)

    def remove_box(self, bal: BalId, reason: str) -> None:
        """A box, with the accounts of its people; letters that wait are dropped, and its mailboxes
        are for `tidy_shredded`. Its proofs stay, and the key that opens them (SEED-66, OP-49).

        Its address is given to nobody again (OP-51). Raises NoSuchBal.
        """
        if (owner := self._owner_id(bal)) is None:
            raise NoSuchBal
        for (envelope,) in self._all(_WAITING, owner=owner):
            self.drop(EnvelopeId(envelope), reason)
        self._drop_all_invited(owner, reason)
        for (account,) in self._all(_ACCOUNTS, bal=bal):
            self._forget_account(account)
        if (gone := self.bal_by_id(bal)) is not None:
            self._retire(gone.address)
        for statement in _OF_BAL:
            self._run(statement, bal=bal)
        self._run(_PREFERENCES, subject="bal", id=bal)
        for statement in _OF_OWNER:
            self._run(statement, owner=owner)
        self.effects.first.append(self._vault.lately.changed)

    def _forget_account(self, account: int) -> None:
        """With the person whose it is, and what that person has left in the boxes of others."""
        for statement in _OF_ACCOUNT:
            self._run(statement, account=account)
        self._run(_PREFERENCES, subject="account", id=account)
        self._run(_SUSPENSION, kind="account", name=str(account))

    def tidy_shredded(self, bal: BalId) -> bool:
        """Remove some of what cannot be opened any more; False when nothing is left."""
        row = self._one(_A_MAILBOX, bal=bal)
        owner = self._owner_id(bal)
        if row is None or owner is None:
            return False
        mailbox = MailboxId(row[0])
        rows = self._without_modseqs(mailbox, self._all(_SOME, mailbox=mailbox, most=AT_ONCE))
        if rows:
            self._remove(mailbox, rows)
            for one in rows:
                envelope = self._envelope_of(one[4])
                if self._release(one[4], owner) and envelope is not None:
                    self._event("suppression", envelope, (), (), size=one[2])
        else:
            self._empty(mailbox)
            self._forget_rights(mailbox)
            self._run(_DROP_COPIES, mailbox=mailbox)
            self._run(_DROP_MAILBOX, mailbox=mailbox)
        return True
