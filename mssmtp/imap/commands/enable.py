"""ENABLE (RFC 5161)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """Nothing can be enabled yet; unknown names are passed over (3.1), mutt sends them unasked."""

    names: tuple[bytes, ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from send(b"* ENABLED\r\n")
        return Done(b"ENABLE completed")


def parse(cursor: Cursor) -> Enable:
    """`1*(SP capability)`."""
    names = [cursor.atom()]
    while not cursor.at_end():
        cursor.space()
        names.append(cursor.atom())
    return Enable(tuple(names))
