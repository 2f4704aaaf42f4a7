"""Looking at all mailboxes for a session that has asked NOTIFY: what is news to its client.

Runs in a reading thread, on one snapshot and by the rights of it (ATT-25). What is told of the
selected mailbox is not decided here, but in `sync.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mssmtp.imap import listing, mailboxes, metadata, names, responses, statuses
from mssmtp.imap.listing import Listing
from mssmtp.imap.mailboxes import LOOKUP, READ, Shown
from mssmtp.imap.watching import (
    OF_MESSAGES,
    Event,
    Heard,
    Known,
    State,
    Watching,
    counts_of,
    events_of,
)
from mssmtp.mail import MailboxId, Principal
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

FEW = 16
"""Mailboxes that are looked at one by one; if more have changed, all are."""
_COUNTERS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN")
"""RFC 5465 5.2, 5.3, and how many are unread: that is what the client asks next."""


@dataclass(frozen=True, slots=True)
class Client:
    """For whom is looked, and how it is told. `selected`: as it was told of that mailbox."""

    who: Principal
    utf8: bool
    modseqs: bool
    selected: Mailbox | None


@dataclass(frozen=True, slots=True)
class Noticed:
    """What is news, and what the client knows once it was told: `states` of all that is known."""

    lines: list[bytes]
    known: Known
    states: dict[MailboxId, State] = field(default_factory=dict)


def nearby(reading: Reading, client: Client, watching: Watching, heard: Heard) -> Noticed | None:
    """Counters of single mailboxes; None when more has changed than those."""
    found = Noticed([], watching.known)
    if heard.everywhere or len(heard.mailboxes) > FEW:
        return None
    for id in heard.mailboxes:
        # Unknown: the session itself has deleted it since it was heard of.
        state, mailbox = watching.known.states.get(id), mailboxes.again(reading, client.who, id)
        if state is None or mailbox is None or mailbox.name != state.inner:
            return None
        rights = mailboxes.rights(reading, client.who, mailbox)
        if LOOKUP not in rights or (READ in rights) is not state.is_readable:
            return None
        if state.is_readable:
            found.lines.extend(_counted(reading, client, state, mailbox))
            found.states[id] = _told(client, state.now(mailbox), mailbox)
    return found


def _told(client: Client, state: State, mailbox: Mailbox) -> State:
    """Of what is selected the client knows what `sync.py` has told it."""
    if client.selected is not None and client.selected.id == mailbox.id:
        return state.now(client.selected)
    return state


def _counted(reading: Reading, client: Client, state: State, mailbox: Mailbox) -> list[bytes]:
    """STATUS when messages came or went, or when flags have changed and that is asked for (5)."""
    if client.selected is not None and client.selected.id == mailbox.id:
        return []
    if state.counts != counts_of(mailbox):
        wanted = Event.MESSAGE_NEW in state.events
    else:
        wanted = Event.FLAG_CHANGE in state.events and state.modseq != mailbox.highest_modseq
    if not wanted or not state.is_readable:
        return []
    return [_status(reading, client, state, mailbox)]


def _status(reading: Reading, client: Client, state: State, mailbox: Mailbox) -> bytes:
    told = client.modseqs or Event.FLAG_CHANGE in state.events  # 3.1
    items = (*_COUNTERS, "HIGHESTMODSEQ") if told else _COUNTERS
    name = responses.mailbox(state.name, utf8=client.utf8)
    return statuses.line(reading, mailbox, name, items, 0)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything. `rows`: what it sees of each mailbox."""

    reading: Reading
    client: Client
    watching: Watching
    listing: Listing
    known: Known
    rows: dict[MailboxId, tuple[Shown, Mailbox]]

    @classmethod
    def at(cls, reading: Reading, client: Client, watching: Watching, heard: Heard) -> Look:
        """Raises NoSuchBal."""
        now = mailboxes.present(reading, client.who)
        found = Listing(reading, client.who, subscribed=True)
        bals = frozenset(bal.id for bal in now.bals)
        look = cls(reading, client, watching, found, Known(bals, {}, set(found.subscribed)), {})
        for each in found.shown:
            if each.mailbox is not None:
                look._see(each, each.mailbox)
        look._read_annotations(heard)
        return look

    def _see(self, each: Shown, mailbox: Mailbox) -> None:
        is_subscribed = each.name in self.known.subscribed
        self.rows[mailbox.id] = each, mailbox
        self.known.states[mailbox.id] = State(
            each.name,
            mailbox.name,
            events_of(self.watching.groups, each.name, subscribed=is_subscribed),
            READ in each.rights,
            counts_of(mailbox),
            mailbox.highest_modseq,
        )

    # ------------------------------------------------------------ at the beginning

    def first(self, *, statuses: bool) -> Noticed:
        """What is told before the answer of NOTIFY SET (3.1): which of the mailboxes that were
        named may not be read, and with STATUS the counters of the others."""
        return Noticed([*self._closed(), *(self._statuses() if statuses else ())], self.known)

    def _closed(self) -> Iterator[bytes]:
        for id, state in self.known.states.items():
            if state.events and not state.is_readable:
                yield self._line(self.rows[id][0])

    def _statuses(self) -> Iterator[bytes]:
        selected = self.client.selected
        for id, state in self.known.states.items():
            wanted = state.is_readable and not state.events.isdisjoint(OF_MESSAGES)
            if wanted and (selected is None or selected.id != id):
                yield _status(self.reading, self.client, state, self.rows[id][1])

    # ------------------------------------------------------------ later

    def news(self) -> Noticed:
        """All that is otherwise than the client knows it."""
        lines = [*self._of_names(), *self._of_counters(), *self._of_annotations()]
        for id, state in self.known.states.items():
            old = self.watching.known.states.get(id)
            if state.is_readable or old is None:
                self.known.states[id] = _told(self.client, state, self.rows[id][1])
            else:  # what happens while it may not be read is told if it may be again (5.9)
                self.known.states[id] = replace(state, counts=old.counts, modseq=old.modseq)
        return Noticed(lines, self.known)

    def _of_names(self) -> Iterator[bytes]:
        """LIST of each name of which something has changed, once (5.4, 5.5, 5.9): of what is gone,
        of what was renamed, so that each name is free when it is taken, and of what is new."""
        before, now = self.watching.known, self.known
        there = {state.name for state in now.states.values()}
        told: set[str] = set()
        for id, old in before.states.items():
            if id not in now.states and Event.MAILBOX_NAME in old.events and old.name not in there:
                told.add(old.name)
                yield self._line(Shown(old.name, None))
        for id, was in self._renamed():
            told.add(now.states[id].name)
            yield self._line(self.rows[id][0], was)
        for id, state in now.states.items():
            if state.name not in told and self._is_news(before.states.get(id), state):
                told.add(state.name)
                yield self._line(self.rows[id][0])
        yield from self._of_subscriptions(told)

    def _renamed(self) -> Iterator[tuple[MailboxId, str]]:
        """What is called otherwise now, with its old name; of names that went round in a ring one
        is as if it were new."""
        before = self.watching.known.states
        left = {
            id: before[id].name
            for id, state in self.known.states.items()
            if id in before
            and before[id].name != state.name
            and Event.MAILBOX_NAME in state.events | before[id].events
        }
        while left:
            taken = set(left.values())
            free = [id for id in left if self.known.states[id].name not in taken]
            if not free:
                id, _ = left.popitem()
                del before[id]
            for id in free:
                yield id, left.pop(id)

    def _is_news(self, old: State | None, state: State) -> bool:
        if old is None:
            return Event.MAILBOX_NAME in state.events
        return old.is_readable is not state.is_readable and bool(state.events)

    def _of_subscriptions(self, told: set[str]) -> Iterator[bytes]:
        """Also of names that are no mailboxes any more."""
        before, now = self.watching.known, self.known
        shown = {each.name: each for each, _ in self.rows.values()}
        for name in sorted((before.subscribed ^ now.subscribed) - told):
            # Of SUBSCRIBED it is news, too, that a mailbox is no longer one of them.
            events = events_of(self.watching.groups, name, subscribed=True)
            if Event.SUBSCRIPTION_CHANGE in events:
                yield self._line(shown.get(name, Shown(name, None)))

    def _of_counters(self) -> Iterator[bytes]:
        """Also of one that has come with messages in it, or in the place of another (5.1)."""
        known = self.watching.known.states
        names = {state.name for state in known.values()}
        for id, state in self.known.states.items():
            mailbox, old = self.rows[id][1], known.get(id)
            if old is not None:
                before = replace(state, counts=old.counts, modseq=old.modseq)
            elif mailbox.uid_next > 1 or state.name in names:
                before = replace(state, counts=(0, 0, 0))
            else:
                continue
            yield from _counted(self.reading, self.client, before, mailbox)

    def _line(self, each: Shown, old: str = "") -> bytes:
        utf8 = self.client.utf8
        answer = listing.Answer(utf8, subscriptions=True, unasked=True)
        wire = names.spelling(each.name, utf8=utf8)
        info = b""
        if old:
            info = b' ("OLDNAME" (%b))' % responses.mailbox(old, utf8=utf8)
        return self.listing.line(each, wire, answer, info=info)

    # ------------------------------------------------------------ annotations

    def _read_annotations(self, heard: Heard) -> None:
        """Of what was heard of, and of what is not known yet."""
        found, before = self.known.annotations, self.watching.known.annotations
        who = self.client.who
        for id, (each, mailbox) in self.rows.items():
            events = self.known.states[id].events
            if Event.MAILBOX_METADATA_CHANGE not in events or not metadata.may_be_read(each.rights):
                continue
            if id in before and id not in heard.annotated:
                found[id] = before[id]
            else:
                found[id] = _digests(metadata.of_mailbox(self.reading, mailbox, who.account))
        if self.watching.wants(Event.SERVER_METADATA_CHANGE) and who.first is not None:
            found[0] = _digests(metadata.of_server(self.reading, who))

    def _of_annotations(self) -> Iterator[bytes]:
        """METADATA with the names of the entries, not their values (5.6, 5.7)."""
        before = self.watching.known.annotations
        for id, now in self.known.annotations.items():
            old = before.get(id, {} if id in self.watching.known.states else now)
            changed = sorted(name for name in {*old, *now} if old.get(name) != now.get(name))
            if changed:
                name = self.known.states[MailboxId(id)].name if id else ""
                entries = b" ".join(responses.quoted(each.encode("ascii")) for each in changed)
                wire = responses.mailbox(name, utf8=self.client.utf8)
                yield b"* METADATA %b %b\r\n" % (wire, entries)


def _digests(values: metadata.Values) -> dict[str, int]:
    """The names of clients begin with a slash; others are our own."""
    return {name: hash(value) for name, value in values.items() if name.startswith("/")}
