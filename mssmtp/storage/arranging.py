"""BALs with their first mailboxes; deleting and renaming mailboxes (RFC 3501 6.3.4, 6.3.5)."""

from __future__ import annotations

from mssmtp.mail import Address, Bal, BalId, BalType, MailboxId, PersonState, Uid
from mssmtp.storage.boxes import NO_DETAILS
from mssmtp.storage.mailboxes import (
    FIRST_MAILBOXES,
    INBOX,
    deletable,
    mailbox_name,
    validity_at,
)
from mssmtp.storage.model import BadMailboxName, MailboxExists, NoSuchMailbox
from mssmtp.storage.moving import MovingWriting
from mssmtp.storage.people_values import BalDetails
from mssmtp.storage.persons import PersonWriting
from mssmtp.storage.structures import StructureWriting


class ArrangementWriting(PersonWriting, StructureWriting, MovingWriting):
    """Operations on whole mailboxes and BALs."""

    def create_bal(
        self,
        address: Address,
        type: BalType,
        *,
        person: PersonState = PersonState.CERTIFIED,
        national_id: str | None = None,
        usual_address: Address | None = None,
        login: str | None = None,
    ) -> Bal:
        """A BAL with its key, INBOX and special mailboxes, and an account when `login` is given.

        Raises BalExists, NationalIdRequired (OP-38).
        """
        wanted = Bal(
            BalId(0),
            address,
            type,
            person=person,
            national_id=national_id,
            usual_address=usual_address,
        )
        made = self.add_box(wanted)
        if login is not None:
            self.create_account(login, made.id)
        return made

    def add_box(self, wanted: Bal, details: BalDetails = NO_DETAILS) -> Bal:
        """`wanted` with an id of its own, its key, INBOX and special mailboxes; no account has it.

        Raises BalExists, NationalIdRequired (OP-38).
        """
        first = validity_at(self.now())
        made = self._add_bal(wanted, details, first + len(FIRST_MAILBOXES) - 1)
        self._add_first_mailboxes(made.id, first)
        return made

    def delete_mailbox(self, bal: BalId, name: str) -> None:
        """Delete a mailbox with all its messages; its children stay.

        Raises NoSuchMailbox, ProtectedMailbox.
        """
        mailbox = deletable(self.mailbox(bal, name))
        self._empty(mailbox.id)
        self._drop_mailbox(mailbox)

    def doomed(self, bal: BalId, name: str) -> list[Uid]:
        """What `discard` may take away before a large mailbox is deleted: all at once every other
        writer of the home would wait for seconds. Raises NoSuchMailbox, ProtectedMailbox."""
        return self.uids(deletable(self.mailbox(bal, name)).id)

    def rename_mailbox(self, bal: BalId, old: str, new: str) -> None:
        """Rename a mailbox and its children; missing parents of `new` are made.

        A level that only holds others can be renamed with them (RFC 9051 6.3.6).

        Renaming INBOX moves its messages to a new mailbox and leaves it empty (RFC 3501 6.3.5).
        Raises NoSuchMailbox, MailboxExists, ProtectedMailbox, BadMailboxName.
        """
        target = mailbox_name(new)
        if self.mailbox(bal, target) is not None:
            raise MailboxExists
        source = self.mailbox(bal, old)
        if source is not None and source.name == INBOX:
            made = self.create_mailbox(bal, target)
            self.move(source.id, self.uids(source.id), made.id)
            return
        before = mailbox_name(old)
        if target.startswith(before + "/"):
            raise BadMailboxName("a mailbox cannot become its own child")
        renamed = self._renamed_names(bal, before, target)
        if not renamed:
            raise NoSuchMailbox
        for mailbox, name in renamed:
            deletable(mailbox)
            if self.mailbox(bal, mailbox_name(name)) is not None:
                raise MailboxExists
        parent = target.rpartition("/")[0]
        if parent and self.mailbox(bal, parent) is None:
            self.create_mailbox(bal, parent)
        for mailbox, name in renamed:
            self._rename(mailbox, name)

    def _delivery_mailbox(self, bal: BalId, name: str) -> MailboxId:
        """Where a delivery goes: `name`, or INBOX when it is gone. Raises NoSuchBal."""
        found = None if name == INBOX else self._mailbox_id(bal, mailbox_name(name))
        found = found or self._vault.known.inboxes.get(bal)
        if found is None:
            found = self._mailbox_id(bal, INBOX)
            if found is None:
                raise NoSuchMailbox
            self._vault.known.inboxes.keep(bal, found)
        return found
