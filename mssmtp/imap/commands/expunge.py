"""EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.numbers import NumberSet
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """Removes `\\Deleted` messages, of `uids` only when given; the news tell the numbers."""

    uids: NumberSet | None

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        if selected.read_only:
            raise Refused("NOPERM", b"Mailbox is read-only")
        named: Sequence[Uid] | None = None
        if self.uids is not None:
            spans = selected.view.spans(self.uids, by_uid=True)
            named = [Uid(uid) for uid in selected.view.uids_of(spans)]
        yield from write(lambda writing: writing.expunge(selected.mailbox.id, named))
        session.is_changed = True
        return Done(b"EXPUNGE completed")


def parse(cursor: Cursor) -> Expunge:
    """No arguments."""
    cursor.end()
    return Expunge(None)


def parse_uid(cursor: Cursor) -> Expunge:
    """`sequence-set` of UIDs."""
    uids = cursor.number_set()
    cursor.end()
    return Expunge(uids)
