"""IDLE (RFC 2177)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import Ended, StorageUnavailable
from mssmtp.imap import incoming, pushing, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, Woken, send, wait
from mssmtp.imap.framer import Unframed
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.welcome import still_welcome


@dataclass(frozen=True, slots=True)
class Idle(Command):
    """Tells changes as they come until DONE, and something every 2 minutes (GEN-08)."""

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        yield from send(responses.continuation(b"idling") + _once_more(session))
        session.is_changed = session.state is State.SELECTED  # RFC 5465 4: what was delayed, too
        while (line := session.framer.next_raw_line()) is None:
            try:
                yield from _wait(session)
            except StorageUnavailable as error:  # there is nothing to say NO to
                raise Ended(incoming.UNAVAILABLE) from error
            if session.state is State.LOGOUT:
                return None
        if isinstance(line, Unframed):
            raise incoming.unframed(line, tag)
        if line.upper() != b"DONE":
            return Done(b"DONE expected", b"CLIENTBUG", b"BAD")
        return Done(b"IDLE completed")


def _once_more(session: Session) -> bytes:
    """THB-07: Thunderbird reads past an EXISTS inside the answer to its UID FETCH, and would not
    look for the letter before its next round, ten minutes later. Here it listens."""
    selected = session.selected_or_none
    if selected is None or not selected.told_in_passing:
        return b""
    selected.told_in_passing = False
    return b"* %d EXISTS\r\n" % len(selected.view)


def _wait(session: Session) -> Steps[None]:
    if session.has_news:
        yield from pushing.push(session, expunge=True)
        return
    selected = session.state is State.SELECTED
    listens = selected or session.watching is not None
    heard = yield from wait(session.timing.keep_alive_s, changes=listens)
    if isinstance(heard, bytes):
        session.framer.feed(heard)
    elif heard is Woken.CHANGED:
        return
    elif heard is Woken.TIMEOUT:
        yield from send(responses.untagged(b"OK", b"Still here"))
        # Rights may have ended without a change in this mailbox (ATT-25).
        yield from still_welcome(session)
        session.is_changed = selected
        if session.watching is not None:
            session.watching.hear_everything()
    else:
        raise incoming.ended(heard)


def parse(cursor: Cursor) -> Idle:
    """No arguments."""
    cursor.end()
    return Idle()
