"""NAMESPACE (RFC 2342)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.imap import mailboxes
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Namespace(Command):
    """Own names without prefix (OLC-06); the boxes of organisations beside them."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        now = yield from read(lambda reading: mailboxes.present(reading, session.principal))
        shares = any(bal.id != session.principal.first for bal in now.bals)
        others = b'(("%b/" "/"))' % mailboxes.OTHERS.encode("ascii") if shares else b"NIL"
        yield from send(b'* NAMESPACE (("" "/")) %b NIL\r\n' % others)
        return Done(b"NAMESPACE completed")


def parse(cursor: Cursor) -> Namespace:
    """No arguments."""
    cursor.end()
    return Namespace()
