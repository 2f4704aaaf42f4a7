"""CREATE (RFC 3501 6.3.3) with a special use (RFC 6154 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import listing, mailboxes, names
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, send, write
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

_USES = {
    use.lower(): use
    for use in ("\\Archive", "\\Drafts", "\\Important", "\\Junk", "\\Sent", "\\Trash")
}
"""Uses of real mailboxes. Of the five that every box has from its first day one is enough."""


@dataclass(frozen=True, slots=True)
class Create(Command):
    """Makes a mailbox and its parents, subscribed (GEN-14). `uses`: as given, in any case.

    `given`: the name as it was spelt, when it is kept otherwise (RFC 9051 6.3.4, OLDNAME).
    """

    mailbox: str
    uses: tuple[str, ...] = ()
    given: bytes = b""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        def job(writing: Writing) -> list[Mailbox]:
            place = mailboxes.creatable(writing, session.principal, self.mailbox)
            there = mailboxes.path(writing, place)
            made = writing.create_mailbox(place.bal.id, place.name, self._use())
            return [*mailboxes.path(writing, place)[len(there) : -1], made]

        levels = yield from write(job)
        made = levels[-1]
        if session.watching is not None:
            for each in levels:
                session.watching.named(mailboxes.beside(self.mailbox, each), each)
        if self.given and session.dialect.rev2:
            shown = mailboxes.as_shown(made, self.mailbox)
            yield from send(listing.unasked(shown, was=self.given))
        return Done(b"CREATE completed", b"MAILBOXID (%b)" % mailboxes.object_id(made))

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
    given = cursor.given
    uses: list[str] = []
    if cursor.takes(b" ("):
        cursor.expect(b"USE")
        cursor.space()
        uses = sorted(set(cursor.listed(cursor.use, may_be_empty=True)))
        cursor.expect(b")")
    cursor.end()
    return Create(name, tuple(uses), given)
