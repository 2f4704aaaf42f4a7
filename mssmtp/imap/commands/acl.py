"""GETACL, MYRIGHTS, LISTRIGHTS, SETACL, DELETEACL (RFC 4314 3).

Who may open a box at all is a membership, which the operator gives (docs/shared-mailboxes.md). Here
who answers for the box says what one member may do in one mailbox, more or less than the role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import ALL_RIGHTS, AccountId, BalId, Principal, Role
from mssmtp.storage.model import Mailbox, NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

_SEEN_BY = "lrikxa"
"""One of these lets ask for one's own rights (RFC 4314 4)."""


@dataclass(frozen=True, slots=True)
class MyRights(Command):
    """What the asker may do."""

    mailbox: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def query(reading: Reading) -> str:
            _, rights = mailboxes.find_with_rights(reading, session.principal, self.mailbox, "")
            if not any(right in rights for right in _SEEN_BY):
                raise NoSuchMailbox
            return rights

        rights = yield from read(query)
        name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
        yield from send(b"* MYRIGHTS %b %b\r\n" % (name, responses.rights(rights)))
        return Done(b"MYRIGHTS completed")


@dataclass(frozen=True, slots=True)
class GetAcl(Command):
    """Who may do what, for who answers for the mailbox."""

    mailbox: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        found = yield from read(lambda reading: self._entries(reading, session.principal))
        name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
        utf8 = session.dialect.utf8
        entries = b"".join(
            b" %b %b" % (responses.quoted(login.encode(), utf8=utf8), responses.rights(rights))
            for login, rights in found
        )
        yield from send(b"* ACL %b%b\r\n" % (name, entries))
        return Done(b"GETACL completed")

    def _entries(self, reading: Reading, principal: Principal) -> list[tuple[str, str]]:
        mailbox = _administered(reading, principal, self.mailbox)
        exceptions = reading.entries(mailbox.id)
        bal = reading.bal_by_id(mailbox.bal)
        found = [] if bal is None else [(str(bal.address), ALL_RIGHTS)]
        for account, role in reading.members(mailbox.bal):
            login = reading.account_login(account)
            rights = _effective(role, exceptions.get(account))
            if login is not None and rights:
                found.append((login, rights))
        return found


@dataclass(frozen=True, slots=True)
class ListRights(Command):
    """What may be given to whom: all to a member, one by one, and nothing is certain."""

    mailbox: str
    identifier: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def query(reading: Reading) -> Role | None:
            mailbox = _administered(reading, session.principal, self.mailbox)
            return _member(reading, mailbox.bal, self.identifier)[1]

        role = yield from read(query)
        utf8 = session.dialect.utf8
        always = ALL_RIGHTS if role is Role.RESPONSABLE else ""
        rest = [] if always else [*ALL_RIGHTS, *responses.OLDER_RIGHTS]
        words = [responses.mailbox(self.mailbox, utf8=utf8)]
        words.append(responses.quoted(self.identifier.encode(), utf8=utf8))
        words.append(responses.rights(always))
        words += [right.encode("ascii") for right in rest]
        yield from send(b"* LISTRIGHTS %b\r\n" % b" ".join(words))
        return Done(b"LISTRIGHTS completed")


@dataclass(frozen=True, slots=True)
class SetAcl(Command):
    """Changes what a member may do in this mailbox; rights of the role need no entry."""

    mailbox: str
    identifier: str
    change: str
    rights: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from write(lambda writing: self._set(writing, session.principal))
        return Done(b"SETACL completed")

    def _set(self, writing: Writing, principal: Principal) -> None:
        mailbox = _administered(writing, principal, self.mailbox)
        account, role = _member(writing, mailbox.bal, self.identifier)
        if role is Role.RESPONSABLE:
            raise Refused("CANNOT", b"Un responsable garde tous les droits")
        now = _effective(role, writing.entries(mailbox.id).get(account))
        wanted = {
            "": set(self.rights),
            "+": set(now) | set(self.rights),
            "-": set(now) - set(self.rights),
        }[self.change]
        rights = "".join(right for right in ALL_RIGHTS if right in wanted)
        writing.set_entry(mailbox.id, account, None if rights == role.rights else rights)


@dataclass(frozen=True, slots=True)
class DeleteAcl(Command):
    """Leaves a member nothing in this mailbox; SETACL gives back."""

    mailbox: str
    identifier: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from SetAcl(self.mailbox, self.identifier, "", "").run(session, tag)
        return Done(b"DELETEACL completed")


def _administered(reading: Reading, principal: Principal, name: str) -> Mailbox:
    return mailboxes.find(reading, principal, name, mailboxes.ADMINISTER)


def _effective(role: Role, exception: str | None) -> str:
    return role.rights if exception is None or role is Role.RESPONSABLE else exception


def _member(reading: Reading, bal: BalId, identifier: str) -> tuple[AccountId, Role]:
    """Raises Refused: who is not here and who is no member are answered alike."""
    account = reading.account(identifier)
    role = None if account is None else reading.role(account.id, bal)
    if account is None or role is None:
        raise Refused("CANNOT", b"Pas membre de cette boite")
    return account.id, role


def _identifier(cursor: Cursor) -> str:
    cursor.space()
    try:
        return cursor.astring().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSyntax("identifier is not UTF-8") from error


def _changed_rights(cursor: Cursor) -> tuple[str, str]:
    """`["+" / "-"] rights`: letters we do not know are BAD (3.1)."""
    cursor.space()
    text = cursor.astring().decode("ascii", "replace")
    change, rights = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    for old, new in responses.OLDER_RIGHTS.items():
        rights = rights.replace(old, new)
    if not set(rights) <= set(ALL_RIGHTS):
        raise BadSyntax("unknown right")
    return change, rights


def _mailbox(cursor: Cursor) -> str:
    mailbox = cursor.mailbox()
    cursor.end()
    return mailbox


def parse_my_rights(cursor: Cursor) -> MyRights:
    """`mailbox`."""
    return MyRights(_mailbox(cursor))


def parse_get(cursor: Cursor) -> GetAcl:
    """`mailbox`."""
    return GetAcl(_mailbox(cursor))


def parse_list_rights(cursor: Cursor) -> ListRights:
    """`mailbox SP identifier`."""
    mailbox = cursor.mailbox()
    identifier = _identifier(cursor)
    cursor.end()
    return ListRights(mailbox, identifier)


def parse_set(cursor: Cursor) -> SetAcl:
    """`mailbox SP identifier SP mod-rights`."""
    mailbox = cursor.mailbox()
    identifier = _identifier(cursor)
    change, rights = _changed_rights(cursor)
    cursor.end()
    return SetAcl(mailbox, identifier, change, rights)


def parse_delete(cursor: Cursor) -> DeleteAcl:
    """`mailbox SP identifier`."""
    mailbox = cursor.mailbox()
    identifier = _identifier(cursor)
    cursor.end()
    return DeleteAcl(mailbox, identifier)
