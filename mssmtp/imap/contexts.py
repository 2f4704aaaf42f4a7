"""Searches whose results are kept up to date (RFC 5267 4.3, CONTEXT=SEARCH): as long as the mailbox
is selected, at most a few at once.

What changed since a context was last looked at is searched again, and only that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import keys, responses, search, showing
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.items import Item
from mssmtp.imap.keys import And
from mssmtp.imap.looking import Look, looked_for
from mssmtp.imap.numbers import NumberSet, Span, View, spans_of
from mssmtp.imap.results import Answer, Found
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.mail import ModSeq, Uid

if TYPE_CHECKING:
    from mssmtp.storage import Reading

logger = logging.getLogger(__name__)

MOST_CONTEXTS = 8
"""Of one session: each change is looked at by every one of them (D11)."""
MOST_RESULTS = 100_000
"""Of one context: its results are remembered."""
_ANY_ORDER = b"0"
"""A context position: results of SEARCH are in the order of the mailbox (RFC 5267 4.3.3)."""


@dataclass(slots=True)
class Context:
    """One search with UPDATE, told about under the tag of its command; as of `modseq`."""

    tag: bytes
    by_uid: bool
    key: And
    uids: set[int]
    modseq: ModSeq
    items: tuple[Item, ...] = ()
    """Shown of new messages that belong to it (RFC 5465 7)."""


def check(selected: Selected, tag: bytes) -> None:
    """Raises BadSyntax for a tag that names a context already (RFC 5267 4.3)."""
    if any(each.tag == tag for each in selected.contexts):
        raise BadSyntax("that tag is in use for updates")


def keep(
    selected: Selected, answer: Answer, key: And, found: Found, items: tuple[Item, ...]
) -> Steps[None]:
    """Updates of what `answer` has told from now on, or an untagged NO (RFC 5267 4.3.1).

    None for what changes without a change: sequence numbers, `$`, ages.
    """
    moving = search.has_numbers(key) or any(
        isinstance(each, keys.Aged) for each in search.leaves(key)
    )
    if moving or len(selected.contexts) >= MOST_CONTEXTS or len(found) > MOST_RESULTS:
        yield from refuse(answer.tag)
        return
    uids = _uids(selected.view, found)
    made = Context(answer.tag, answer.by_uid, key, uids, selected.modseq, items)
    selected.contexts.append(made)


def refuse(tag: bytes) -> Steps[None]:
    """Everything else that was asked for is answered."""
    code = b'NOUPDATE "%b"' % tag
    yield from send(responses.untagged(b"NO", b"No updates for this search", code))


def removed(selected: Selected, gone: list[Uid]) -> list[bytes]:
    """REMOVEFROM of what is expunged: before the EXPUNGE, while its numbers are right (4.3.4)."""
    lost: set[int] = set(gone)
    return [line for each in selected.contexts for line in _dropped(selected.view, each, lost)]


def _dropped(view: View, context: Context, lost: set[int]) -> list[bytes]:
    found = context.uids & lost
    context.uids -= found
    return _line(view, context, b"REMOVEFROM", found)


def _line(view: View, context: Context, what: bytes, uids: set[int]) -> list[bytes]:
    positions = (view.position(uid) for uid in sorted(uids))
    known = [position for position in positions if position is not None]
    if not known:
        return []
    answer = Answer(view, context.by_uid, context.tag)
    return [b"%b %b (%b %b)\r\n" % (answer.correlator, what, _ANY_ORDER, answer.set_of(known))]


def refresh(session: Session, first: int) -> Steps[None]:
    """ADDTO and REMOVEFROM of what has changed: behind the EXISTS and FETCH that tell of it.

    `first`: position of the first message that is new.
    """
    selected = session.selected_or_none
    if selected is None:
        return
    for context in tuple(selected.contexts):
        if context.modseq >= selected.modseq:
            continue
        try:
            yield from _refresh(session, selected, context, first)
        except MailError as error:
            # The command that runs, an IDLE perhaps, is not to fail for it: the client asks anew.
            logger.warning("updates of a search end", extra={"code": error.imap})
            selected.contexts.remove(context)
            yield from refuse(context.tag)


def _refresh(session: Session, selected: Selected, context: Context, first: int) -> Steps[None]:
    since, until = context.modseq, selected.modseq
    mailbox, view = selected.mailbox.id, selected.view

    def query(reading: Reading) -> list[Span]:
        return view.among(reading.changed_uids(mailbox, since), [(0, len(view))])

    spans = yield from read(query)
    if not spans:
        context.modseq = until
        return
    changed = set(view.uids_of(spans))
    among = keys.Numbers(NumberSet(tuple(view.uid_ranges(spans))), by_uid=True)
    look = Look(session, None, selected)
    found = yield from looked_for(look, And((among, *context.key.keys)), None)
    now = _uids(view, found)
    added, dropped = now - context.uids, changed & context.uids - now
    context.uids = (context.uids | added) - dropped
    context.modseq = until
    if context.items:
        at = (view.position(uid) for uid in sorted(added))
        new = spans_of([position for position in at if position is not None and position >= first])
        yield from showing.show(session, context.items, new)
    lines = [
        *_line(view, context, b"REMOVEFROM", dropped),
        *_line(view, context, b"ADDTO", added),
    ]
    yield from send(b"".join(lines))
    if len(context.uids) > MOST_RESULTS:
        selected.contexts.remove(context)
        yield from refuse(context.tag)


def _uids(view: View, found: Found) -> set[int]:
    return set(map(view.uids.__getitem__, found.positions))
