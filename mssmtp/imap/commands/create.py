"""CREATE (RFC 3501 6.3.3) with a special use (RFC 6154 3)."""

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

_USES = {
    use.lower(): use
    for use in ("\\Archive", "\\Drafts", "\\Important", "\\Junk", "\\Sent", "\\Trash")
}
"""Uses of real mailboxes. Of the five that every box has from its first day one is enough."""


@dataclass(frozen=True, slots=True)
class Create(Command):
    """Makes a mailbox and its parents, subscribed (GEN-14). `uses`: as given, in any case."""

    mailbox: str
    uses: tuple[str, ...] = ()

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> None:
            try:
                place = mailboxes.locate(writing, session.principal, self.mailbox)
            except NoSuchMailbox as error:  # beside the boxes of others nothing can be made
                raise Refused("CANNOT") from error
            writing.create_mailbox(place.bal.id, place.name, self._use())

        yield from write(job)
        return Done(b"CREATE completed")

    def _use(self) -> str | None:
        """Raises Refused for a use we cannot give: then nothing is made at all."""
        if not self.uses:
            return None
        if len(self.uses) > 1 or self.uses[0].lower() not in _USES:
            raise Refused("USEATTR")
        return _USES[self.uses[0].lower()]


def parse(cursor: Cursor) -> Create:
    """`mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`.

    A trailing delimiter only declares an intent (THB-09).
    """
    name = names.creatable(cursor.mailbox())
    uses: set[str] = set()
    if cursor.takes(b" ("):
        cursor.expect(b"USE")
        cursor.space()
        uses = set(cursor.listed(cursor.use, may_be_empty=True))
        cursor.expect(b")")
    cursor.end()
    return Create(name, tuple(uses))
