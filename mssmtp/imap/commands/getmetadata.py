"""GETMETADATA (RFC 5464 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import metadata, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.metadata import Values
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor

if TYPE_CHECKING:
    from mssmtp.storage import Reading

INFINITY = 1_000
"""No name has so many levels."""
_DEPTHS = {"0": 0, "1": 1, "INFINITY": INFINITY}


@dataclass(frozen=True, slots=True)
class Options:
    """`max_size`: longer values are not told (4.2.1). `depth`: levels below the names (4.2.2)."""

    max_size: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class GetMetadata(Command):
    """Values of entries of a mailbox, or of the server when `mailbox` is empty."""

    mailbox: str
    entries: tuple[str, ...]
    options: Options

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        principal = session.principal

        def query(reading: Reading) -> Values:
            if not self.mailbox:
                return metadata.of_server(reading, principal)
            mailbox, _ = metadata.find(reading, principal, self.mailbox)
            return metadata.of_mailbox(reading, mailbox, principal.account)

        found = self._asked(dict((yield from read(query))))
        limit = self.options.max_size
        too_long = [len(v) for v in found.values() if v and limit is not None and len(v) > limit]
        short = (
            (entry, value)
            for entry, value in found.items()
            if value is None or limit is None or len(value) <= limit
        )
        name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
        yield from send(metadata.told(name, short))
        code = b"METADATA LONGENTRIES %d" % max(too_long) if too_long else b""
        return Done(b"GETMETADATA completed", code)

    def _asked(self, values: dict[str, bytes]) -> dict[str, bytes | None]:
        """Each name asked for, NIL when there is none, and with DEPTH what is below it."""
        out: dict[str, bytes | None] = {}
        for entry in self.entries:
            if entry in values or not self.options.depth:
                out[entry] = values.get(entry)
            for name in sorted(values):
                below = name.removeprefix(entry + "/")
                if below != name and below.count("/") < self.options.depth:
                    out[name] = values[name]
        return out


def _options(cursor: Cursor) -> Options:
    given: dict[str, int] = {}

    def option() -> None:
        name = cursor.word()
        cursor.space()
        value = cursor.word()
        if name == "MAXSIZE" and value.isdigit() and len(value) <= 10:
            given[name] = int(value)
        elif name == "DEPTH" and value in _DEPTHS:
            given[name] = _DEPTHS[value]
        else:
            raise BadSyntax("unknown option")

    cursor.listed(option)
    return Options(given.get("MAXSIZE"), given.get("DEPTH", 0))


def parse(cursor: Cursor) -> GetMetadata:
    """`[options SP] mailbox SP entries`; the examples of RFC 5464 have the options behind the
    mailbox, and entries without parentheses: both are understood."""
    options = None
    if cursor.sees(b"("):
        options = _options(cursor)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    if options is None and (cursor.sees(b"(MAXSIZE ") or cursor.sees(b"(DEPTH ")):
        options = _options(cursor)
        cursor.space()
    if cursor.sees(b"("):
        entries = metadata.entries(cursor)
    else:
        entries = (metadata.entry(cursor),)
        while cursor.takes(b" ") and not cursor.at_end() and len(entries) < metadata.MOST_ENTRIES:
            entries += (metadata.entry(cursor),)
    cursor.end()
    return GetMetadata(mailbox, entries, options or Options())
