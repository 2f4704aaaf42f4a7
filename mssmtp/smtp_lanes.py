"""Who is delivered to next, and how many at once: one lane per operator, one road per domain.

Quiet: no waiting, no clock of its own. How many deliveries a lane or a road may have under way is
learnt from how they end, as Postfix does: it grows with what succeeds and shrinks with what fails,
so that a slow or dead operator fills its own lane and nobody else's.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mssmtp.errors import MailError
from mssmtp.mail import Domain
from mssmtp.storage import BY_HAND, Lease, Want

STARTED_WITH = 5
"""Deliveries at once to who is not known yet."""
AHEAD = 8
"""So many letters are leased for each delivery that a road may have under way."""
LEAST_AHEAD = 20
FAILING_AT_ONCE = 1_000
"""Letters that share one failure to connect: with a pause of at most `LONGEST_PAUSE_S` a hundred
thousand of them all get their delay report in time (OP-18)."""
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 60.0
MOST_HELD = 4_000
"""Letters leased and not yet under way, of all domains; the fuller, the less each one gets."""
_EXPRESS = 10
_OVERTAKES = 50
"""Letters that one step of priority (RFC 6710) may overtake: whoever calls everything urgent does
not keep all others waiting for ever."""


@dataclass(slots=True)
class Pace:
    """How many deliveries may be under way. One more for each round of successes, half as many
    after a failure to connect."""

    most: int
    allowed: float = field(init=False)
    running: int = 0

    def __post_init__(self) -> None:
        self.allowed = float(min(STARTED_WITH, self.most))

    @property
    def has_room(self) -> bool:
        """One more may start."""
        return self.running < int(self.allowed)

    def succeeded(self) -> None:
        """The peer took or refused a letter: it is there."""
        self.allowed = min(float(self.most), self.allowed + 1 / self.allowed)

    def failed(self) -> None:
        """It could not be talked to."""
        self.allowed = max(1.0, self.allowed / 2)


@dataclass(slots=True)
class Road:
    """What waits for one domain. `turn` is the owner whose letter was leased last."""

    domain: Domain
    pace: Pace
    waiting: list[tuple[int, int, Lease]] = field(default_factory=list)
    came: int = 0
    """Leases that were ever added."""
    turn: int = 0
    recipients: int = 0
    """Of the leases that wait here or are under way."""
    failure: MailError | None = None
    failures: int = 0
    resumes_at: float = 0.0

    @property
    def urgent(self) -> int:
        """How many of those that wait are so."""
        return sum(each[2].envelope.priority > 0 for each in self.waiting)

    @property
    def ahead(self) -> int:
        """How many recipients are leased at once."""
        if self.failures > 1:
            return FAILING_AT_ONCE
        return max(LEAST_AHEAD, AHEAD * int(self.pace.allowed))

    def is_paused(self, at: float) -> bool:
        """Nobody could be reached a moment ago: what waits shares that answer, nobody knocks."""
        return self.failure is not None and at < self.resumes_at

    def reached(self) -> None:
        """A connection was made."""
        self.failure, self.failures = None, 0
        self.pace.succeeded()

    def missed(self, error: MailError, at: float) -> None:
        """No connection could be made. Twice in a row is a state, not an accident."""
        self.failures += 1
        self.pace.failed()
        if self.failures > 1:
            pause = FIRST_PAUSE_S * (1 << min(self.failures - 2, 6))
            self.failure, self.resumes_at = error, at + min(pause, LONGEST_PAUSE_S)


@dataclass(slots=True)
class Lane:
    """One operator: its roads take turns."""

    key: Hashable
    pace: Pace
    roads: dict[Domain, Road] = field(default_factory=dict)
    turns: deque[Road] = field(default_factory=deque)
    """Roads on which something waits."""
    unrecorded: int = 0
    """Ended, and their outcome is not written yet: bounded as those under way are, for what a peer
    has taken and only our disk does not know of would go out again if the machine died (D4)."""


class Lanes:
    """All operators. `most` deliveries at once to one of them, `in_all` to all together."""

    def __init__(self, most: int, in_all: int) -> None:
        self._most, self._in_all = most, in_all
        self._lanes: dict[Hashable, Lane] = {}
        self._road_of: dict[Domain, tuple[Lane, Road]] = {}
        self._crowd = 0
        self.running = self.unrecorded = 0
        self.held = 0

    # ------------------------------------------------------------ what to lease

    def wants(
        self, due: Iterable[tuple[Domain, datetime | None]], now: datetime, at: float
    ) -> list[Want]:
        """How much to take for each domain of which something is due."""
        wants = []
        held = self.held
        ready = [(domain, first) for domain, first in due if first is not None and first <= now]
        self._crowd = self._operators(domain for domain, _ in ready)
        for domain, first in ready:
            share = max(1, (MOST_HELD - held) // 4)
            known = self._road_of.get(domain)
            if known is not None and first <= BY_HAND:
                known[1].resumes_at = at
            if known is None:
                want = Want(domain, min(LEAST_AHEAD, share), _EXPRESS)
            elif known[1].is_paused(at):
                continue
            else:
                road = known[1]
                ahead = min(road.ahead, share)
                room = ahead - road.recipients
                if room <= -_EXPRESS:
                    continue
                # Not letter by letter: a look at the queue is a commit.
                most = room if room > ahead // 2 or not road.recipients else 0
                express = _EXPRESS if most else _EXPRESS - road.urgent
                if most + express <= 0:
                    continue
                want = Want(domain, most, express, road.turn)
            held += want.most
            wants.append(want)
        return wants

    def next_look(
        self, due: Iterable[tuple[Domain, datetime | None]], now: datetime, at: float
    ) -> float:
        """Seconds until something becomes due or a pause ends, as far as one knows; at most an
        hour."""
        soonest = 3_600.0
        for domain, first in due:
            if first is None:
                continue
            left = (first - now) / timedelta(seconds=1)
            known = self._road_of.get(domain)
            if known is not None and known[1].is_paused(at):
                left = max(left, known[1].resumes_at - at)
            elif left <= 0:
                continue  # what is due waits for room, and room wakes
            soonest = min(soonest, left)
        return soonest

    # ------------------------------------------------------------ what waits here

    def add(self, lease: Lease, operator: Hashable) -> None:
        """Let `lease` wait for its turn. `operator`: domains with the same belong together."""
        lane, road = self._on(lease.domain, operator)
        road.came += 1
        place = road.came - _OVERTAKES * lease.envelope.priority
        heapq.heappush(road.waiting, (place, road.came, lease))
        road.turn = lease.turn
        road.recipients += len(lease.recipients)
        self.held += 1
        if len(road.waiting) == 1:
            lane.turns.append(road)

    def start(self) -> Iterator[Lease]:
        """The leases that may be delivered now, each counted as under way: to be `done` later, and
        `recorded`."""
        if max(self.running, self.unrecorded) >= self._in_all:
            return
        waiting = [lane for lane in self._lanes.values() if lane.turns]
        busy = sum(bool(lane.turns) or lane.pace.running > 0 for lane in self._lanes.values())
        share = self._in_all // max(1, busy, self._crowd)
        for lane in waiting:
            while (road := self._next(lane, share)) is not None:
                lane.pace.running += 1
                road.pace.running += 1
                self.running += 1
                self.held -= 1
                yield heapq.heappop(road.waiting)[2]
                self._rotate(lane, road)

    def done(self, lease: Lease) -> Lane:
        """The dialogue that was started has ended: its place at that operator is free. For whom its
        outcome is to be `recorded`."""
        lane, road = self._road_of[lease.domain]
        lane.pace.running -= 1
        road.pace.running -= 1
        self.running -= 1
        lane.unrecorded += 1
        self.unrecorded += 1
        self._leave(lane, road, lease)
        return lane

    def recorded(self, lane: Lane) -> None:
        """An outcome of it was written, or will not be."""
        lane.unrecorded -= 1
        self.unrecorded -= 1

    def take_out(self, until: datetime) -> list[Lease]:
        """Those that wait here and end before `until`: to be given back while they are ours."""
        late = []
        for lane, road in list(self._road_of.values()):
            kept = [each for each in road.waiting if each[2].until > until]
            gone = [each[2] for each in road.waiting if each[2].until <= until]
            if gone:
                heapq.heapify(kept)
                road.waiting = kept
                if not kept:
                    lane.turns.remove(road)
                self.held -= len(gone)
                for lease in gone:
                    self._leave(lane, road, lease)
                late += gone
        return late

    def road(self, domain: Domain) -> Road:
        """Of a domain that a lease is under way to."""
        return self._road_of[domain][1]

    def lane(self, domain: Domain) -> Lane:
        """Of a domain that a lease is under way to."""
        return self._road_of[domain][0]

    def shared_failure(self, domain: Domain, at: float) -> MailError | None:
        """Nobody was reached a moment ago: this letter need not wait as long as that one."""
        road = self._road_of[domain][1]
        return road.failure if road.is_paused(at) else None

    def reached(self, domain: Domain) -> None:
        """A connection was made for a lease that is under way."""
        lane, road = self._road_of[domain]
        lane.pace.succeeded()
        road.reached()

    def missed(self, domain: Domain, error: MailError, at: float) -> None:
        """No connection could be made for a lease that is under way."""
        lane, road = self._road_of[domain]
        lane.pace.failed()
        road.missed(error, at)

    def forget_idle(self, at: float) -> None:
        """Lanes on which nothing waits or moves, unless a failure is to be remembered."""
        for domain, (lane, road) in list(self._road_of.items()):
            if not road.recipients and not road.is_paused(at):
                del self._road_of[domain], lane.roads[domain]
                if not lane.roads:
                    self._lanes.pop(lane.key, None)

    # ------------------------------------------------------------ inside

    def _on(self, domain: Domain, operator: Hashable) -> tuple[Lane, Road]:
        known = self._road_of.get(domain)
        if known is not None and (known[0].key == operator or known[1].recipients):
            return known  # a new list moves it once nothing of it is under way
        if known is not None:
            del known[0].roads[domain]
            if not known[0].roads:
                self._lanes.pop(known[0].key, None)
        lane = self._lanes.setdefault(operator, Lane(operator, Pace(self._most)))
        road = known[1] if known is not None else Road(domain, Pace(self._most))
        lane.roads[domain] = road
        self._road_of[domain] = lane, road
        return lane, road

    def _operators(self, domains: Iterable[Domain]) -> int:
        """To how many something is due; a domain not known yet counts as one of its own."""
        keys = {
            known[0].key if (known := self._road_of.get(domain)) is not None else domain
            for domain in domains
        }
        return len(keys)

    def _next(self, lane: Lane, share: int) -> Road | None:
        """The road whose turn it is, if the lane, the road and all together have room.

        No lane may have more places than its share of all, nor than half of those that are still
        free: a crowd of slow operators leaves room for the next one, and among many each gets few
        connections for many letters instead of a handshake for every other one. What is urgent
        has one place more.
        """
        free, unwritten = self._in_all - self.running, self._in_all - self.unrecorded
        places = max(1, min(free // 2, share))
        if free <= 0 or lane.pace.running > places:
            return None
        if unwritten <= 0 or lane.unrecorded >= max(1, min(unwritten // 2, share)):
            return None
        has_room = lane.pace.has_room and lane.pace.running < places
        for _ in range(len(lane.turns)):
            road = lane.turns[0]
            urgent = road.waiting[0][2].envelope.priority > 0
            if (has_room and road.pace.has_room) or (
                urgent and lane.pace.running <= int(lane.pace.allowed)
            ):
                return road
            lane.turns.rotate(-1)
        return None

    @staticmethod
    def _rotate(lane: Lane, road: Road) -> None:
        lane.turns.popleft()
        if road.waiting:
            lane.turns.append(road)

    @staticmethod
    def _leave(lane: Lane, road: Road, lease: Lease) -> None:
        road.recipients -= len(lease.recipients)
