"""LOGIN (RFC 3501 6.2.3), and what a checked password leads to."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import MailError
from mssmtp.identity.refusals import BadCredentials, LoginRefused
from mssmtp.identity.sasl import Answer, Credentials
from mssmtp.imap import responses
from mssmtp.imap.capabilities import takes_passwords
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Pause, Steps, authenticate, send
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal

LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Login(Command):
    """A name and an application password (CL-31), over TLS only (OP-81)."""

    login: bytes
    password: bytes

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        if not session.secure:
            raise Refused("PRIVACYREQUIRED")
        if not takes_passwords(session.mechanisms):
            raise Refused("CANNOT", b"No password is taken here; use AUTHENTICATE")
        try:
            login, password = self.login.decode("utf-8"), self.password.decode("utf-8")
        except UnicodeDecodeError:  # ATT-11: only this login fails
            return (yield from wrong_password(session, tag, BadCredentials()))
        try:
            principal = yield from authenticate(Credentials(login, password))
        except LoginRefused as error:
            return (yield from wrong_password(session, tag, error))
        return logged_in(session, principal)


def logged_in(session: Session, principal: Answer) -> Done:
    """The answer has the capabilities of the new state (AND-01)."""
    if not isinstance(principal, Principal):
        raise TypeError(type(principal).__name__)
    session.log_in(principal)
    return Done(b"Logged in", b"CAPABILITY " + session.capabilities)


def wrong_password(session: Session, tag: bytes, error: LoginRefused) -> Steps[Done | None]:
    """Answer late; after `limits.wrong_passwords` of them say BYE. Nobody else waits (ATT-14)."""
    session.wrong_passwords += 1
    if error.is_guess:  # CL-20: a token that has ended is told at once; a new one follows
        yield Pause(min(max(error.delay_s, session.timing.wrong_password_s), LONGEST_PAUSE_S))
    told: MailError = error
    if error.imap_text:
        told = Refused(error.imap, error.imap_text.encode("ascii"))
    if session.wrong_passwords < session.limits.wrong_passwords:
        raise told from error
    farewell = responses.untagged(b"BYE", b"Too many wrong passwords")
    yield from send(responses.refusal(tag, told) + farewell)
    session.state = State.LOGOUT
    return None


def parse(cursor: Cursor) -> Login:
    """`userid SP password`."""
    login = cursor.astring()
    cursor.space()
    password = cursor.astring()
    cursor.end()
    return Login(login, password)
