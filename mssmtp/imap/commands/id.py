"""ID (RFC 2971)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import BadSyntax
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor

MAX_FIELDS = 30
MAX_FIELD = 30
MAX_VALUE = 1024


@dataclass(frozen=True, slots=True)
class Id(Command):
    """The client's words are checked and forgotten: they name a person's device. Its own name is
    looked at when it logs in (F2)."""

    fields: tuple[tuple[bytes, bytes | None], ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if session.state is State.NOT_AUTHENTICATED:
            named = next((value for name, value in self.fields if name.lower() == b"name"), None)
            session.client = (named or b"").decode("utf-8", "replace")
        yield from send(b'* ID ("name" "mssmtp")\r\n')
        return Done(b"ID completed")


def parse(cursor: Cursor) -> Id:
    """`NIL / "(" [string SP nstring *(SP string SP nstring)] ")"`; `()` too (GEN-20)."""

    def field() -> tuple[bytes, bytes | None]:
        name = cursor.string()
        cursor.space()
        return name, cursor.nstring()

    fields: list[tuple[bytes, bytes | None]] = []
    if not cursor.takes(b"NIL"):
        fields = cursor.listed(field, may_be_empty=True)
    cursor.end()
    if len(fields) > MAX_FIELDS or any(
        len(name) > MAX_FIELD or len(value or b"") > MAX_VALUE for name, value in fields
    ):
        raise BadSyntax("too much")  # RFC 2971 3.3
    return Id(tuple(fields))
