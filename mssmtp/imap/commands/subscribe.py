"""SUBSCRIBE and UNSUBSCRIBE (RFC 3501 6.3.6, 6.3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, subscriptions
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Writing


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    """What LSUB lists; Thunderbird shows nothing else (THB-01)."""

    mailbox: str
    on: bool

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> None:
            place = mailboxes.locate(writing, session.principal, self.mailbox)
            if self.on:
                mailboxes.find(writing, session.principal, self.mailbox, mailboxes.LOOKUP)
            found = writing.mailbox(place.bal.id, place.name)
            if found is None or subscriptions.is_own(session.principal, place.bal.id):
                writing.subscribe(place.bal.id, place.name, on=self.on)
            else:
                subscriptions.choose(writing, found, session.principal.account, on=self.on)

        yield from write(job)
        if session.watching is not None:
            session.watching.subscribed(mailboxes.canonical(self.mailbox), on=self.on)
        return Done(b"SUBSCRIBE completed" if self.on else b"UNSUBSCRIBE completed")


def _mailbox(cursor: Cursor) -> str:
    mailbox = cursor.mailbox().removesuffix("/")
    cursor.end()
    return mailbox


def parse(cursor: Cursor) -> Subscribe:
    """`mailbox`."""
    return Subscribe(_mailbox(cursor), on=True)


def parse_unsubscribe(cursor: Cursor) -> Subscribe:
    """`mailbox`."""
    return Subscribe(_mailbox(cursor), on=False)
