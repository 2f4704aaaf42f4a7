"""Getting octets from the client: waiting, framing, and letting go of what is refused."""

from __future__ import annotations

from mssmtp.errors import Ended
from mssmtp.imap import responses
from mssmtp.imap.effects import Steps, Woken, send, wait
from mssmtp.imap.framer import Announced, Chunk, Event, Line, Unframed
from mssmtp.imap.session import Session, State

MID_COMMAND_S = 300.0
"""Silence in the middle of a command: nobody types a literal by hand (ATT-41)."""
MOST_AT_ONCE = 131_072
"""Octets of a literal that are waited for together: waking for each TLS record costs as much as
what is done with it."""
STOPPING = responses.untagged(b"BYE", b"Server is stopping, please come back", b"UNAVAILABLE")
UNAVAILABLE = responses.untagged(b"BYE", b"The store does not answer", b"UNAVAILABLE")
"""Where a NO could not be sent any more: in the middle of a literal, or of IDLE (CL-79)."""
SILENT = responses.untagged(b"BYE", b"Nothing was heard for too long")


def receive(session: Session) -> Steps[None]:
    """Wait for octets and frame them. Raises Ended."""
    timeout_s = session.limits.idle_imap_s
    if session.state is State.NOT_AUTHENTICATED:
        timeout_s = session.limits.idle_prelogin_s
    elif not session.framer.between_commands:
        timeout_s = min(timeout_s, MID_COMMAND_S)
    heard = yield from wait(timeout_s, enough=min(session.framer.lacks, MOST_AT_ONCE))
    if isinstance(heard, bytes):
        session.framer.feed(heard)
    else:
        raise ended(heard)


def ended(woken: Woken) -> Ended:
    """What to say when a Wait brought no octets."""
    farewells = {Woken.TIMEOUT: SILENT, Woken.STOPPING: STOPPING}
    return Ended(farewells.get(woken, b""))


def next_event(session: Session) -> Steps[Event]:
    """The next framed event. Raises Ended."""
    while (event := session.framer.next_event()) is None:
        yield from receive(session)
    return event


def unframed(event: Unframed, tag: bytes) -> Ended:
    """Nothing after `event` can be trusted: answer and close."""
    reason = event.reason.encode("ascii")
    return Ended(
        responses.tagged(tag, b"BAD", reason, b"CLIENTBUG") + responses.untagged(b"BYE", reason)
    )


def refuse_literal(session: Session, tag: bytes, event: Announced, refusal: bytes) -> Steps[None]:
    """Answer `refusal` in place of taking the literal (RFC 3501 7.5, RFC 7888 4, GEN-04).

    A synchronizing one never comes then. A non-synchronizing one is already on its way: counted
    to its end and forgotten when a logged-in client sent it and it has a sane size (AND-02),
    otherwise we close.
    """
    if event.synchronizing:
        session.framer.drop()
    elif session.state is State.NOT_AUTHENTICATED or (
        event.size_octets > 2 * session.limits.message_octets
    ):
        raise Ended(refusal + responses.untagged(b"BYE", b"Literal too big", b"TOOBIG"))
    else:
        session.framer.skip()
        yield from drain(session, tag)
    yield from send(refusal)


def drain(session: Session, tag: bytes) -> Steps[None]:
    """Let the rest of a command pass, further literals included."""
    while True:
        event = yield from next_event(session)
        match event:
            case Line():
                return
            case Unframed():
                raise unframed(event, tag)
            case Announced(synchronizing=True):
                session.framer.drop()
                return
            case Announced(size_octets=size) if size > 2 * session.limits.message_octets:
                raise Ended(responses.untagged(b"BYE", b"Literal too big", b"TOOBIG"))
            case Announced():
                session.framer.skip()
            case Chunk():
                continue
