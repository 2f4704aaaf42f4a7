"""`mssmtp queue`: why a letter waits, when it is tried, and what an administrator does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from mssmtp import local_time
from mssmtp.config import QueueSettings
from mssmtp.mail import BalState, Domain, EnvelopeId
from mssmtp.smtp_out import next_attempt
from mssmtp.storage import (
    QUEUE_BEGIN,
    Decision,
    QueueEntry,
    QueuePlace,
    Reading,
    Store,
    Writing,
)
from mssmtp.suspending import in_force

AT_ONCE = 200
"""Letters decided about in one commit: the server goes on meanwhile."""
_PAGE = 500
_MOST_ATTEMPTS = 200

_MEANINGS: tuple[tuple[str, str], ...] = (
    ("4.4.1", "no server of the domain could be reached"),
    ("4.4.2", "the connection was lost; after the last octet, the letter may have arrived"),
    ("4.4.3", "DNS gave no server of the domain"),
    ("4.4.", "the way to the server is disturbed"),
    ("4.7.4", "the server offers no TLS, and nothing goes in clear"),
    ("4.7.5", "the server's certificate is not one the whitelist gives to the domain"),
    ("4.7.", "the peer's policy defers it"),
    ("4.2.1", "the recipient's box is suspended"),
    ("4.2.2", "the recipient's box is full"),
    ("4.2.", "the recipient's box cannot take it now"),
    ("4.3.", "the peer's system has trouble"),
    ("4.5.", "the peer's server does not keep to SMTP"),
)


@dataclass(frozen=True, slots=True)
class Why:
    """Why one recipient waits: in a word, in a sentence, and what can be done."""

    cause: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Around:
    """What is known beside the entry itself: the queue, the list, the ledger."""

    now: datetime
    settings: QueueSettings
    ahead: int = 0
    said: str | None = None
    is_listed: bool = True
    note: str | None = None
    sender: BalState | None = None
    """Of the box it comes from, when it is one of ours."""
    is_stopped: bool = False
    """The operator has suspended the sender (OP-79)."""
    zone: tzinfo = UTC
    """The clock of who asks."""

    def time(self, at: datetime) -> str:
        """As a sentence tells it."""
        return local_time.in_sentence(at, self.zone)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the store knows beside the entry, as `Around` has it."""

    ahead: int
    said: str | None
    note: str | None
    sender: BalState | None
    is_stopped: bool


def schedule(entry: QueueEntry, settings: QueueSettings) -> tuple[datetime, ...]:
    """When a recipient will be tried from now on if every attempt fails; the last one is when it is
    given up (OP-18)."""
    times = [entry.next_attempt]
    failures = entry.attempts
    while len(times) < _MOST_ATTEMPTS:
        failures += 1
        following = next_attempt(failures, times[-1], entry.queued_at, settings)
        by = entry.deliver_by
        if following is not None and by is not None and by.mode == "R" and by.deadline < following:
            following = by.deadline if times[-1] < by.deadline else None
        if following is None:
            return tuple(times)
        times.append(following)
    return tuple(times)


def why(entry: QueueEntry, around: Around) -> Why:
    """The first reason that holds."""
    now, id = around.now, entry.envelope
    if entry.damaged:
        return Why(
            "damaged",
            "its row does not authenticate: it is held, and nobody can read to whom it goes",
            f"Restore the home from its last good copy, or `mssmtp queue drop {id} --reason …`.",
        )
    if entry.held:
        note = f" ({around.note})" if around.note else ""
        return Why(
            "held",
            f"an administrator holds it{note}",
            f"`mssmtp queue release {id}` lets it go.",
        )
    if entry.leased_by:
        return Why("in delivery", f"{entry.leased_by} is delivering it now", "Nothing to do.")
    if (lost := _of_sender(entry, around)) is not None:
        return lost
    if entry.hold_until is not None and entry.next_attempt > now and not entry.attempts:
        return Why(
            "wished later",
            f"its sender wants it to leave at {around.time(entry.hold_until)}",
            f"`mssmtp queue retry {id}` sends it now.",
        )
    if not around.is_listed:
        return Why(
            "not listed",
            "the whitelist does not name the domain: the next attempt sends it back",
            "`mssmtp trust show DOMAIN` says since when; a move is announced in [[domains]].",
        )
    if entry.last_reply:
        return _deferred(entry, around)
    if entry.next_attempt <= now:
        return _its_turn(entry, around)
    return Why("waiting", f"it is due at {around.time(entry.next_attempt)}", "Nothing to do.")


def _of_sender(entry: QueueEntry, around: Around) -> Why | None:
    """What has become of who sent it, where that decides (SEC-06, OP-79)."""
    if around.is_stopped:
        return Why(
            "sender suspended",
            "the operator has suspended its sender: it waits for the end of that, and comes back"
            " when its own time is over",
            "`mssmtp suspend list` says what is suspended, `--end` lets it go.",
        )
    if entry.hold_until is None or around.sender in (None, BalState.ACTIVE):
        return None
    if around.sender is BalState.SUSPENDED:
        return Why(
            "sender suspended",
            "its sender wanted it to leave later, and the box is suspended since: at"
            f" {around.time(entry.next_attempt)} it comes back",
            "Let the box work again before then (`mssmtp bal activate`), or nothing.",
        )
    return Why(
        "sender closed",
        "its sender wanted it to leave later, and the box is closed since: at"
        f" {around.time(entry.next_attempt)} it comes back into that box",
        "A colleague who looks after the box reads the report there (`mssmtp bal hand-over`).",
    )


def _deferred(entry: QueueEntry, around: Around) -> Why:
    meaning, at = _meaning(entry.last_reply or ""), around.time(entry.next_attempt)
    return Why(
        "deferred",
        f"tried {entry.attempts} time(s): {meaning}; next attempt {at}",
        f"Call the peer if it lasts; `mssmtp queue retry {entry.envelope}` tries at once.",
    )


def _its_turn(entry: QueueEntry, around: Around) -> Why:
    if around.said:
        return Why(
            "behind a failure",
            f"the domain was not reached a moment ago: {_meaning(around.said)}; what waits for it"
            " is tried again within a minute",
            "Nothing to do, or call the peer if it lasts.",
        )
    return Why(
        "its turn",
        f"it is due; {around.ahead} recipient(s) of its domain are before it",
        "Nothing to do while the server runs: `mssmtp doctor` says whether it does.",
    )


def _meaning(reply: str) -> str:
    """A peer's or our own reply in plain words; as it is, when nothing is known of it."""
    words = reply.split(" ", 2)
    status = words[1] if len(words) > 1 else ""
    for prefix, meaning in _MEANINGS:
        if status.startswith(prefix):
            return meaning
    return f"the peer said « {reply} »"


# ---------------------------------------------------------------- looking


def looked_at(reading: Reading, entry: QueueEntry) -> Looked:
    """Of one entry: how many are before it, what a peer last said of the domain, what the
    administrator wrote when it was held, and where its sender stands."""
    domain = entry.recipient.address.domain
    told = reading.queue_said(domain) if not entry.attempts else None
    said = told.last_reply if told is not None and told.attempts else None
    note = None
    if entry.held and not entry.damaged:
        for event in reading.events(entry.envelope):
            if event.kind == "intervention":
                note = next((value for _, kind, value in event.opened if kind == "reply"), None)
    box = reading.bal(entry.sender) if entry.sender is not None else None
    stopped = in_force(reading)
    is_stopped = entry.sender is not None and entry.sender.domain in stopped.domains
    return Looked(
        ahead=reading.queue_ahead(domain, entry.next_attempt),
        said=said,
        note=note,
        sender=None if box is None else box.state,
        is_stopped=is_stopped or (box is not None and box.id in stopped.boxes),
    )


def letters(store: Store, domain: Domain | None, *, held: bool = False) -> Iterator[EnvelopeId]:
    """Ids of the letters that wait, of one domain or of all, in the order of arrival; each once."""
    place: QueuePlace | None = QUEUE_BEGIN
    last: EnvelopeId | None = None
    while place is not None:
        page, place = store.read(_page(place, domain, held=held)).result()
        for entry in page:
            if entry.envelope != last:
                last = entry.envelope
                yield last


def _page(
    place: QueuePlace, domain: Domain | None, *, held: bool
) -> Callable[[Reading], tuple[tuple[QueueEntry, ...], QueuePlace | None]]:
    return lambda reading: reading.queue_page(place, _PAGE, domain=domain, held=held)


# ---------------------------------------------------------------- deciding


def decide(
    store: Store,
    ids: Iterable[EnvelopeId],
    decision: Decision,
    how: tuple[str, datetime],
    told: Callable[[int], None],
    *,
    are_named: bool = True,
) -> int:
    """`decision` about each of `ids`, with a note in the ledger (who, why); how many recipients.

    `told` hears how many letters are done; `are_named`: the administrator meant each of them.
    """
    note, now = how
    count = done = 0
    for some in _portions(ids):
        job = _decision(some, decision, (note, now), is_named=are_named)
        count += store.write(job).result()
        done += len(some)
        told(done)
    return count


def _decision(
    ids: Sequence[EnvelopeId], decision: Decision, how: tuple[str, datetime], *, is_named: bool
) -> Callable[[Writing], int]:
    note, now = how
    return lambda writing: sum(
        writing.decide(each, decision, note, now, is_named=is_named) for each in ids
    )


def _portions(ids: Iterable[EnvelopeId]) -> Iterator[list[EnvelopeId]]:
    portion: list[EnvelopeId] = []
    for each in ids:
        portion.append(each)
        if len(portion) == AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion
