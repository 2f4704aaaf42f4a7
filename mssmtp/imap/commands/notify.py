"""NOTIFY (RFC 5465): events of any mailbox, told at any time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import items, pushing, sources, sync
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Listen, Steps
from mssmtp.imap.items import Item, Simple
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session, State
from mssmtp.imap.sources import MOST_NAMES
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.watching import (
    NO_EVENTS,
    NOTHING,
    OF_MESSAGES,
    Event,
    Events,
    Group,
    OfSelected,
    Watching,
)

MOST_GROUPS = 100
"""Of one command: each is held against each mailbox (ATT-27)."""
_SELECTED = ("SELECTED-DELAYED", "SELECTED")
_NAMES = {each.value.upper(): each for each in Event}
_TOGETHER = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})
_BAD_EVENT = f"BADEVENT ({' '.join(each.value for each in Event)})"


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """What is asked for takes the place of what was asked for before; no groups are NONE."""

    groups: tuple[Group, ...] = ()
    selected: OfSelected = NOTHING
    status: bool = False

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        before = session.watching
        if Simple.MODSEQ in self.selected.items:
            yield from sync.become_aware(session)
        # From now on: what is heard during the first look is looked for again.
        session.watching = made = Watching(self.groups, self.selected)
        try:
            if session.state is State.SELECTED and not self.is_none:
                # 3.1: an implicit NOOP, whatever was wanted before.
                session.owes_news = True
                yield from sync.catch_up(session, expunge=True)
            yield from pushing.begin(session, made, statuses=self.status)
        except MailError:
            session.watching = before
            yield Listen(frozenset() if before is None else before.known.bals)
            if before is not None:
                before.hear_everything()
            raise
        return Done(b"NOTIFY completed")

    @property
    def is_none(self) -> bool:
        """NOTIFY NONE."""
        return not self.groups and self.selected is NOTHING


def parse(cursor: Cursor) -> Notify:
    """`"NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group)`."""
    word = cursor.word()
    if word == "NONE":
        cursor.end()
        return Notify()
    if word != "SET":
        raise BadSyntax("SET or NONE expected")
    status = cursor.takes(b" STATUS")
    groups: list[Group] = []
    selected: list[OfSelected] = []
    while not cursor.at_end():
        cursor.space()
        _group(cursor, groups, selected)
        if len(groups) > MOST_GROUPS or len(selected) > 1:
            raise BadSyntax("too many groups")
    if not groups and not selected:
        raise BadSyntax("what of?")
    if sum(len(each.source.names) for each in groups) > MOST_NAMES:
        raise BadSyntax("too many mailboxes")
    return Notify(tuple(groups), selected[0] if selected else NOTHING, status)


def _group(cursor: Cursor, groups: list[Group], selected: list[OfSelected]) -> None:
    """`"(" filter-mailboxes SP events ")"`."""
    cursor.expect(b"(")
    for kind in _SELECTED:
        if cursor.takes(kind.encode("ascii") + b" "):
            selected.append(_of_selected(cursor, at_once=kind == "SELECTED"))
            break
    else:
        source = sources.source(cursor)
        cursor.space()
        groups.append(Group(source, _events(cursor)[0]))
    cursor.expect(b")")


def _of_selected(cursor: Cursor, *, at_once: bool) -> OfSelected:
    """6.1: of events of messages only."""
    events, shown = _events(cursor, may_show=True)
    if not events <= OF_MESSAGES:
        raise BadSyntax("only events of messages are of what is selected")
    if not events:
        return replace(NOTHING, at_once=at_once)
    return OfSelected(True, Event.FLAG_CHANGE in events, shown, at_once)


def _events(cursor: Cursor, *, may_show: bool = False) -> tuple[Events, tuple[Item, ...]]:
    """`"NONE" / "(" event *(SP event) ")"`. Raises BADEVENT for one that is not known (3.1)."""
    if cursor.takes(b"NONE"):
        return NO_EVENTS, ()
    shown: tuple[Item, ...] = ()

    def event() -> Event:
        nonlocal shown
        name = cursor.word()
        if name not in _NAMES:
            raise Refused(_BAD_EVENT, b"No such event")
        if name == "MESSAGENEW" and may_show and cursor.sees(b" ("):
            cursor.space()
            shown = items.unread(cursor)
        return _NAMES[name]

    found = frozenset(cursor.listed(event))
    if found & OF_MESSAGES and not found >= _TOGETHER:  # 5
        raise BadSyntax("MessageNew and MessageExpunge belong to each other, and to FlagChange")
    return found, shown
