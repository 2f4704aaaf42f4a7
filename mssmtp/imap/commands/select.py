"""SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2, RFC 9051 6.3.2, 6.3.3)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import listing, mailboxes, responses, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, Watch, read, send
from mssmtp.imap.numbers import View
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Principal
from mssmtp.storage.flags import SEEN
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class _Opened:
    mailbox: Mailbox
    rights: str
    view: View
    keywords: frozenset[str]
    first_unseen: int | None


@dataclass(frozen=True, slots=True)
class Parameters:
    """`select-params` (RFC 4466 2.1)."""

    condstore: bool = False


@dataclass(frozen=True, slots=True)
class Select(Command):
    """Opens a mailbox; a failed one leaves none selected (6.3.1)."""

    mailbox: str
    read_only: bool
    parameters: Parameters
    given: bytes = b""
    """The name as it was spelt, when it is kept otherwise (RFC 9051 6.3.2, OLDNAME)."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield Watch(None)
        if session.state is State.SELECTED:  # RFC 7162 3.2.11
            yield from send(responses.untagged(b"OK", b"The mailbox before is left", b"CLOSED"))
        session.select(None)
        if self.parameters.condstore:
            yield from sync.become_aware(session)
        opened = yield from read(lambda reading: _open(reading, session.principal, self.mailbox))
        # What the door has heard since it watches nothing counts: no change can fall between.
        yield Watch((opened.mailbox.bal, opened.mailbox.id))
        selected = Selected(
            opened.mailbox,
            self.read_only or not mailboxes.may_change(opened.rights),
            opened.view,
            opened.mailbox.highest_modseq,
            opened.mailbox.highest_modseq,
            keywords=opened.keywords,
            rights=opened.rights,
        )
        if not session.dialect.rev2:
            yield from sync.claim(selected)
        heard = session.is_changed
        session.select(selected)
        session.is_changed = heard  # since the snapshot: told after this command
        if session.dialect.rev2:
            shown = mailboxes.as_shown(opened.mailbox, self.mailbox)
            told = _responses(selected, [listing.unasked(shown, was=self.given)])
        else:
            told = _responses(selected, _older(selected, opened.first_unseen))
        yield from send(b"".join(told))
        verb = b"EXAMINE" if self.read_only else b"SELECT"
        access = b"READ-ONLY" if selected.read_only else b"READ-WRITE"
        return Done(b"%b completed" % verb, access)


def _open(reading: Reading, principal: Principal, name: str) -> _Opened:
    mailbox, rights = mailboxes.find_with_rights(reading, principal, name, mailboxes.READ)
    view, unseen = _view(reading, mailbox)
    return _Opened(mailbox, rights, view, frozenset(reading.keywords(mailbox.id)), unseen)


def _view(reading: Reading, mailbox: Mailbox) -> tuple[View, int | None]:
    """The messages, and the number of the first unseen one."""
    image = reading.image(mailbox.id)
    if image is not None:
        at = image.first_without(SEEN)
        return View(image.uids), None if at is None else at + 1
    view = View(reading.uids(mailbox.id))
    unseen = reading.first_unseen(mailbox.id) if mailbox.unseen else None
    return view, None if unseen is None else bisect_right(view.uids, unseen)


def _older(selected: Selected, first_unseen: int | None) -> list[bytes]:
    """What RFC 9051 has no more (Appendix E, 11 and 12)."""
    out = [b"* %d RECENT\r\n" % selected.recents.count(selected.view)]
    if first_unseen is not None:
        out.append(b"* OK [UNSEEN %d] First unseen message\r\n" % first_unseen)
    return out


def _responses(selected: Selected, of_dialect: list[bytes]) -> list[bytes]:
    mailbox = selected.mailbox
    permanent = b" ".join(flag.encode("ascii") for flag in selected.permanent_flags)
    return [
        sync.flags_response(selected),
        b"* %d EXISTS\r\n" % len(selected.view),
        *of_dialect,
        b"* OK [PERMANENTFLAGS (%b)] Flags that are kept\r\n" % permanent,
        b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % mailbox.uid_validity,
        b"* OK [UIDNEXT %d] Predicted next UID\r\n" % mailbox.uid_next,
        b"* OK [HIGHESTMODSEQ %d] Of the mailbox\r\n" % mailbox.highest_modseq,
        b"* OK [MAILBOXID (%b)] Of the mailbox\r\n" % mailboxes.object_id(mailbox),
    ]


def _parse(cursor: Cursor, *, read_only: bool) -> Select:
    mailbox = cursor.mailbox()
    given = cursor.given
    parameters = _parameters(cursor)
    cursor.end()
    return Select(mailbox, read_only, parameters, given)


def _parameters(cursor: Cursor) -> Parameters:
    """`[SP "(" select-param *(SP select-param) ")"]`."""
    if not cursor.sees(b" ("):
        return Parameters()
    cursor.space()
    words = cursor.listed(cursor.word)
    if words != ["CONDSTORE"]:
        raise BadSyntax("unknown parameter")
    return Parameters(condstore=True)


def parse(cursor: Cursor) -> Select:
    """`mailbox [select-params]`."""
    return _parse(cursor, read_only=False)


def parse_examine(cursor: Cursor) -> Select:
    """`mailbox [select-params]`."""
    return _parse(cursor, read_only=True)
