"""REPLACE (RFC 8508): a new message takes the place of an old one, in one commit.

A draft that is saved every 30 seconds is never there twice, and never gone (R04).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import arriving, mailboxes, responses
from mssmtp.imap.arriving import Arguments, Arrived
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.framer import Announced
from mssmtp.imap.numbers import NumberSet
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox, NoSuchMessage

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing


@dataclass(frozen=True, slots=True)
class Replace(Command):
    """`number` is a sequence number or a UID, and never `*` (RFC 8508 4)."""

    number: int
    by_uid: bool
    mailbox: str
    cursor: Cursor
    literal: Announced | None = None

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        arguments = Arguments(session, tag, self.cursor, self.literal)
        messages: list[Arrived] = []
        try:
            if session.state is not State.SELECTED:
                raise BadSyntax("not in the authenticated state")
            old = self._old(session)
            arguments.cursor.space()
            messages.append((yield from arriving.receive(arguments, self._permitted(session))))
            arguments.cursor.end()
            if not arguments.is_at_end:
                raise BadSyntax("one message only")
        except MailError as error:
            yield from arriving.discard(messages)
            if (yield from arguments.let_go(error)):
                return None
            raise
        (message,) = messages
        (target, after), made = yield from write(
            lambda writing: self._replace(writing, session, old, message),
            message.letter.held_octets,
        )
        session.has_counted(target, after)
        session.is_changed = session.owes_news = True
        code = b"APPENDUID %d %d" % (target.uid_validity, made)
        # RFC 8508 3.3: the client knows the new one before the old one is taken away.
        yield from send(responses.untagged(b"OK", b"Replacement is here", code))
        return Done(b"REPLACE completed")

    def _old(self, session: Session) -> Uid:
        """The UID of what is replaced. Raises NoSuchMessage."""
        numbers = NumberSet.parse(b"%d" % self.number)
        spans = session.selected.view.spans(numbers, by_uid=self.by_uid)
        for uid in session.selected.view.uids_of(spans):
            return Uid(uid)
        raise NoSuchMessage

    def _permitted(self, session: Session) -> _Permitted:
        session.selected.demand(mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE)
        return _Permitted(session, self.mailbox)

    def _replace(
        self, writing: Writing, session: Session, old: Uid, message: Arrived
    ) -> tuple[tuple[Mailbox, Mailbox | None], Uid]:
        """With the rights of this moment."""
        source = session.selected.mailbox
        rights = mailboxes.rights(writing, session.principal, source)
        mailboxes.demand(rights, mailboxes.DELETE_MESSAGES + mailboxes.EXPUNGE)
        target, rights = mailboxes.find_target(writing, session.principal, self.mailbox)
        flags = message.flags_by(rights, session)
        date = message.internal_date or session.clock.now()
        writing.withdraw(source.id, old)
        made = writing.append(target.id, message.letter, flags, date)
        return recounted(writing, session.watching, target), made


@dataclass(frozen=True, slots=True)
class _Permitted:
    session: Session
    mailbox: str

    def __call__(self, reading: Reading) -> object:
        return mailboxes.find_target(reading, self.session.principal, self.mailbox)


def _parse(cursor: Cursor, literal: Announced | None, *, by_uid: bool) -> Replace:
    number = cursor.number()
    if not number:
        raise BadSyntax("numbers begin at 1")
    cursor.space()
    return Replace(number, by_uid, cursor.mailbox(), cursor, literal)


def parse(cursor: Cursor, literal: Announced | None = None) -> Replace:
    """`seq-number SP mailbox append-message`."""
    return _parse(cursor, literal, by_uid=False)


def parse_uid(cursor: Cursor, literal: Announced | None = None) -> Replace:
    """The same with a UID."""
    return _parse(cursor, literal, by_uid=True)
