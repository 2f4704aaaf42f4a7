"""NOOP (RFC 3501 6.1.2) and CHECK (6.4.1): both tell what is new."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """Everything acknowledged is durable already: CHECK has nothing more to do than NOOP."""

    verb: bytes

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        session.is_changed = True
        yield from send(b"")
        return Done(b"%b completed" % self.verb)


def parse(cursor: Cursor) -> Noop:
    """No arguments."""
    cursor.end()
    return Noop(b"NOOP")


def parse_check(cursor: Cursor) -> Noop:
    """No arguments."""
    cursor.end()
    return Noop(b"CHECK")
