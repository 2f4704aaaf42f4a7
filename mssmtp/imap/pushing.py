"""Telling events while no command runs (NOTIFY, RFC 5465)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mssmtp.errors import MailError
from mssmtp.imap import incoming, responses, sync
from mssmtp.imap.effects import Listen, Steps, Woken, read, send, wait
from mssmtp.imap.noticing import Client, Look, Noticed, nearby
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session, State
from mssmtp.imap.watching import Heard, Watching
from mssmtp.imap.welcome import still_welcome

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

MOST_ENTRIES = 20_000
"""Mailboxes and annotations that are remembered for one session (D11)."""
MOST_EVENTS = 1_000
"""Of one look: a client that has to be told more is told to look itself (5.8)."""
MANY = 500
"""Mailboxes that are not looked through beside short queries."""
AGAIN_S = 5.0
"""After a look that failed: the store is busy enough."""


def attend(session: Session, watching: Watching) -> Steps[None]:
    """Between two commands: events are told until the client says something. Raises Ended."""
    silent_until = session.clock.monotonic() + session.limits.idle_imap_s
    while True:
        _remember_withheld(session, watching)
        left_s = silent_until - session.clock.monotonic()
        heard = yield from wait(min(left_s, session.timing.keep_alive_s), changes=True)
        if isinstance(heard, bytes):
            session.framer.feed(heard)
            return
        if heard is Woken.TIMEOUT and session.clock.monotonic() < silent_until:
            yield from send(responses.untagged(b"OK", b"Still here"))  # GEN-08
            session.is_changed = session.state is State.SELECTED
            watching.hear_everything()  # rights may have ended, or begun, in silence (ATT-25)
        elif heard is not Woken.CHANGED:
            raise incoming.ended(heard)
        try:
            yield from push(session, expunge=watching.selected.at_once)
        except MailError as error:
            logger.warning("events not told", extra={"code": error.imap})
            yield from _rest(session)
        if session.state is State.LOGOUT or session.watching is not watching:
            return


def _remember_withheld(session: Session, watching: Watching) -> None:
    """EXPUNGEs that had to wait for the end of a command need wait no longer."""
    selected, wanted = session.selected_or_none, watching.selected
    if selected is not None and wanted.at_once and wanted.messages:
        session.is_changed |= selected.gone_modseq < selected.modseq


def _rest(session: Session) -> Steps[None]:
    heard = yield from wait(AGAIN_S)
    if isinstance(heard, bytes):
        session.framer.feed(heard)
    elif heard is not Woken.TIMEOUT:
        raise incoming.ended(heard)


def push(session: Session, *, expunge: bool) -> Steps[None]:
    """All that is news now. Raises Ended for who may see nothing any more."""
    yield from still_welcome(session)
    if session.is_changed and session.state is State.SELECTED:
        yield from sync.catch_up(session, expunge=expunge)
    watching = session.watching
    if watching is not None and watching.has_heard and session.state is not State.LOGOUT:
        yield from _look_around(session, watching)


def _look_around(session: Session, watching: Watching) -> Steps[None]:
    client, heard = _client(session), watching.heard()

    def query(reading: Reading) -> Noticed:
        near = nearby(reading, client, watching, heard)
        return Look.at(reading, client, watching, heard).news() if near is None else near

    try:
        found = yield from read(query, is_long=len(watching.known.states) > MANY)
    except BaseException:
        watching.hear_everything(heard.annotated)
        raise
    if len(found.lines) > MOST_EVENTS or _is_too_much(found):
        yield from _overflow(session)
        return
    if not found.known.bals <= watching.known.bals:
        yield Listen(found.known.bals)
        watching.hear_everything()  # what has changed there since
    watching.known = found.known
    watching.known.states.update(found.states)
    yield from send(b"".join(found.lines))


def _is_too_much(found: Noticed) -> bool:
    annotations = sum(map(len, found.known.annotations.values()))
    return len(found.known.states) + annotations > MOST_ENTRIES


def _overflow(session: Session) -> Steps[None]:
    """As if NOTIFY NONE had come (5.8)."""
    yield Listen(frozenset())
    session.watching = Watching()
    yield from send(responses.untagged(b"OK", b"Too many events", b"NOTIFICATIONOVERFLOW"))


def _client(session: Session) -> Client:
    dialect, selected = session.dialect, session.selected_or_none
    told = None if selected is None else selected.mailbox
    return Client(session.principal, dialect.utf8, dialect.modseqs, told)


def begin(session: Session, watching: Watching, *, statuses: bool) -> Steps[None]:
    """Listen, and tell what NOTIFY SET is answered with (3.1). Raises Refused for too much."""
    if not watching.groups:
        yield Listen(frozenset())
        return
    client, nothing = _client(session), Heard(frozenset(), frozenset(), everywhere=True)
    bals = frozenset(bal.id for bal in session.principal.bals)
    while True:  # what is heard before the look is in it; only rights that were just given go round
        yield Listen(bals)
        found = yield from read(
            lambda reading: Look.at(reading, client, watching, nothing).first(statuses=statuses),
            is_long=True,
        )
        if _is_too_much(found):
            raise Refused("NOTIFICATIONOVERFLOW", b"Too many mailboxes")
        if found.known.bals <= bals:
            break
        bals = found.known.bals
    watching.known = found.known
    yield from send(b"".join(found.lines))
