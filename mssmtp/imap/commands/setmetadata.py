"""SETMETADATA (RFC 5464 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, metadata
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, write
from mssmtp.imap.metadata import MAX_VALUE, MOST_ENTRIES, MOST_IN_BOX, SHARED
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import recounted
from mssmtp.mail import BalId, MailboxId
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

_TOO_LONG = f"METADATA MAXSIZE {MAX_VALUE}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entry stands: `mailbox` 0 is the server, `account` 0 everybody."""

    bal: BalId
    mailbox: int
    account: int


@dataclass(frozen=True, slots=True)
class _Annotated:
    """The mailbox, 0 for the server; before and after, when it has a new modseq."""

    mailbox: int
    touched: list[tuple[Mailbox, Mailbox | None]]


@dataclass(frozen=True, slots=True)
class SetMetadata(Command):
    """Sets all entries or none; None removes one."""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        if any(value and len(value) > MAX_VALUE for _, value in self.values):
            raise Refused(_TOO_LONG, b"Annotation trop longue")

        def job(writing: Writing) -> _Annotated:
            touched: set[_Place] = set()
            annotated: set[int] = set()
            shared = [entry.startswith(SHARED) for entry, _ in self.values]
            places = {each: self._place(writing, session, is_shared=each) for each in set(shared)}
            for (entry, value), is_shared in zip(self.values, shared, strict=True):
                place = places[is_shared]
                writing.annotate(
                    place.bal, entry, value, mailbox=place.mailbox, account=place.account
                )
                annotated.add(place.mailbox)
                if value is not None:
                    touched.add(place)
            before = [writing.mailbox_by_id(MailboxId(each)) for each in filter(None, annotated)]
            for mailbox in filter(None, before):
                writing.touch(mailbox.id)  # RFC 7162 3.2
            for place in touched:
                kept = writing.annotations(place.bal, place.mailbox, place.account)
                if len(kept) > MOST_ENTRIES or writing.annotations_in(place.bal) > MOST_IN_BOX:
                    raise Refused("METADATA TOOMANY", b"Trop d'annotations")
            touches = [recounted(writing, session.watching, each) for each in filter(None, before)]
            return _Annotated(places[shared[0]].mailbox, touches)

        done = yield from write(job)
        if session.watching is not None:
            for entry, value in self.values:
                session.watching.annotated(done.mailbox, entry, value)
        for each in done.touched:
            session.has_counted(*each)
        return Done(b"SETMETADATA completed")

    def _place(self, writing: Writing, session: Session, *, is_shared: bool) -> _Place:
        """Raises NoSuchMailbox, Refused: what all share, a reader does not change (3.3)."""
        account = 0 if is_shared else session.principal.account
        if not self.mailbox:
            if is_shared:
                raise Refused("NOPERM")  # 3.2.1.1: nobody's to change
            return _Place(metadata.box_of(session.principal), 0, account)
        mailbox, rights = metadata.find(writing, session.principal, self.mailbox)
        if is_shared:
            mailboxes.demand(rights, mailboxes.WRITE)
        return _Place(mailbox.bal, mailbox.id, account)


def parse(cursor: Cursor) -> SetMetadata:
    """`mailbox SP "(" entry SP value *(SP entry SP value) ")"`."""

    def pair() -> tuple[str, bytes | None]:
        entry = metadata.settable(cursor)
        cursor.space()
        return entry, cursor.nstring()

    mailbox = cursor.mailbox()
    cursor.space()
    values = cursor.listed(pair)
    cursor.end()
    return SetMetadata(mailbox, tuple(values))
