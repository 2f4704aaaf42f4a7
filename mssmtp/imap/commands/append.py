"""APPEND (RFC 3501 6.3.11) of one message or many (RFC 3502), with APPENDUID (RFC 4315 3).

No message rests in memory. All of a command are written in one commit, or none (RFC 3502 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import incoming, mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, off_loop, read, send, write
from mssmtp.imap.framer import Announced, Chunk, Line, Unframed
from mssmtp.imap.numbers import compress
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid
from mssmtp.storage.model import Letter, Mailbox, changeable

if TYPE_CHECKING:
    from mssmtp.storage import LetterWriter, Store, Writing

BLOCK = 262_144
"""Octets handed to the store at once."""
MOST_MESSAGES = 500
"""Of one command: others wait while they are written."""
MOST_HELD = 8 * 1_048_576
"""Octets of small messages that wait in memory for the end of their command."""


@dataclass(frozen=True, slots=True)
class _Message:
    """One message that has arrived, with the flags and the date it was given."""

    letter: Letter
    flags: frozenset[str]
    internal_date: datetime | None


class _Arguments:
    """What follows the mailbox: text and literals in turn, as they come."""

    def __init__(self, session: Session, tag: bytes, cursor: Cursor) -> None:
        self.session = session
        self.tag = tag
        self.cursor = cursor
        self.literal: Announced | None = None
        """The one that stands behind the text of `cursor`; nobody has decided about it yet."""
        self.is_open = False
        """A literal has passed; what follows it was not seen yet."""

    @property
    def is_at_end(self) -> bool:
        """The command is over."""
        return self.cursor.at_end() and self.literal is None

    @property
    def is_at_literal(self) -> bool:
        """A literal comes next."""
        return self.cursor.at_end() and self.literal is not None

    def begin_literal(self) -> Steps[Announced]:
        """Let the literal come, as Chunk events."""
        literal = self.literal
        if literal is None or not self.cursor.at_end():
            raise BadSyntax("literal expected")
        self.session.framer.stream()
        self.literal = None
        self.is_open = True
        if literal.synchronizing:
            yield from send(responses.continuation(b"Ready for the message"))
        return literal

    def go_on(self) -> Steps[None]:
        """The text behind a literal that has passed. Raises Ended."""
        event = yield from incoming.next_event(self.session)
        self.is_open = False
        match event:
            case Line():
                self.cursor = Cursor(event.parts, utf8=self.session.dialect.utf8)
            case Announced():
                self.cursor = Cursor(event.parts, utf8=self.session.dialect.utf8)
                self.literal = event
            case Unframed():
                raise incoming.unframed(event, self.tag)
            case Chunk():
                raise RuntimeError("the literal has passed")

    def let_go(self, error: MailError) -> Steps[bool]:
        """Take what still comes of a command that fails; True when `error` was answered so."""
        if self.literal is not None:
            refusal = responses.failure(self.tag, error)
            yield from incoming.refuse_literal(self.session, self.tag, self.literal, refusal)
            return True
        if self.is_open:
            yield from incoming.drain(self.session, self.tag)
        return False


@dataclass(frozen=True, slots=True)
class Append(Command):
    """The head of the command. `literal` was announced behind it and is not taken yet."""

    mailbox: str
    cursor: Cursor
    literal: Announced | None = None

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        arguments = _Arguments(session, tag, self.cursor)
        arguments.literal = self.literal
        messages: list[_Message] = []
        try:
            yield from self._receive(arguments, messages)
        except MailError as error:
            for message in messages:
                yield from off_loop(_discarding(message.letter))
            if (yield from arguments.let_go(error)):
                return None
            raise
        target, uids = yield from write(
            lambda writing: self._append(writing, session, messages), _held(messages)
        )
        if session.selected_or_none and session.selected.mailbox.id == target.id:
            session.is_changed = True
        return Done(b"APPEND completed", b"APPENDUID %d %b" % (target.uid_validity, compress(uids)))

    def _receive(self, arguments: _Arguments, messages: list[_Message]) -> Steps[None]:
        """Message after message. Raises MailError, Ended."""
        while not (messages and arguments.is_at_end):
            arguments.cursor.space()
            flags, date = _options(arguments.cursor)
            if len(messages) >= MOST_MESSAGES or _held(messages) > MOST_HELD:
                raise Refused("LIMIT", b"Append fewer messages at once")
            letter = yield from self._letter(arguments, is_first=not messages)
            messages.append(_Message(letter, flags, date))

    def _letter(self, arguments: _Arguments, *, is_first: bool) -> Steps[Letter]:
        """`append-data`: a literal, or one of UTF-8 (RFC 6855 4)."""
        session = arguments.session
        is_utf8 = session.dialect.utf8 and arguments.cursor.takes(b"UTF8 (")
        if not arguments.is_at_literal or arguments.literal is None:
            raise BadSyntax("literal expected")
        if is_utf8 and not arguments.literal.binary:
            raise BadSyntax("literal8 expected")
        yield from self._check(session, arguments.literal, is_first=is_first)
        literal = yield from arguments.begin_literal()
        letter = yield from _stored(session, literal)
        yield from arguments.go_on()
        if is_utf8:
            arguments.cursor.expect(b")")
        return letter

    def _check(self, session: Session, literal: Announced, *, is_first: bool) -> Steps[None]:
        """Everything that can be known before the message is asked for (OP-66, GEN-04)."""
        if literal.size_octets > session.limits.message_octets:
            raise Refused("TOOBIG")
        if not literal.size_octets:
            raise Refused("CANNOT", b"An empty message cannot be kept")
        if is_first:
            yield from read(lambda r: mailboxes.find_target(r, session.principal, self.mailbox))

    def _append(
        self, writing: Writing, session: Session, messages: list[_Message]
    ) -> tuple[Mailbox, list[Uid]]:
        target, rights = mailboxes.find_target(writing, session.principal, self.mailbox)
        now = session.clock.now()
        uids = [
            writing.append(
                target.id,
                message.letter,
                changeable(message.flags, rights),
                message.internal_date or now,
            )
            for message in messages
        ]
        return target, uids


def _held(messages: list[_Message]) -> int:
    return sum(message.letter.held_octets for message in messages)


def _options(cursor: Cursor) -> tuple[frozenset[str], datetime | None]:
    """`[flag-list SP] [date-time SP]`."""
    flags: frozenset[str] = frozenset()
    date = None
    if cursor.sees(b"("):
        flags = cursor.flags()
        cursor.space()
    if cursor.sees(b'"'):
        date = cursor.date_time()
        cursor.space()
    return flags, date


def _stored(session: Session, literal: Announced) -> Steps[Letter]:
    """The letter of a literal that comes. A failure is raised after the last octet has passed."""
    small = literal.size_octets <= BLOCK
    return (yield from (_store_small if small else _store_large)(session, literal))


def _store_small(session: Session, literal: Announced) -> Steps[Letter]:
    """One block: one visit to a thread instead of three."""
    waiting = bytearray()
    while True:
        event = yield from incoming.next_event(session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        waiting += event.octets
        if event.is_last:
            break
    if b"\0" in waiting:
        raise _no_nul(literal)
    octets = bytes(waiting)
    return (yield from off_loop(lambda store: store.seal(octets)))


def _no_nul(literal: Announced) -> Refused:
    """What is kept has to be told again by BODY[], and no literal may hold NUL (RFC 3501 9).

    RFC 3516 4.4: a server that keeps no binary content says so.
    """
    code = "UNKNOWN-CTE" if literal.binary else "CANNOT"
    return Refused(code, b"A message holds no NUL; encode its parts")


def _store_large(session: Session, literal: Announced) -> Steps[Letter]:
    writer = yield from off_loop(lambda store: store.writer())
    try:
        yield from _copy(session, literal, writer)
        return (yield from off_loop(lambda store: writer.finish()))
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            yield from off_loop(lambda store: writer.abort())
        raise


def _copy(session: Session, literal: Announced, writer: LetterWriter) -> Steps[None]:
    waiting = bytearray()
    failure: MailError | None = None
    while True:
        event = yield from incoming.next_event(session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        if failure is None:
            waiting += event.octets
            if b"\0" in event.octets:
                failure = _no_nul(literal)
        if failure is None and (len(waiting) >= BLOCK or event.is_last):
            failure = yield from _hand_over(writer, bytes(waiting))
            waiting.clear()
        if event.is_last:
            break
    if failure is not None:
        raise failure


def _hand_over(writer: LetterWriter, block: bytes) -> Steps[MailError | None]:
    try:
        yield from off_loop(lambda store: writer.write(block))
    except MailError as error:
        return error
    return None


def _discarding(letter: Letter) -> _Discard:
    return _Discard(letter)


@dataclass(frozen=True, slots=True)
class _Discard:
    letter: Letter

    def __call__(self, store: Store) -> None:
        store.discard(self.letter)


def parse(cursor: Cursor) -> Append:
    """`mailbox 1*append-message`, the messages being read when they come."""
    return Append(cursor.mailbox(), cursor)


def of_announcement(event: Announced, *, utf8: bool) -> tuple[bytes, Append] | None:
    """Tag and head when a literal is announced behind the mailbox of an APPEND, else None."""
    cursor = Cursor(event.parts, utf8=utf8)
    try:
        tag = cursor.tag()
        cursor.space()
        if cursor.word() != "APPEND":
            return None
        cursor.space()
        return tag, Append(cursor.mailbox(), cursor, event)
    except BadSyntax:
        return None
