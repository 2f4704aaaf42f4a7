"""The whole conversation as one generator: greeting, commands in turn, farewell (RFC 3501 7).

Doors and tests only perform its effects. Nothing here waits, and nothing a client sends can end
more than its own session.
"""

from __future__ import annotations

import logging

from mssmtp import metrics
from mssmtp.errors import BadSyntax, Ended, MailError
from mssmtp.imap import incoming, pushing, responses, sync
from mssmtp.imap.command import Command
from mssmtp.imap.commands import BRINGING, VERBS
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.framer import Announced, Event, Line, Literal, Unframed
from mssmtp.imap.numbers import UidRequired
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.welcome import still_welcome

logger = logging.getLogger(__name__)

MOST_MISTAKES = 20
"""Commands in a row that could not be read before we hang up."""
MOST_MISTAKES_BEFORE_LOGIN = 3
MOST_BEFORE_LOGIN = 100
"""Commands of a stranger; a client needs ten (ATT-41)."""
MOST_PARTS = 1_001
"""Text and literals of one command: 500 literals (ATT-04, ATT-27)."""


def converse(session: Session) -> Steps[None]:
    """All of one connection. Ends when the door should close."""
    try:
        greeting = b"CAPABILITY " + session.capabilities
        yield from send(responses.untagged(b"OK", b"IMAP ready", greeting))
        yield from _commands(session)
    except Ended as end:
        yield from send(end.farewell)


def _commands(session: Session) -> Steps[None]:
    first = True
    mistakes = strange = 0
    while session.state is not State.LOGOUT:
        event = yield from _next_event(session)
        understood = yield from _handle(session, event)
        mistakes = 0 if understood else mistakes + 1
        stranger = session.state is State.NOT_AUTHENTICATED
        strange += stranger
        if strange > MOST_BEFORE_LOGIN:
            raise Ended(responses.untagged(b"BYE", b"Too many commands before login"))
        if mistakes >= (MOST_MISTAKES_BEFORE_LOGIN if stranger else MOST_MISTAKES) or (
            mistakes and first
        ):
            # Whatever speaks here, it is not IMAP (an HTTP request, a port scan).
            raise Ended(responses.untagged(b"BYE", b"Too many mistakes"))
        first = False


def _next_event(session: Session) -> Steps[Event]:
    """What the client says next; between two commands it is told what it has asked NOTIFY for."""
    while (event := session.framer.next_event()) is None:
        watching = session.watching
        if watching is not None and session.framer.between_commands:
            yield from pushing.attend(session, watching)
            if session.state is State.LOGOUT:
                raise Ended
        else:
            yield from incoming.receive(session)
    return event


def _handle(session: Session, event: Event) -> Steps[bool]:
    """Do what `event` asks; False when it could not be understood."""
    match event:
        case Line():
            return (yield from _line(session, event))
        case Announced():
            return (yield from _announced(session, event))
        case Unframed():
            raise incoming.unframed(event, _tag_of(event.head))
    raise RuntimeError("no literal was being streamed")


def _tag_of(head: bytes) -> bytes:
    try:
        return Cursor((head,)).tag()
    except BadSyntax:
        return b"*"


def _announced(session: Session, event: Announced) -> Steps[bool]:
    """Judge a literal before one octet of it is taken (ATT-03)."""
    if session.state in (State.AUTHENTICATED, State.SELECTED):
        found = _bringing(session, event)
        if found is not None:
            return (yield from _run(session, *found))
    # Counted before they are added up: many empty literals must not cost their number squared.
    if len(event.parts) <= MOST_PARTS and _held(event) <= session.literal_octets:
        session.framer.take()
        if event.synchronizing:
            yield from send(responses.continuation(b"Ready"))
        return True
    first = event.parts[0]
    tag = _tag_of(first if isinstance(first, bytes) else b"")
    refusal = responses.refusal(tag, responses.Refused("TOOBIG", b"Literal too big"))
    yield from incoming.refuse_literal(session, tag, event, refusal)
    return True


def _bringing(session: Session, event: Announced) -> tuple[bytes, str, Command] | None:
    """Tag, verb and head when the literal stands where a message may: behind the mailbox."""
    cursor = Cursor(event.parts, utf8=session.dialect.utf8)
    try:
        tag = cursor.tag()
        cursor.space()
        verb = cursor.word()
        if verb == "UID":
            cursor.space()
            verb += " " + cursor.word()
        if verb not in BRINGING:
            return None
        cursor.space()
        return tag, verb, BRINGING[verb](cursor, event)
    except BadSyntax:
        return None


def _held(event: Announced) -> int:
    """Octets of literals in memory once this one is taken."""
    taken = sum(len(part.octets) for part in event.parts if isinstance(part, Literal))
    return taken + event.size_octets


def _line(session: Session, line: Line) -> Steps[bool]:
    cursor = Cursor(line.parts, utf8=session.dialect.utf8)
    try:
        tag = cursor.tag()
        cursor.space()
        verb = cursor.word()
    except BadSyntax:
        refusal = responses.tagged(
            _tag_of(_head(line)), b"BAD", b"Command not understood", b"CLIENTBUG"
        )
        yield from send(refusal)
        return False
    try:
        command = _parse(session, verb, cursor)
    except MailError as error:
        yield from _refuse(tag, verb, error)
        return error.imap != "CLIENTBUG"
    return (yield from _run(session, tag, verb, command))


def _head(line: Line) -> bytes:
    first = line.parts[0]
    return first if isinstance(first, bytes) else b""


def _parse(session: Session, verb: str, cursor: Cursor) -> Command:
    if verb == "UID":
        cursor.space()
        verb = "UID " + cursor.word()
    known = VERBS.get(verb)
    if known is None:
        raise BadSyntax("unknown command")
    if session.state not in known.states:
        raise BadSyntax(f"not in the {session.state.value} state")
    if session.dialect.uids_only and f"UID {verb}" in VERBS and verb != "EXPUNGE":
        raise UidRequired("UIDs only")
    if not cursor.is_trailing_space():
        cursor.space()
    return known.parse(cursor)


def _tell(session: Session, verb: str, command: Command) -> Steps[None]:
    asked = verb in ("NOOP", "CHECK")
    yield from sync.tell(session, expunge=not command.withholds_expunge, in_passing=not asked)


def _run(session: Session, tag: bytes, verb: str, command: Command) -> Steps[bool]:
    """Run one command and answer it, whatever happens inside (attacks.md, rule 2)."""
    try:
        yield from _still_welcome(session, verb)
        done = yield from command.run(session, tag)
        yield from _tell(session, verb, command)
    except Ended:
        raise
    except MailError as error:
        if isinstance(error, responses.Refused):
            # Part of it may be done and told, with a modseq above what was not (RFC 7162 3.2).
            yield from _tell(session, verb, command)
        yield from _refuse(tag, verb, error)
        return True
    except Exception:
        logger.exception("imap command failed", extra={"verb": verb})
        metrics.internal_errors.labels("imap").inc()
        refusal = responses.refusal(tag, MailError())
        if session.framer.in_literal:  # what comes next may be a letter, or a command
            raise Ended(refusal + incoming.UNAVAILABLE) from None
        yield from send(refusal)
        return True
    if done is None:
        return True
    metrics.imap_commands.labels(verb, done.condition.decode("ascii")).inc()
    yield from send(responses.tagged(tag, done.condition, done.text, done.code))
    return done.condition != b"BAD"


def _still_welcome(session: Session, verb: str) -> Steps[None]:
    try:
        yield from still_welcome(session)
    except MailError as error:
        if verb in BRINGING:  # its literal may be on the way already
            raise Ended(incoming.UNAVAILABLE) from error
        raise


def _refuse(tag: bytes, verb: str, error: MailError) -> Steps[None]:
    """BAD for what is not in the grammar, NO with its code for everything else."""
    metrics.imap_commands.labels(
        verb if verb in VERBS else "unknown", "BAD" if responses.is_bad(error) else "NO"
    ).inc()
    yield from send(responses.failure(tag, error))
