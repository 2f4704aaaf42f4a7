"""LOGOUT (RFC 3501 6.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap import responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Logout(Command):
    """BYE, then OK, then the door closes at once (APL-08)."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from send(responses.untagged(b"BYE", b"Logging out"))
        session.state = State.LOGOUT
        return Done(b"LOGOUT completed")


def parse(cursor: Cursor) -> Logout:
    """No arguments."""
    cursor.end()
    return Logout()
