"""APPEND (RFC 3501 6.3.11) with APPENDUID (RFC 4315 3): the message never rests in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import incoming, mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, off_loop, read, send, write
from mssmtp.imap.framer import Announced, Chunk, Line, Unframed
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid
from mssmtp.storage.model import Letter, Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import LetterWriter, Store, Writing

BLOCK = 262_144
"""Octets handed to the store at once."""


@dataclass(frozen=True, slots=True)
class Append(Command):
    """The head of the command; `announced` is the message's literal, not taken yet."""

    mailbox: str
    flags: frozenset[str]
    internal_date: datetime | None
    announced: Announced | None = None

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        literal = self.announced
        if literal is None:
            raise BadSyntax("literal expected")
        try:
            yield from self._check(session, literal)
        except MailError as error:
            refusal = responses.refusal(tag, error)
            yield from incoming.refuse_literal(session, tag, literal, refusal)
            return None
        session.framer.stream()
        if literal.synchronizing:
            yield from send(responses.continuation(b"Ready for the message"))
        if literal.size_octets <= BLOCK:
            letter = yield from _store_small(session, tag)
        else:
            letter = yield from _store_letter(session, tag)
        yield from _end_of_command(session, tag, letter)
        target, uid = yield from write(
            lambda writing: self._append(writing, session, letter), letter.held_octets
        )
        if session.selected_or_none and session.selected.mailbox.id == target.id:
            session.is_changed = True
        return Done(b"APPEND completed", b"APPENDUID %d %d" % (target.uid_validity, uid))

    def _check(self, session: Session, literal: Announced) -> Steps[None]:
        """Everything that can be known before the message is asked for (OP-66, GEN-04)."""
        if literal.binary:
            raise Refused("CANNOT", b"No BINARY here")
        if literal.size_octets > session.limits.message_octets:
            raise Refused("TOOBIG")
        if not literal.size_octets:
            raise Refused("CANNOT", b"An empty message cannot be kept")
        yield from read(lambda r: mailboxes.find_target(r, session.principal, self.mailbox))

    def _append(self, writing: Writing, session: Session, letter: Letter) -> tuple[Mailbox, Uid]:
        target = mailboxes.find_target(writing, session.principal, self.mailbox)
        date = self.internal_date or session.clock.now()
        return target, writing.append(target.id, letter, self.flags, date)


def _store_small(session: Session, tag: bytes) -> Steps[Letter]:
    """One block: one visit to a thread instead of three."""
    waiting = bytearray()
    while True:
        event = yield from incoming.next_event(session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        waiting += event.octets
        if event.is_last:
            break
    try:
        if b"\0" in waiting:
            raise _no_nul()
        octets = bytes(waiting)
        return (yield from off_loop(lambda store: store.seal(octets)))
    except MailError:
        yield from incoming.drain(session, tag)
        raise


def _no_nul() -> Refused:
    # RFC 3501 9, CHAR8: what is kept has to be told again, and no literal may hold NUL.
    return Refused("CANNOT", b"A message holds no NUL")


def _store_letter(session: Session, tag: bytes) -> Steps[Letter]:
    """Stream the literal to the store. A failure is raised after the last octet has passed."""
    writer = yield from off_loop(lambda store: store.writer())
    try:
        yield from _copy(session, writer)
        return (yield from off_loop(lambda store: writer.finish()))
    except MailError:
        yield from off_loop(lambda store: writer.abort())
        yield from incoming.drain(session, tag)
        raise
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            yield from off_loop(lambda store: writer.abort())
        raise


def _copy(session: Session, writer: LetterWriter) -> Steps[None]:
    waiting = bytearray()
    failure: MailError | None = None
    while True:
        event = yield from incoming.next_event(session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        if failure is None:
            waiting += event.octets
        if len(waiting) >= BLOCK or (event.is_last and waiting):
            failure = yield from _hand_over(writer, bytes(waiting))
            waiting.clear()
        if event.is_last:
            break
    if failure is not None:
        raise failure


def _hand_over(writer: LetterWriter, block: bytes) -> Steps[MailError | None]:
    if b"\0" in block:
        return _no_nul()
    try:
        yield from off_loop(lambda store: writer.write(block))
    except MailError as error:
        return error
    return None


def _end_of_command(session: Session, tag: bytes, letter: Letter) -> Steps[None]:
    """Only CRLF may follow. Nothing is kept of a command that goes on otherwise."""
    event = yield from incoming.next_event(session)
    match event:
        case Line(parts=(b"",)):
            return
        case Unframed():
            yield from off_loop(_discarding(letter))
            raise incoming.unframed(event, tag)
        case Announced():
            session.framer.drop() if event.synchronizing else session.framer.skip()
            if not event.synchronizing:
                yield from incoming.drain(session, tag)
    yield from off_loop(_discarding(letter))
    raise BadSyntax("one message at a time")


def _discarding(letter: Letter) -> _Discard:
    return _Discard(letter)


@dataclass(frozen=True, slots=True)
class _Discard:
    letter: Letter

    def __call__(self, store: Store) -> None:
        store.discard(self.letter)


def parse(cursor: Cursor) -> Append:
    """`mailbox [SP flag-list] [SP date-time] SP` up to the literal."""
    mailbox = cursor.mailbox()
    flags: frozenset[str] = frozenset()
    date = None
    cursor.space()
    if cursor.sees(b"("):
        flags = cursor.flags()
        cursor.space()
    if cursor.sees(b'"'):
        date = cursor.date_time()
        cursor.space()
    if not cursor.at_end():
        raise BadSyntax("literal expected")
    return Append(mailbox, flags, date)


def of_announcement(event: Announced, *, utf8: bool) -> tuple[bytes, Append] | None:
    """Tag and head when the announced literal is the message of an APPEND, else None."""
    cursor = Cursor(event.parts, utf8=utf8)
    try:
        tag = cursor.tag()
        cursor.space()
        if cursor.word() != "APPEND":
            return None
        cursor.space()
        return tag, replace(parse(cursor), announced=event)
    except BadSyntax:
        return None
