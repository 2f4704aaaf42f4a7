"""CLOSE (RFC 3501 6.4.2) and UNSELECT (RFC 3691)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap import mailboxes
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.expunge import remove_deleted
from mssmtp.imap.effects import Steps, Watch
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Close(Command):
    """Leaves the mailbox; CLOSE removes `\\Deleted` messages without a word, UNSELECT never."""

    expunges: bool

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        if self.expunges and selected.may(mailboxes.EXPUNGE):  # RFC 4314 4
            yield from remove_deleted(session, tag)
        yield Watch(None)
        session.select(None)
        return Done(b"CLOSE completed" if self.expunges else b"UNSELECT completed")


def parse(cursor: Cursor) -> Close:
    """No arguments."""
    cursor.end()
    return Close(expunges=True)


def parse_unselect(cursor: Cursor) -> Close:
    """No arguments."""
    cursor.end()
    return Close(expunges=False)
