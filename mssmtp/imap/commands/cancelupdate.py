"""CANCELUPDATE (RFC 5267 4.3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import BadSyntax
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor


@dataclass(frozen=True, slots=True)
class CancelUpdate(Command):
    """No more updates for the searches with these tags: all of them, or none is cancelled."""

    tags: tuple[bytes, ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        if not {each.tag for each in selected.contexts}.issuperset(self.tags):
            raise Refused("NONEXISTENT", b"No such updates")
        selected.contexts = [each for each in selected.contexts if each.tag not in self.tags]
        yield from ()
        return Done(b"CANCELUPDATE completed")


def parse(cursor: Cursor) -> CancelUpdate:
    """`1*(SP quoted)`."""
    tags = [_tag(cursor)]
    while cursor.takes(b" ") and not cursor.at_end():
        tags.append(_tag(cursor))
    cursor.end()
    return CancelUpdate(tuple(tags))


def _tag(cursor: Cursor) -> bytes:
    if not cursor.sees(b'"'):
        raise BadSyntax("a quoted tag expected")
    return cursor.string()
