"""Telling a session what happened in its mailbox (RFC 3501 5.2, 7.3, 7.4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mssmtp import metrics
from mssmtp.errors import Ended, MailError
from mssmtp.imap import contexts, mailboxes, responses, showing, vanished
from mssmtp.imap.effects import Steps, Watch, read, send, write
from mssmtp.imap.numbers import View
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session, State
from mssmtp.imap.watching import OfSelected
from mssmtp.mail import ModSeq, Uid
from mssmtp.storage.model import Mailbox, MessageRow

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a session is told, put together in the reading thread: 100,000 lines on the loop would
    stop everybody else. `left`: the view after the EXPUNGEs. `flags`: all that are shown."""

    expunged: bytes
    left: View
    changed: bytes
    flags: frozenset[str]
    arrived: list[Uid]


@dataclass(frozen=True, slots=True)
class _News:
    """`mailbox` is None when it was deleted, or is no longer ours to read."""

    mailbox: Mailbox | None
    gone: list[Uid]
    told: _Told
    withheld: ModSeq | None = None
    """Of the first EXPUNGE that may not be told now."""


def _news(reading: Reading, session: Session, hears: OfSelected, *, expunge: bool) -> _News:
    """Nothing of the session is changed by it."""
    selected = session.selected
    mailbox = mailboxes.again(reading, session.principal, selected.mailbox.id)
    rows: list[MessageRow] = []
    gone: list[Uid] = []
    if mailbox is None or mailboxes.READ not in mailboxes.rights(
        reading, session.principal, selected.mailbox
    ):
        return _News(None, gone, _told(session, hears, rows, gone))
    if mailbox.highest_modseq > selected.modseq:
        rows = _to_be_seen(reading, mailbox, selected.modseq)
    if expunge and mailbox.highest_modseq > selected.gone_modseq:
        gone = _gone(reading, selected)
    withheld = None
    if session.dialect.modseqs and not expunge:
        withheld = reading.first_expunged_since(mailbox.id, selected.gone_modseq)
    return _News(mailbox, gone, _told(session, hears, rows, gone), withheld)


def _told(session: Session, hears: OfSelected, rows: list[MessageRow], gone: list[Uid]) -> _Told:
    view = session.selected.view
    known = [uid for uid in gone if view.position(uid) is not None]
    left, numbers = view.without(known)
    arrived = [row.uid for row in rows if not left.uids or row.uid > left.uids[-1]]
    shown = _changed_flags(session, left, rows) if hears.flags else []
    return _Told(
        b"".join(_expunges(session, known, numbers)),
        left,
        b"".join(changed(session, position, row) for position, row in shown),
        frozenset().union(*{row.flags for _, row in shown}),
        arrived,
    )


def _to_be_seen(reading: Reading, mailbox: Mailbox, since: ModSeq) -> list[MessageRow]:
    rows = reading.messages(mailbox.id, changed_since=since)
    if mailbox.part is None:
        return rows
    seen = set(reading.among_part(mailbox, [row.uid for row in rows]))
    return [row for row in rows if row.uid in seen]


def _gone(reading: Reading, selected: Selected) -> list[Uid]:
    if reading.remembers_since(selected.mailbox.id, selected.gone_modseq):
        return reading.expunged_since(selected.mailbox.id, selected.gone_modseq)
    there = set(reading.uids(selected.mailbox.id))
    return [Uid(uid) for uid in selected.view.uids if uid not in there]


def tell(
    session: Session, *, expunge: bool, highest: bool = True, in_passing: bool = False
) -> Steps[None]:
    """`catch_up` where there is something to tell, at the end of a command that has succeeded.

    `in_passing`: the command has not asked for news.
    """
    if session.state is not State.SELECTED:
        return
    withheld = session.selected.gone_modseq < session.selected.modseq
    # What the session itself has changed is news to its contexts.
    is_news = session.is_changed or bool(session.selected.contexts)
    if not is_news and not (expunge and withheld):
        return
    try:
        yield from catch_up(session, expunge=expunge, highest=highest, in_passing=in_passing)
    except Ended:
        raise
    except Exception as error:
        # What the command did is committed: a NO would make the client do it once more.
        session.is_changed = True
        logger.exception("news not told")
        if not isinstance(error, MailError):
            metrics.internal_errors.labels("imap").inc()


def catch_up(
    session: Session, *, expunge: bool, highest: bool = True, in_passing: bool = False
) -> Steps[None]:
    """Send what changed since the session was last told, its own changes left out.

    `expunge=False` withholds EXPUNGE responses: during FETCH, STORE and SEARCH by sequence
    number the client's numbers must not move (7.4.1). `highest=False`: the tagged response says
    HIGHESTMODSEQ. After NOTIFY only what is wanted is told: whose flags are left out is not told
    up to which modseq it knows all (RFC 5465 6.1).
    """
    session.is_changed = False
    hears, session.owes_news = session.hears, False
    news = yield from read(lambda reading: _news(reading, session, hears, expunge=expunge))
    selected = session.selected
    if news.mailbox is None:
        # Nothing of RFC 3501 says "your mailbox is gone" but BYE (RFC 2180 3.3).
        yield from send(responses.untagged(b"BYE", b"The selected mailbox is gone", b"UNAVAILABLE"))
        yield Watch(None)
        session.state = State.LOGOUT
        return
    if not hears.messages:
        return
    told, arrived = news.told, news.told.arrived
    out = [*contexts.removed(selected, news.gone), told.expunged]
    selected.view.become(told.left)
    out += [*new_keywords(selected, told.flags), told.changed]
    if news.withheld is not None and hears.flags:
        # RFC 7162 3.2, 6: the client must not take the modseqs it was shown for all there is.
        out.append(_highest(ModSeq(news.withheld - 1)))
    if expunge:
        selected.gone_modseq = news.mailbox.highest_modseq
    selected.mailbox = news.mailbox
    selected.modseq = news.mailbox.highest_modseq
    selected.told.clear()
    first = len(selected.view)
    if arrived:
        selected.view.append(arrived)
        selected.told_in_passing = in_passing
        out.append(b"* %d EXISTS\r\n" % len(selected.view))
        if not session.dialect.rev2:  # RFC 9051, Appendix E (12)
            yield from claim(selected)
            out.append(b"* %d RECENT\r\n" % selected.recents.count(selected.view))
    yield from send(b"".join(out))
    if arrived and hears.items:  # RFC 5465 5.2: behind EXISTS, before ESEARCH
        yield from showing.show(session, hears.items, [(first, len(selected.view))])
    yield from contexts.refresh(session, first)
    if news.gone and highest and hears.flags and session.dialect.modseqs:
        yield from tell_highest(session)


def _expunges(session: Session, known: list[Uid], numbers: list[int]) -> list[bytes]:
    """EXPUNGE of each message, or VANISHED of all (RFC 7162 3.2.10): of those the client knows."""
    if session.dialect.vanished or session.dialect.uids_only:
        return list(vanished.responses(vanished.ranges_of(known)))
    return [b"* %d EXPUNGE\r\n" % number for number in numbers]


def _changed_flags(
    session: Session, view: View, rows: list[MessageRow]
) -> list[tuple[int, MessageRow]]:
    """Where messages are of which the client does not know the flags."""
    known = session.selected.told
    places = ((view.position(row.uid), row) for row in rows if known.get(row.uid) != row.modseq)
    return [(position, row) for position, row in places if position is not None]


def changed(session: Session, position: int, row: MessageRow, *, flags: bool = True) -> bytes:
    """An unsolicited FETCH (7.4.2); to a client that knows modseqs with that (RFC 7162 3.2.4)."""
    items = b"UID %d" % row.uid
    if flags:
        recent = row.uid in session.selected.recents
        items += b" FLAGS (%b)" % responses.flags(row.flags, recent=recent)
    if session.dialect.modseqs:
        items += b" MODSEQ (%d)" % row.modseq
    if session.dialect.uids_only:
        return b"* %d UIDFETCH (%b)\r\n" % (row.uid, items)
    return b"* %d FETCH (%b)\r\n" % (position + 1, items)


def become_aware(session: Session) -> Steps[None]:
    """The client has issued a command that shows it knows modseqs (RFC 7162 3.1): from now on it
    is told them, and at once the one up to which it knows its mailbox."""
    if session.dialect.modseqs:
        return
    session.dialect = replace(session.dialect, modseqs=True)
    yield from tell_highest(session)


def tell_highest(session: Session) -> Steps[None]:
    """HIGHESTMODSEQ of what is selected: all changes up to there were told."""
    selected = session.selected_or_none
    if selected is not None:
        yield from send(_highest(min(selected.modseq, selected.gone_modseq)))


def _highest(modseq: ModSeq) -> bytes:
    return responses.untagged(b"OK", b"All is told up to here", b"HIGHESTMODSEQ %d" % modseq)


def new_keywords(selected: Selected, flags: frozenset[str]) -> list[bytes]:
    """A FLAGS response when `flags` holds a keyword the session was not told of (7.2.6)."""
    unknown = {flag for flag in flags if not flag.startswith("\\")} - selected.keywords
    if not unknown:
        return []
    selected.keywords |= unknown
    told = [flags_response(selected)]
    if selected.is_full_of_keywords:  # RFC 9051 7.1: `\*` is true no longer
        told.append(permanent_flags(selected))
    return told


def permanent_flags(selected: Selected) -> bytes:
    """`* OK [PERMANENTFLAGS …]`."""
    names = b" ".join(flag.encode("ascii") for flag in selected.permanent_flags)
    return b"* OK [PERMANENTFLAGS (%b)] Flags that are kept\r\n" % names


def flags_response(selected: Selected) -> bytes:
    """`* FLAGS`: system flags and the keywords of the mailbox."""
    known = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"]
    return b"* FLAGS (%b)\r\n" % " ".join([*known, *sorted(selected.keywords)]).encode("ascii")


def claim(selected: Selected) -> Steps[None]:
    """Make the unclaimed messages the session sees `\\Recent` here, and nowhere else (2.3.2)."""
    start, stop = selected.mailbox.recent_from, selected.mailbox.uid_next
    if start < stop and not selected.read_only:
        try:
            start, stop = yield from write(lambda writing: _claim(writing, selected.mailbox))
        except MailError as error:  # a full disk must not keep mail from being read
            logger.warning("recent not claimed", extra={"code": error.imap})
    selected.recents.add(start, stop)


def _claim(writing: Writing, mailbox: Mailbox) -> tuple[Uid, Uid]:
    """What is ours, up to the mail that came while we asked."""
    start = writing.claim_recent(mailbox.id)
    now = writing.mailbox_by_id(mailbox.id) or mailbox
    return start, now.uid_next
