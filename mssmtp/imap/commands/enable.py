"""ENABLE (RFC 5161)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap import sync
from mssmtp.imap.capabilities import ENABLES, enabled
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.selected import Recents
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """Switches extensions on; unknown names are passed over (3.1), mutt sends them unasked.

    ENABLED is always sent, even when it says nothing: a client hangs without it (MAC-07).
    """

    names: tuple[bytes, ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        asked = dict.fromkeys(self.names)
        known = [name for name in asked if name.decode("ascii").upper() in ENABLES]
        before = session.dialect
        for name in known:
            session.dialect = enabled(session.dialect, name.decode("ascii").upper())
        yield from send(b" ".join([b"* ENABLED", *known]) + b"\r\n")
        if session.dialect.modseqs and not before.modseqs:
            yield from sync.tell_highest(session)
        if session.dialect.rev2 and session.selected_or_none:
            session.selected.recents = Recents()  # nobody asks any more
        if session.selected_or_none:
            session.selected.view.uids_only = session.dialect.uids_only
        return Done(b"ENABLE completed")


def parse(cursor: Cursor) -> Enable:
    """`1*(SP capability)`."""
    names = [cursor.atom()]
    while cursor.takes(b" ") and not cursor.at_end():
        names.append(cursor.atom())
    cursor.end()
    return Enable(tuple(names))
