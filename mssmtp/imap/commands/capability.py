"""CAPABILITY (RFC 3501 6.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Capability(Command):
    """Lists what is switched on at this moment."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from send(b"* CAPABILITY %b\r\n" % session.capabilities)
        return Done(b"CAPABILITY completed")


def parse(cursor: Cursor) -> Capability:
    """No arguments."""
    cursor.end()
    return Capability()
