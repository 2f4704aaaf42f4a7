"""Who may do what in a shared box: roles of members, and what one mailbox says instead (RFC 4314).

Both are sealed, roles under the master key, entries of a mailbox under its box: whoever writes to
the database alone gives nobody a right (ATT-19).
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select, update

from mssmtp.mail import AccountId, BalId, MailboxId, Role
from mssmtp.storage.model import NoSuchBal, NoSuchMailbox, to_us
from mssmtp.storage.schema import accounts, acl, app_passwords, mailboxes, members, sql
from mssmtp.storage.view import View, WritingView

_ROLE = sql(
    select(members.c.sealed)
    .where(members.c.account == bindparam("account"))
    .where(members.c.bal == bindparam("bal"))
)
_MEMBERS = sql(
    select(members.c.account, members.c.sealed)
    .where(members.c.bal == bindparam("bal"))
    .order_by(members.c.account)
)
_BAL = sql(select(mailboxes.c.bal).where(mailboxes.c.id == bindparam("mailbox")))
_ENTRIES = sql(
    select(acl.c.account, acl.c.sealed)
    .where(acl.c.mailbox == bindparam("mailbox"))
    .order_by(acl.c.account)
)
_ENTRY = sql(
    select(acl.c.sealed)
    .where(acl.c.mailbox == bindparam("mailbox"))
    .where(acl.c.account == bindparam("account"))
)
_ENTRIES_OF = sql(
    select(acl.c.mailbox, acl.c.sealed)
    .join_from(mailboxes, acl, acl.c.mailbox == mailboxes.c.id)
    .where(mailboxes.c.bal == bindparam("bal"))
    .where(acl.c.account == bindparam("account"))
)
_OWN = sql(
    select(accounts.c.bal)
    .where(accounts.c.id == bindparam("account"))
    .where(accounts.c.bal.is_not(None))
)
_NEW_MEMBER = sql(insert(members))
_DROP_MEMBER = sql(
    delete(members)
    .where(members.c.account == bindparam("account"))
    .where(members.c.bal == bindparam("bal"))
)
_REVOKE_FOR_BOX = sql(
    update(app_passwords)
    .where(app_passwords.c.account == bindparam("account"))
    .where(app_passwords.c.bal == bindparam("bal"))
    .where(app_passwords.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_NEW_ENTRY = sql(insert(acl))
_DROP_ENTRY = sql(
    delete(acl)
    .where(acl.c.mailbox == bindparam("mailbox"))
    .where(acl.c.account == bindparam("account"))
)
_DROP_ENTRIES = sql(delete(acl).where(acl.c.mailbox == bindparam("mailbox")))


class RightsReading(View):
    """Looking up rights."""

    def role(self, account: AccountId, bal: BalId) -> Role | None:
        """What `account` is in the box; None for a stranger, and for a membership not proved."""
        row = self._one(_ROLE, account=account, bal=bal)
        return None if row is None else self._proved(account, bal, row[0])

    def members(self, bal: BalId) -> tuple[tuple[AccountId, Role], ...]:
        """Who may act in the box, by account."""
        found = (
            (AccountId(account), self._proved(account, bal, sealed))
            for account, sealed in self._all(_MEMBERS, bal=bal)
        )
        return tuple((account, role) for account, role in found if role is not None)

    def exception(self, account: AccountId, mailbox: int, bal: BalId) -> str | None:
        """Rights of a member in one mailbox, where it says otherwise than the role."""
        row = self._one(_ENTRY, mailbox=mailbox, account=account)
        return None if row is None else self._entry_of(MailboxId(mailbox), account, bal, row[0])

    def exceptions(self, account: AccountId, bal: BalId) -> dict[MailboxId, str]:
        """Mailboxes of the box in which a member has other rights than by the role."""
        return {
            MailboxId(mailbox): self._entry_of(MailboxId(mailbox), account, bal, sealed)
            for mailbox, sealed in self._all(_ENTRIES_OF, bal=bal, account=account)
        }

    def entries(self, mailbox: MailboxId) -> dict[AccountId, str]:
        """What the mailbox itself says, by account. Raises NoSuchMailbox."""
        bal = self._bal_of_mailbox(mailbox)
        return {
            AccountId(account): self._entry_of(mailbox, AccountId(account), bal, sealed)
            for account, sealed in self._all(_ENTRIES, mailbox=mailbox)
        }

    def _proved(self, account: int, bal: int, sealed: bytes | None) -> Role | None:
        octets = self._legible(self._master_open, member_purpose(account, bal), sealed)
        if octets is None:
            return None
        if not octets:  # before there were roles every member could do everything
            return Role.RESPONSABLE
        name = octets.decode()
        return Role(name) if name in set(Role) else None

    def _entry_of(self, mailbox: MailboxId, account: AccountId, bal: BalId, sealed: bytes) -> str:
        """What is damaged gives nothing."""
        key = self._bal_key(bal)
        octets = self._legible(key.open, acl_purpose(mailbox, account), sealed)
        return "" if octets is None else octets.decode("ascii")

    def _bal_of_mailbox(self, mailbox: MailboxId) -> BalId:
        row = self._one(_BAL, mailbox=mailbox)
        if row is None:
            raise NoSuchMailbox
        return BalId(row[0])


class RightsWriting(RightsReading, WritingView):
    """Giving and taking them."""

    def add_member(self, org: BalId, account: AccountId, role: Role = Role.SECRETAIRE) -> None:
        """Let `account` act in the ORG box `org`, or give it another role there."""
        self._run(_DROP_MEMBER, account=account, bal=org)
        sealed = self._master_seal(member_purpose(account, org), role.value.encode())
        self._run(_NEW_MEMBER, account=account, bal=org, sealed=sealed)
        self._rights_changed(org, account)

    def remove_member(self, org: BalId, account: AccountId) -> None:
        """End a membership, with what single mailboxes gave and the passwords for this box alone,
        which would live again with a later membership. Raises NoSuchBal for a stranger."""
        if not self._run(_DROP_MEMBER, account=account, bal=org):
            raise NoSuchBal
        self._rights_changed(org, account)
        self._run(_REVOKE_FOR_BOX, account=account, bal=org, at=to_us(self._vault.clock.now()))
        for mailbox in self.exceptions(account, org):
            self._run(_DROP_ENTRY, mailbox=mailbox, account=account)

    def set_entry(self, mailbox: MailboxId, account: AccountId, rights: str | None) -> None:
        """What the mailbox says of a member; None: the role decides again. NoSuchMailbox."""
        bal = self._bal_of_mailbox(mailbox)
        self._run(_DROP_ENTRY, mailbox=mailbox, account=account)
        if rights is not None:
            self._put_entry(mailbox, account, bal, rights)
        self._rights_changed(bal)

    def _put_entry(self, mailbox: MailboxId, account: AccountId, bal: BalId, rights: str) -> None:
        sealed = self._bal_key(bal).seal(acl_purpose(mailbox, account), rights.encode("ascii"))
        self._run(_NEW_ENTRY, mailbox=mailbox, account=account, sealed=sealed)

    def _inherit_rights(self, parent: MailboxId, child: MailboxId) -> None:
        """A mailbox made below another is as open as that one."""
        found = self.entries(parent)
        bal = self._bal_of_mailbox(child)
        for account, rights in found.items():
            self._put_entry(child, account, bal, rights)

    def _rights_changed(self, bal: BalId, account: AccountId | None = None) -> None:
        """For the sessions that listen to the box, and to that of a person who has others now."""
        own = () if account is None else self._all(_OWN, account=account)
        for each in (bal, *(BalId(row[0]) for row in own)):
            self._box_changed(each)

    def _forget_rights(self, mailbox: MailboxId) -> None:
        self._run(_DROP_ENTRIES, mailbox=mailbox)


def member_purpose(account: int, bal: int) -> bytes:
    """What the sealed part of a row of `members` is bound to."""
    return b"member\0%d\0%d" % (account, bal)


def acl_purpose(mailbox: int, account: int) -> bytes:
    """The same of `acl`."""
    return b"acl\0%d\0%d" % (mailbox, account)
