"""SELECT and EXAMINE (RFC 3501 6.3.1, RFC 9051 6.3.2), with CONDSTORE and QRESYNC (RFC 7162)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import listing, mailboxes, responses, subscriptions, sync, vanished
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.fetch import show_changed
from mssmtp.imap.effects import Question, Steps, Watch, read, send
from mssmtp.imap.numbers import NumberSet, UidRequired, View
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.vanished import Known, Range
from mssmtp.mail import Principal
from mssmtp.storage.flags import SEEN
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class _Opened:
    mailbox: Mailbox
    rights: str
    uids: Sequence[int]
    keywords: frozenset[str]
    first_unseen: int | None
    gone: list[Range]
    """Of what the client knows, by the same snapshot."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """`select-params` (RFC 4466 2.1)."""

    condstore: bool = False
    uid_validity: int = 0
    known: Known | None = None
    """QRESYNC: what the client knows of the mailbox, if it is that of `uid_validity`."""


@dataclass(frozen=True, slots=True)
class Select(Command):
    """Opens a mailbox; a failed one leaves none selected (6.3.1)."""

    mailbox: str
    read_only: bool
    parameters: Parameters
    given: bytes = b""
    """The name as it was spelt, when it is kept otherwise (RFC 9051 6.3.2, OLDNAME)."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        known = self.parameters.known
        if known is not None and not session.dialect.vanished:
            raise BadSyntax("ENABLE QRESYNC first")
        if known is not None and known.matches and session.dialect.uids_only:
            raise UidRequired("UIDs only")
        yield from _leave(session)
        if self.parameters.condstore:
            yield from sync.become_aware(session)
        who, parameters = session.principal, self.parameters
        question = None if known else Question(who, ("open", self.mailbox))
        opened = yield from read(
            lambda reading: _open(reading, who, self.mailbox, parameters), question=question
        )
        # What the door has heard since it watches nothing counts: no change can fall between.
        yield Watch((opened.mailbox.bal, opened.mailbox.id))
        selected = Selected(
            opened.mailbox,
            self.read_only or not mailboxes.may_change(opened.rights),
            _view(opened.uids, opened.mailbox),
            opened.mailbox.highest_modseq,
            opened.mailbox.highest_modseq,
            keywords=opened.keywords,
            rights=opened.rights,
        )
        selected.view.uids_only = session.dialect.uids_only
        if not session.dialect.rev2:
            yield from sync.claim(selected)
        heard = session.is_changed
        session.select(selected)
        session.is_changed = heard  # since the snapshot: told after this command
        yield from send(self._greeting(session, opened))
        if known is not None and parameters.uid_validity == opened.mailbox.uid_validity:
            yield from send(b"".join(vanished.responses(opened.gone, earlier=True)))
            yield from show_changed(session, known)
        verb = b"EXAMINE" if self.read_only else b"SELECT"
        access = b"READ-ONLY" if selected.read_only else b"READ-WRITE"
        return Done(b"%b completed" % verb, access)

    def _greeting(self, session: Session, opened: _Opened) -> bytes:
        if session.dialect.rev2:
            shown = mailboxes.as_shown(opened.mailbox, self.mailbox)
            dialects = [listing.unasked(shown, was=self.given)]
        else:
            dialects = _older(session.selected, opened.first_unseen)
        return b"".join(_responses(session.selected, dialects))


def _leave(session: Session) -> Steps[None]:
    """What was selected is so no more, whatever becomes of the command (6.3.1)."""
    yield Watch(None)
    if session.state is State.SELECTED:  # RFC 7162 3.2.11
        yield from send(responses.untagged(b"OK", b"The mailbox before is left", b"CLOSED"))
    session.select(None)


def _open(reading: Reading, principal: Principal, name: str, parameters: Parameters) -> _Opened:
    mailbox, rights = mailboxes.find_with_rights(reading, principal, name, mailboxes.READ)
    mailbox = subscriptions.seen_by(reading, principal, mailbox)
    uids, unseen = _uids(reading, mailbox)
    gone: list[Range] = []
    if parameters.known is not None and parameters.uid_validity == mailbox.uid_validity:
        gone = vanished.earlier(reading, mailbox, _view(uids, mailbox), parameters.known)
    return _Opened(mailbox, rights, uids, frozenset(reading.keywords(mailbox.id)), unseen, gone)


def _view(uids: Sequence[int], mailbox: Mailbox) -> View:
    return View(uids, is_part=mailbox.part is not None)


def _uids(reading: Reading, mailbox: Mailbox) -> tuple[Sequence[int], int | None]:
    """The messages, and the number of the first unseen one."""
    if mailbox.part is not None:
        view = mailboxes.viewed(reading, mailbox)
        rows = reading.messages(mailbox.id, view.uid_ranges([(0, len(view))]))
        unread = (at for at, row in enumerate(rows, 1) if "\\Seen" not in row.flags)
        return view.uids, next(unread, None)
    image = reading.image(mailbox.id)
    if image is not None:
        at = image.first_without(SEEN)
        return image.uids, None if at is None else at + 1
    uids = reading.uids(mailbox.id)
    unseen = reading.first_unseen(mailbox.id) if mailbox.unseen else None
    return uids, None if unseen is None else bisect_right(uids, unseen)


def _older(selected: Selected, first_unseen: int | None) -> list[bytes]:
    """What RFC 9051 has no more (Appendix E, 11 and 12)."""
    out = [b"* %d RECENT\r\n" % selected.recents.count(selected.view)]
    if first_unseen is not None and not selected.view.uids_only:
        out.append(b"* OK [UNSEEN %d] First unseen message\r\n" % first_unseen)
    return out


def _responses(selected: Selected, of_dialect: list[bytes]) -> list[bytes]:
    mailbox = selected.mailbox
    return [
        sync.flags_response(selected),
        b"* %d EXISTS\r\n" % len(selected.view),
        *of_dialect,
        sync.permanent_flags(selected),
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
    given: dict[str, Parameters] = {}

    def parameter() -> None:
        name = cursor.word()
        if name in given or name not in _PARAMETERS:
            raise BadSyntax("unknown parameter")
        given[name] = _PARAMETERS[name](cursor)

    cursor.listed(parameter)
    return given.get("QRESYNC", Parameters(condstore=True))


def _qresync(cursor: Cursor) -> Parameters:
    """`SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`."""
    cursor.expect(b" (")
    uid_validity = cursor.number()
    cursor.space()
    modseq = cursor.modseq()
    uids = matches = None
    if cursor.takes(b" ") and not cursor.sees(b"("):
        uids = _plain_set(cursor)
        cursor.takes(b" ")
    if cursor.takes(b"("):
        numbers = _plain_set(cursor)
        cursor.space()
        matches = numbers, _plain_set(cursor)
        cursor.expect(b")")
    cursor.expect(b")")
    return Parameters(True, uid_validity, Known(modseq, uids, matches))


def _plain_set(cursor: Cursor) -> NumberSet:
    found = cursor.number_set()
    if not found.is_plain:
        raise BadSyntax("* is not allowed here")
    return found


_PARAMETERS: dict[str, Callable[[Cursor], Parameters]] = {
    "CONDSTORE": lambda _: Parameters(condstore=True),
    "QRESYNC": _qresync,
}


def parse(cursor: Cursor) -> Select:
    """`mailbox [select-params]`."""
    return _parse(cursor, read_only=False)


def parse_examine(cursor: Cursor) -> Select:
    """`mailbox [select-params]`."""
    return _parse(cursor, read_only=True)
