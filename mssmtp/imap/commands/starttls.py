"""STARTTLS (RFC 3501 6.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import BadSyntax, Ended
from mssmtp.imap import responses
from mssmtp.imap.command import Command
from mssmtp.imap.effects import StartTls, Steps
from mssmtp.imap.framer import Framer
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Starttls(Command):
    """Nothing a client sent in clear survives the handshake (ATT-02, CVE-2021-33515)."""

    def run(self, session: Session, tag: bytes) -> Steps[None]:
        if session.secure:
            raise BadSyntax("TLS is on already")
        if session.framer.buffered:
            # Somebody wrote behind STARTTLS in clear: executing it later is the injection.
            raise Ended(responses.untagged(b"BYE", b"Nothing may follow STARTTLS"))
        yield StartTls(responses.tagged(tag, b"OK", b"Begin TLS negotiation now"))
        session.framer = Framer(session.limits.imap_line_octets)
        session.secure = True


def parse(cursor: Cursor) -> Starttls:
    """No arguments."""
    cursor.end()
    return Starttls()
