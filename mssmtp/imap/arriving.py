"""Messages that a client brings: as a literal, of UTF-8, or put together (APPEND, REPLACE).

RFC 3501 6.3.11, RFC 3516 4.4, RFC 6855 4, RFC 4469 3. No message rests in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import incoming, responses
from mssmtp.imap.effects import Note, Steps, off_loop, read, send
from mssmtp.imap.framer import Announced, Chunk, Line, Literal, Unframed
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.urls import MessageUrl
from mssmtp.message import patients
from mssmtp.storage.model import PATIENT, Letter, changeable

if TYPE_CHECKING:
    from mssmtp.storage import LetterWriter, Reading, Store

BLOCK = 262_144
"""Octets handed to the store at once."""
LITTLE = 16_384
"""A message up to this size is sealed on the loop."""
MOST_PIECES = 500
"""Of one message that is put together."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message, with the flags and the date it was given."""

    letter: Letter
    flags: frozenset[str]
    internal_date: datetime | None

    def flags_by(self, rights: str, session: Session) -> frozenset[str]:
        """Those `rights` allow, and the one that is ours to give (DEF-05)."""
        flags = changeable(self.flags, rights)
        if patients.concerns(self.letter.summary, session.patient_domains):
            flags |= {PATIENT}
        return flags


class Arguments:
    """What follows the mailbox: text and literals in turn, as they come."""

    def __init__(
        self, session: Session, tag: bytes, cursor: Cursor, literal: Announced | None
    ) -> None:
        self.session = session
        self.tag = tag
        self.cursor = cursor
        self.literal = literal
        """The one that stands behind the text of `cursor`; nobody has decided about it yet."""
        self.is_open = False
        """A literal has passed; what follows it was not seen yet."""
        self.may_be_sent = False
        """The messages may be copies of letters that were submitted (CL-80)."""

    @property
    def is_at_end(self) -> bool:
        """The command is over."""
        return self.cursor.at_end() and self.literal is None

    @property
    def is_at_literal(self) -> bool:
        """A literal comes next."""
        return self.cursor.at_end() and self.literal is not None

    def coming(self) -> Announced:
        """The literal that comes next. Raises BadSyntax, or what its size asks for (GEN-04)."""
        if self.literal is None or not self.cursor.at_end():
            raise BadSyntax("literal expected")
        if self.literal.size_octets > self.session.limits.message_octets:
            raise Refused("TOOBIG")
        return self.literal

    def begin_literal(self) -> Steps[Announced]:
        """Let the literal come, as Chunk events."""
        literal = self.coming()
        self.session.framer.stream()
        self.literal = None
        self.is_open = True
        if literal.synchronizing:
            yield from send(responses.continuation(b"Ready for the message"))
        return literal

    def take_literal(self) -> Steps[None]:
        """Let the literal become the next argument of `cursor`."""
        literal = self.coming()
        held = sum(len(part.octets) for part in literal.parts if isinstance(part, Literal))
        if held + literal.size_octets > self.session.literal_octets:
            raise Refused("TOOBIG", b"Literal too big")
        self.session.framer.take()
        self.literal = None
        if literal.synchronizing:
            yield from send(responses.continuation(b"Ready"))
        yield from self._hear(skipped=len(literal.parts))

    def go_on(self) -> Steps[None]:
        """The text behind a literal that has passed. Raises Ended."""
        yield from self._hear()

    def _hear(self, *, skipped: int = 0) -> Steps[None]:
        event = yield from incoming.next_event(self.session)
        self.is_open = False
        if isinstance(event, Unframed):
            raise incoming.unframed(event, self.tag)
        if not isinstance(event, Line | Announced):
            raise RuntimeError("the literal has passed")
        parts = (b"", *event.parts[skipped:]) if skipped else event.parts
        self.cursor = Cursor(parts, utf8=self.session.dialect.utf8)
        self.literal = event if isinstance(event, Announced) else None

    def let_go(self, error: MailError) -> Steps[bool]:
        """Take what still comes of a command that fails; True when `error` was answered so."""
        if self.literal is not None:
            refusal = responses.failure(self.tag, error)
            yield from incoming.refuse_literal(self.session, self.tag, self.literal, refusal)
            return True
        if self.is_open:
            yield from incoming.drain(self.session, self.tag)
        return False


def receive(
    arguments: Arguments, permit: Callable[[Reading], object], *, judged_again: bool = False
) -> Steps[Arrived]:
    """`[flag-list SP] [date-time SP] append-data`. `permit` raises, before a message is asked for,
    what can be known by then (OP-66); `judged_again`: the job that writes the message says the
    same, so that of a small one that comes unasked it is not asked twice. Raises MailError, Ended.
    """
    flags, date = _options(arguments.cursor)
    cursor = arguments.cursor
    if cursor.takes(b"CATENATE ("):
        yield from read(permit)
        return Arrived((yield from _catenated(arguments)), flags, date)
    is_utf8 = arguments.session.dialect.utf8 and cursor.takes(b"UTF8 (")
    literal = arguments.coming()
    if is_utf8 and not literal.binary:
        raise BadSyntax("literal8 expected")
    if not literal.size_octets:
        raise Refused("CANNOT", b"An empty message cannot be kept")
    if literal.synchronizing or literal.size_octets > BLOCK or not judged_again:
        yield from read(permit)
    yield from arguments.begin_literal()
    store = _store_small if literal.size_octets <= BLOCK else _store_large
    letter = yield from store(arguments, literal)
    yield from arguments.go_on()
    if is_utf8:
        arguments.cursor.expect(b")")
    return Arrived(letter, flags, date)


def discard(messages: list[Arrived]) -> Steps[None]:
    """Forget what will not be written."""
    for message in messages:
        yield from off_loop(_Discard(message.letter))


@dataclass(frozen=True, slots=True)
class _Discard:
    letter: Letter

    def __call__(self, store: Store) -> None:
        store.discard(self.letter)


def _options(cursor: Cursor) -> tuple[frozenset[str], datetime | None]:
    flags: frozenset[str] = frozenset()
    date = None
    if cursor.sees(b"("):
        flags = cursor.flags()
        cursor.space()
    if cursor.sees(b'"'):
        date = cursor.date_time()
        cursor.space()
    return flags, date


# ---------------------------------------------------------------- one literal


def _store_small(arguments: Arguments, literal: Announced) -> Steps[Letter]:
    """One block: one visit to a thread instead of three. A failure is raised after the last octet
    has passed."""
    chunks: list[bytes] = []
    while True:
        event = yield from incoming.next_event(arguments.session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        chunks.append(event.octets)
        if event.is_last:
            break
    octets = b"".join(chunks)
    if b"\0" in octets:
        raise _no_nul(literal)
    seal = _Seal(octets, arguments.may_be_sent)
    is_little = len(octets) <= LITTLE
    return (yield from off_loop(seal, for_commit=True, is_little=is_little))


@dataclass(frozen=True, slots=True)
class _Seal:
    octets: bytes
    may_be_sent: bool

    def __call__(self, store: Store) -> Letter:
        return store.seal(self.octets, may_be_sent=self.may_be_sent)


def _no_nul(literal: Announced) -> Refused:
    """What is kept has to be told again by BODY[], and no literal may hold NUL (RFC 3501 9).

    RFC 3516 4.4: a server that keeps no binary content says so.
    """
    code = "UNKNOWN-CTE" if literal.binary else "CANNOT"
    return Refused(code, b"A message holds no NUL; encode its parts")


def _store_large(arguments: Arguments, literal: Announced) -> Steps[Letter]:
    fill = partial(_copy, arguments.session, literal)
    return (yield from _written(fill, may_be_sent=arguments.may_be_sent))


def _written(fill: Callable[[LetterWriter], Steps[None]], *, may_be_sent: bool) -> Steps[Letter]:
    """The letter that `fill` writes; nothing is left of it when that fails."""
    begin = partial(_writer, may_be_sent=may_be_sent)
    writer = yield from off_loop(begin, is_little=True)
    try:
        yield from fill(writer)
        return (yield from off_loop(lambda store: writer.finish(), for_commit=True))
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            yield from off_loop(lambda store: writer.abort())
        raise


def _writer(store: Store, *, may_be_sent: bool) -> LetterWriter:
    return store.writer(may_be_sent=may_be_sent)


def _copy(session: Session, literal: Announced, writer: LetterWriter) -> Steps[None]:
    """Stream the literal to the store. A failure is raised after the last octet has passed."""
    waiting: list[bytes] = []
    held = 0
    failure: MailError | None = None
    while True:
        event = yield from incoming.next_event(session)
        if not isinstance(event, Chunk):
            raise RuntimeError("a literal was being streamed")
        if failure is None:
            waiting.append(event.octets)
            held += len(event.octets)
            if b"\0" in event.octets:
                failure = _no_nul(literal)
        if failure is None and (held >= BLOCK or event.is_last):
            failure = yield from _hand_over(writer, b"".join(waiting))
            waiting, held = [], 0
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


# ---------------------------------------------------------------- CATENATE


def _catenated(arguments: Arguments) -> Steps[Letter]:
    fill = partial(_pieces, arguments)
    return (yield from _written(fill, may_be_sent=arguments.may_be_sent))


def _pieces(arguments: Arguments, writer: LetterWriter) -> Steps[None]:
    """`cat-part *(SP cat-part) ")"`, each written when it comes (RFC 4469 3)."""
    size = 0
    for _ in range(MOST_PIECES):
        if arguments.cursor.takes(b"TEXT "):
            size += _in_limit(arguments, size, arguments.coming().size_octets)
            literal = yield from arguments.begin_literal()
            yield from _copy(arguments.session, literal, writer)
            yield from arguments.go_on()
        else:
            arguments.cursor.expect(b"URL ")
            if arguments.is_at_literal:
                yield from arguments.take_literal()
            url = MessageUrl.parse(arguments.cursor.astring())
            size += yield from _copy_url(arguments, size, url, writer)
        if arguments.cursor.takes(b")"):
            if not size:
                raise Refused("CANNOT", b"An empty message cannot be kept")
            return
        arguments.cursor.space()
    raise Refused("LIMIT", b"Too many pieces")


def _in_limit(arguments: Arguments, size: int, more: int) -> int:
    if size + more > arguments.session.limits.message_octets:
        raise Refused("TOOBIG")
    return more


def _copy_url(arguments: Arguments, size: int, url: MessageUrl, writer: LetterWriter) -> Steps[int]:
    """How many octets it leads to. They are read with the rights of this moment (ATT-25), and for
    whoever reads the letter that is made of them: nothing of that one tells of this (DEF-06)."""
    principal = arguments.session.principal
    opened = yield from read(lambda reading: url.opened(reading, principal))
    if opened.letters:
        yield Note(principal.account, opened.bal, opened.letters)
    found = opened.content
    if isinstance(found, bytes):
        _in_limit(arguments, size, len(found))
        yield from off_loop(lambda store: writer.write(found))
        return len(found)
    octets = _in_limit(arguments, size, found.left)
    while found.left:
        block = yield from read(found.next)
        if block is None:
            raise Refused("CORRUPTION")
        yield from off_loop(partial(_write, writer, block))
    return octets


def _write(writer: LetterWriter, block: bytes, _store: Store) -> None:
    writer.write(block)
