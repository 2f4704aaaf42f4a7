"""CREATE (RFC 3501 6.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, names
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Create(Command):
    """Makes a mailbox and its parents, subscribed (GEN-14)."""

    mailbox: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> None:
            try:
                place = mailboxes.locate(writing, session.principal, self.mailbox)
            except NoSuchMailbox as error:  # beside the boxes of others nothing can be made
                raise Refused("CANNOT") from error
            writing.create_mailbox(place.bal.id, place.name)

        yield from write(job)
        return Done(b"CREATE completed")


def parse(cursor: Cursor) -> Create:
    """`mailbox`; a trailing delimiter only declares an intent (THB-09)."""
    name = names.creatable(cursor.mailbox())
    cursor.end()
    return Create(name)
