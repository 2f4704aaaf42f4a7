"""A change of the rules, tried on the letters of the last days before it counts (F6).

The sealed facts of each decision are kept for `store.facts_kept`; both configurations are asked
about each of them. Nothing is sent, nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mssmtp.mail import Domain, EnvelopeId, Facts, masked
from mssmtp.policy import BadFacts, Decision, Engine, facts_from_bytes
from mssmtp.policy.replay import in_short, replayed
from mssmtp.storage import Reading, Store

AT_ONCE = 200
MOST_AUTHORS = 10_000
"""Boxes that are counted one by one; the letters of further ones are counted together."""
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Changed:
    """One letter that would fare otherwise."""

    envelope: EnvelopeId
    at: datetime
    author: str
    recipients: int
    before: str
    after: str


@dataclass(slots=True)
class Rehearsal:
    """What a change would do. `stopped` and `opened` count letters by their author's box."""

    tried: int = 0
    unreadable: int = 0
    ways: Counter[tuple[str, str]] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    examples: list[Changed] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Letters that would fare otherwise."""
        return self.ways.total()


def rehearsed(
    store: Store,
    now: Engine,
    then: Engine,
    told: Callable[[int, int], None],
    most_examples: int = 20,
) -> Rehearsal:
    """Every letter whose facts are kept, judged by `now` and by `then`, oldest first.

    `told` hears how many of how many are done.
    """
    found = Rehearsal()
    total = store.read(lambda reading: reading.count_facts()).result()
    after = EnvelopeId("")
    while True:
        page = store.read(_page(after)).result()
        for envelope, octets in page:
            _try(found, envelope, octets, (now, then), most_examples)
        told(found.tried + found.unreadable, total)
        if len(page) < AT_ONCE:
            return found
        after = page[-1][0]


def _page(after: EnvelopeId) -> Callable[[Reading], list[tuple[EnvelopeId, bytes | None]]]:
    return lambda reading: reading.kept_facts(after, AT_ONCE)


def _try(
    found: Rehearsal,
    envelope: EnvelopeId,
    octets: bytes | None,
    engines: tuple[Engine, Engine],
    most: int,
) -> None:
    try:
        facts = None if octets is None else facts_from_bytes(octets)
    except BadFacts:
        facts = None
    if facts is None:  # of a box that was shredded, or of another version
        found.unreadable += 1
        return
    found.tried += 1
    before, after = (replayed(engine, facts) for engine in engines)
    short = in_short(before), in_short(after)
    if short[0] == short[1]:
        return
    author = _author(facts, before.patient_domains)
    found.ways[short] += 1
    counted = _counted(found, before, after)
    if counted is not None:
        known = author if author in counted or len(counted) < MOST_AUTHORS else OTHERS
        counted[known] += 1
    if len(found.examples) < most:
        count = len(facts.recipients)
        found.examples.append(Changed(envelope, facts.now, author, count, *short))


def _counted(found: Rehearsal, before: Decision, after: Decision) -> Counter[str] | None:
    if before.is_accepted is after.is_accepted:
        return None
    return found.stopped if before.is_accepted else found.opened


def _author(facts: Facts, patients: frozenset[Domain]) -> str:
    """Whose letter it was: the box acted in, else who the envelope names."""
    address = facts.acting.address if facts.acting is not None else facts.sender
    return "<>" if address is None else masked(address, patients)
