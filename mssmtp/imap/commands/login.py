"""LOGIN (RFC 3501 6.2.3), and what a checked password leads to."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import MailError
from mssmtp.identity.authenticator import BadCredentials, LoginRefused
from mssmtp.imap import responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Pause, Steps, authenticate, send
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor

LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Login(Command):
    """A name and an application password (CL-31), over TLS only (OP-81)."""

    login: bytes
    password: bytes

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        if not session.secure:
            raise Refused("PRIVACYREQUIRED")
        try:
            login, password = self.login.decode("utf-8"), self.password.decode("utf-8")
        except UnicodeDecodeError:  # ATT-11: only this login fails
            return (yield from wrong_password(session, tag, BadCredentials()))
        return (yield from log_in(session, tag, login, password))


def log_in(session: Session, tag: bytes, login: str, password: str) -> Steps[Done | None]:
    """Check, and answer with the capabilities of the new state (AND-01)."""
    try:
        principal = yield from authenticate(login, password)
    except MailError as error:
        if not isinstance(error, LoginRefused):
            raise
        return (yield from wrong_password(session, tag, error))
    session.log_in(principal)
    return Done(b"Logged in", b"CAPABILITY " + session.capabilities)


def wrong_password(session: Session, tag: bytes, error: LoginRefused) -> Steps[Done | None]:
    """Answer late; after `limits.wrong_passwords` of them say BYE. Nobody else waits (ATT-14)."""
    session.wrong_passwords += 1
    yield Pause(min(max(error.delay_s, session.timing.wrong_password_s), LONGEST_PAUSE_S))
    if session.wrong_passwords < session.limits.wrong_passwords:
        raise error
    yield from send(
        responses.refusal(tag, error) + responses.untagged(b"BYE", b"Too many wrong passwords")
    )
    session.state = State.LOGOUT
    return None


def parse(cursor: Cursor) -> Login:
    """`userid SP password`."""
    login = cursor.astring()
    cursor.space()
    password = cursor.astring()
    cursor.end()
    return Login(login, password)
