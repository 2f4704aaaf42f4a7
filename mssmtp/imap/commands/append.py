"""APPEND (RFC 3501 6.3.11) of one message or many (RFC 3502), with APPENDUID (RFC 4315 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import MailError
from mssmtp.imap import arriving, mailboxes
from mssmtp.imap.arriving import Arguments, Arrived
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.framer import Announced
from mssmtp.imap.numbers import compress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import Uid
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

MOST_MESSAGES = 500
"""Of one command: others wait while they are written."""
MOST_HELD = 8 * 1_048_576
"""Octets of small messages that wait in memory for the end of their command."""


@dataclass(frozen=True, slots=True)
class Append(Command):
    """The head of the command; `literal` was announced behind it and is not taken yet.

    All messages of a command are written in one commit, or none (RFC 3502 2).
    """

    mailbox: str
    cursor: Cursor
    literal: Announced | None = None

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        arguments = Arguments(session, tag, self.cursor, self.literal)
        arguments.may_be_sent = mailboxes.may_be_sent(self.mailbox)
        messages: list[Arrived] = []
        try:
            yield from self._receive(arguments, messages)
        except MailError as error:
            yield from arriving.discard(messages)
            if (yield from arguments.let_go(error)):
                return None
            raise
        (target, after), uids, spare = yield from write(
            lambda writing: self._append(writing, session, messages), _held(messages)
        )
        session.has_counted(target, after)
        if session.selected_or_none and session.selected.mailbox.id == target.id:
            session.is_changed = True
        yield from arriving.discard(spare)
        return Done(b"APPEND completed", b"APPENDUID %d %b" % (target.uid_validity, compress(uids)))

    def _receive(self, arguments: Arguments, messages: list[Arrived]) -> Steps[None]:
        """Message after message. Raises MailError, Ended."""
        while not (messages and arguments.is_at_end):
            arguments.cursor.space()
            if len(messages) >= MOST_MESSAGES or _held(messages) > MOST_HELD:
                raise Refused("LIMIT", b"Append fewer messages at once")
            permit = _Permitted(arguments, self.mailbox, tuple(messages))
            messages.append((yield from arriving.receive(arguments, permit, judged_again=True)))

    def _append(
        self, writing: Writing, session: Session, messages: list[Arrived]
    ) -> tuple[tuple[Mailbox, Mailbox | None], list[Uid], list[Arrived]]:
        """Where they are, and those that were there already, filed by submission (CL-80)."""
        target, rights = mailboxes.find_target(writing, session.principal, self.mailbox)
        now = session.clock.now()
        is_sent = target.special_use == mailboxes.SENT_USE
        may_replace = mailboxes.may_remove(rights)
        uids: list[Uid] = []
        spare: list[Arrived] = []
        for message in messages:
            flags, date = message.flags_by(rights, session), message.internal_date or now
            if is_sent:
                uid, is_new = writing.append_sent(
                    target, message.letter, flags, date, may_replace=may_replace
                )
                spare += [] if is_new else [message]
            else:
                uid = writing.append(target.id, message.letter, flags, date)
            uids.append(uid)
        return recounted(writing, session.watching, target), uids, spare


@dataclass(frozen=True, slots=True)
class _Permitted:
    """What is known before the message comes: there is a mailbox, and room for it beside those of
    the same command, which wait on the disk."""

    arguments: Arguments
    mailbox: str
    before: tuple[Arrived, ...]

    def __call__(self, reading: Reading) -> None:
        principal, literal = self.arguments.session.principal, self.arguments.literal
        target, _ = mailboxes.find_target(reading, principal, self.mailbox)
        size = sum(message.letter.size_octets for message in self.before)
        size += literal.size_octets if literal else 0
        reading.demand_room(target.bal, size, len(self.before) + 1)


def _held(messages: list[Arrived]) -> int:
    return sum(message.letter.held_octets for message in messages)


def parse(cursor: Cursor, literal: Announced | None = None) -> Append:
    """`mailbox 1*append-message`, the messages being read when they come."""
    return Append(cursor.mailbox(), cursor, literal)
