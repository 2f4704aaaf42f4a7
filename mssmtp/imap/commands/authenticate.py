"""AUTHENTICATE (RFC 3501 6.2.2) with SASL-IR (RFC 4959), by the mechanisms of the door.

They are in `identity`: PLAIN (RFC 4616), SCRAM-SHA-256 (RFC 7677), SCRAM-SHA-256-PLUS (RFC 9266),
OAUTHBEARER (RFC 7628), EXTERNAL (RFC 4422 A) and others.
"""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.identity.refusals import LoginRefused
from mssmtp.identity.sasl import Challenge, Exchange, UnknownMechanism
from mssmtp.imap import incoming, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.login import logged_in, wrong_password
from mssmtp.imap.effects import Steps, authenticate, send
from mssmtp.imap.framer import Unframed
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal

_NOT_OFFERED = b"Mecanisme de connexion non offert ici ; prenez un de ceux de CAPABILITY"


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """A SASL exchange over TLS (OP-81); `initial` is base64, `=` for an empty one."""

    mechanism: str
    initial: bytes | None

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        if not session.secure:
            raise Refused("PRIVACYREQUIRED")
        exchange = Exchange(self.mechanism, session.mechanisms, session.channel)
        try:
            step = exchange.begin(self.initial)
            while not isinstance(step, Principal):
                if isinstance(step, Challenge):
                    step = exchange.receive((yield from _challenged(session, tag, step)))
                else:
                    step = exchange.answer((yield from authenticate(step)))
            return logged_in(session, step)
        except UnknownMechanism as error:
            raise Refused("CANNOT", _NOT_OFFERED) from error
        except LoginRefused as error:
            if (last := exchange.refused(error)) is not None:
                yield from _challenged(session, tag, last)
            return (yield from wrong_password(session, tag, error))


def _challenged(session: Session, tag: bytes, challenge: Challenge) -> Steps[bytes]:
    """What the client answers."""
    yield from send(responses.continuation(challenge.octets))
    return (yield from _line(session, tag))


def _line(session: Session, tag: bytes) -> Steps[bytes]:
    """One line of the client, in which a brace means nothing."""
    while (line := session.framer.next_raw_line()) is None:
        yield from incoming.receive(session)
    if isinstance(line, Unframed):
        raise incoming.unframed(line, tag)
    return line


def parse(cursor: Cursor) -> Authenticate:
    """`auth-type [SP (base64 / "=")]`."""
    mechanism = cursor.atom().decode("ascii")
    initial = None
    if cursor.takes(b" "):
        initial = cursor.initial_response()
    cursor.end()
    return Authenticate(mechanism, initial)
