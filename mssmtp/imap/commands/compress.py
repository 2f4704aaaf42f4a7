"""COMPRESS (RFC 4978), where the settings allow it."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import BadSyntax, Ended
from mssmtp.imap import responses
from mssmtp.imap.command import Command
from mssmtp.imap.effects import Compress as Begin
from mssmtp.imap.effects import Steps
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class Compress(Command):
    """`DEFLATE`: what follows the OK is compressed, both ways."""

    def run(self, session: Session, tag: bytes) -> Steps[None]:
        if not session.limits.imap_compress:
            raise BadSyntax("unknown command")
        if session.is_compressed:
            raise Refused("COMPRESSIONACTIVE")
        if session.framer.buffered:
            # RFC 4978 3: the client waits. What came before the OK is not compressed.
            raise Ended(responses.untagged(b"BYE", b"Nothing may follow COMPRESS"))
        yield Begin(responses.tagged(tag, b"OK", b"DEFLATE active"))
        session.is_compressed = True


def parse(cursor: Cursor) -> Compress:
    """`"DEFLATE"`."""
    if cursor.word() != "DEFLATE":
        raise BadSyntax("unknown mechanism")
    cursor.end()
    return Compress()
