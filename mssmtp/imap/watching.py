"""What a session wants to hear of, and what of it was told (NOTIFY, RFC 5465).

Nothing is remembered of what happened. A look at the mailboxes as they are now, by the rights of
now, is held against what the client was told last: many changes make one event, what was missed is
made good by the next look, and nothing is told to who may not know it any more (ATT-25).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from mssmtp.imap import sources
from mssmtp.imap.items import Item
from mssmtp.imap.sources import Source
from mssmtp.mail import BalId, Change, ChangeKind, MailboxId
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading


def recounted(
    reading: Reading, watching: Watching | None, mailbox: Mailbox
) -> tuple[Mailbox, Mailbox | None]:
    """The mailbox before and after what was just written, for `Watching.counted`."""
    return mailbox, None if watching is None else reading.mailbox_by_id(mailbox.id)


class Event(Enum):
    """`event-name` (8). AnnotationChange is of annotations of messages, which we have not."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


Events = frozenset[Event]
NO_EVENTS: Events = frozenset()
OF_MESSAGES: Events = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})


@dataclass(frozen=True, slots=True)
class Group:
    """`event-group`: of these mailboxes these events; none at all stands for NONE."""

    source: Source
    events: Events


@dataclass(frozen=True, slots=True)
class OfSelected:
    """What of the selected mailbox is told (6.1); with IDLE, and without NOTIFY, all of it.

    `items`: shown of each new message (5.2). `at_once`: EXPUNGE does not wait for a command.
    """

    messages: bool = True
    flags: bool = True
    items: tuple[Item, ...] = ()
    at_once: bool = True


EVERYTHING = OfSelected()
NOTHING = OfSelected(messages=False, flags=False)


@dataclass(frozen=True, slots=True)
class State:
    """A mailbox as the client was told of it. `inner`: its name in its own box."""

    name: str
    inner: str
    events: Events
    is_readable: bool
    counts: tuple[int, int, int]
    modseq: int

    def is_as(self, mailbox: Mailbox) -> bool:
        """Whether no message of it has changed since."""
        return self.counts == counts_of(mailbox) and self.modseq == mailbox.highest_modseq

    def now(self, mailbox: Mailbox) -> State:
        """With the counters of `mailbox`."""
        return replace(self, counts=counts_of(mailbox), modseq=mailbox.highest_modseq)


def counts_of(mailbox: Mailbox) -> tuple[int, int, int]:
    """What a new or an expunged message changes."""
    return mailbox.uid_validity, mailbox.uid_next, mailbox.messages


def events_of(groups: Iterable[Group], name: str, *, subscribed: bool) -> Events:
    """Which events of the mailbox `name` are wanted: of several groups those of all, up to the
    first that wants none (5)."""
    found = NO_EVENTS
    for group in groups:
        if sources.covers(group.source, name, subscribed=subscribed):
            if not group.events:
                break
            found |= group.events
    return found


@dataclass(slots=True)
class Known:
    """All that the client was told of. `annotations`: a digest of each, by mailbox; 0 is the
    server. `bals`: the boxes whose changes are heard."""

    bals: frozenset[BalId] = frozenset()
    states: dict[MailboxId, State] = field(default_factory=dict)
    subscribed: set[str] = field(default_factory=set)
    annotations: dict[int, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """Where the next look has to go."""

    mailboxes: frozenset[MailboxId]
    annotated: frozenset[int]
    everywhere: bool


@dataclass(slots=True)
class Watching:
    """One NOTIFY SET; without groups, NOTIFY NONE."""

    groups: tuple[Group, ...] = ()
    selected: OfSelected = NOTHING
    known: Known = field(default_factory=Known)
    _mailboxes: set[MailboxId] = field(default_factory=set)
    _annotated: set[int] = field(default_factory=set)
    _everywhere: bool = False

    def wants(self, event: Event) -> bool:
        """Whether any group asks for it."""
        return any(event in group.events for group in self.groups)

    # ------------------------------------------------------------ hearing

    def hear(self, change: Change) -> None:
        """Something was committed in a box that is listened to."""
        state = self.known.states.get(change.mailbox)
        if change.kind is ChangeKind.MAILBOX:
            self._annotated.add(change.mailbox)
            self._everywhere = True
        elif state is None:
            self._everywhere = True
        elif not state.events.isdisjoint(OF_MESSAGES):
            self._mailboxes.add(change.mailbox)

    def hear_everything(self, annotated: Iterable[int] = ()) -> None:
        """Nobody knows what was missed; `annotated`: what is known of it."""
        self._everywhere = bool(self.groups)
        self._annotated.update(annotated)

    def left(self, mailbox: MailboxId) -> None:
        """It is selected no longer: what was not told of it is told as of any other."""
        if mailbox in self.known.states:
            self._mailboxes.add(mailbox)

    @property
    def has_heard(self) -> bool:
        """Whether there is something to look at."""
        return self._everywhere or bool(self._mailboxes)

    def heard(self) -> Heard:
        """What was heard since this was asked last."""
        found = Heard(frozenset(self._mailboxes), frozenset(self._annotated), self._everywhere)
        self._mailboxes.clear()
        self._annotated.clear()
        self._everywhere = False
        return found

    # ------------------------------------------------------------ what the session does itself

    def counted(self, before: Mailbox, after: Mailbox | None) -> None:
        """The session itself has made the only change between the two: no news in it (5)."""
        state = self.known.states.get(before.id)
        if after is not None and state is not None and state.is_as(before):
            self.known.states[before.id] = state.now(after)

    def named(self, name: str, mailbox: Mailbox) -> None:
        """The session itself has made the mailbox, or has renamed it."""
        known = self.known
        old = known.states.get(mailbox.id)
        if old is not None:
            known.subscribed.discard(old.name)
        (known.subscribed.add if mailbox.subscribed else known.subscribed.discard)(name)
        events = events_of(self.groups, name, subscribed=mailbox.subscribed)
        made = State(name, mailbox.name, events, True, counts_of(mailbox), mailbox.highest_modseq)
        if old is not None:
            made = replace(old, name=name, inner=mailbox.name, events=events)
        known.states[mailbox.id] = made

    def deleted(self, mailbox: MailboxId) -> None:
        """The session itself has done so."""
        self.known.states.pop(mailbox, None)

    def subscribed(self, name: str, *, on: bool) -> None:
        """The session itself has done so."""
        (self.known.subscribed.add if on else self.known.subscribed.discard)(name)

    def annotated(self, mailbox: int, entry: str, value: bytes | None) -> None:
        """The session itself has done so; 0 is the server."""
        entries = self.known.annotations.get(mailbox)
        if entries is None:
            return
        entries.pop(entry, None)
        if value is not None:
            entries[entry] = hash(value)
