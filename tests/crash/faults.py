"""Faults: from its n-th call on the disk refuses, for all n (D9).

What is asked then is refused for the time being, and nothing else is answered; what is in the
store is what was acknowledged, with or without the step in hand; and once the fault is gone the
same process takes the next letter, without a restart.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.crash.findings import Findings
from tests.crash.judge import Verdict
from tests.crash.ledger import photograph
from tests.crash.place import Place
from tests.crash.recording import OPENING, Boundary, Recording
from tests.crash.session import HandDied, Progress, Session, Setting, session
from tests.crash.shim import Kind, Shim
from tests.crash.spread import spread

PARTS = 6
_OTHERS_EVERY = 5
"""So often another process opens the store afterwards."""
TEMPORARY = frozenset({"StorageFull", "StorageUnavailable", "TooManyWaiting"})
"""Refusals that make the other side try again (451, 452; NO [UNAVAILABLE])."""

_NAMES = (Kind.CREATE, Kind.LINK, Kind.MKDIR)
_GROWTH = (Kind.WRITE, Kind.TRUNCATE, *_NAMES)
_SYNCS = (Kind.SYNC, Kind.SYNC_DIRECTORY)


@dataclass(frozen=True)
class Fault:
    """What the system says, to which calls, and how often."""

    number: int
    kinds: tuple[Kind, ...]
    once: bool = False

    def order(self, call: int, shim: Shim) -> None:
        """Let it begin at that call."""
        shim.fail(self.number, self.kinds, start=call, **({"count": 1} if self.once else {}))


FAULTS = {
    "disk full": Fault(errno.ENOSPC, _GROWTH),
    "no inodes": Fault(errno.ENOSPC, _NAMES),
    "quota": Fault(errno.EDQUOT, (*_GROWTH, *_SYNCS)),
    "read-only": Fault(errno.EROFS, (*_GROWTH, Kind.UNLINK, Kind.RENAME, Kind.RMDIR)),
    "broken disk": Fault(errno.EIO, (*_GROWTH, *_SYNCS, Kind.UNLINK, Kind.RMDIR)),
    "one broken sync": Fault(errno.EIO, _SYNCS, once=True),
    "one broken write": Fault(errno.EIO, (Kind.WRITE,), once=True),
}

Task = tuple[Boundary, str, int]


def faults(recording: Recording, folder: Path, deadline: float, jobs: int) -> Iterator[Findings]:
    """Every fault at every call of every operation, in an order chosen by the seed."""
    tasks = [
        (boundary, name, part)
        for boundary in _boundaries(recording)
        for name in FAULTS
        for part in range(PARTS)
    ]
    random.Random(recording.seed).shuffle(tasks)  # noqa: S311 - repeatable, not secret
    yield from spread(tasks, partial(_operation, recording, folder), deadline, jobs)


def enumerated(recording: Recording) -> int:
    """How many faults there are."""
    calls = recording.told.calls
    return sum(len(FAULTS) * calls[found.operation] for found in _boundaries(recording))


def repeat(recording: Recording, folder: Path, name: str) -> Verdict:
    """One fault again. Raises KeyError when there is none of that name."""
    _, fault, operation, call = name.split(":")
    for boundary in recording.boundaries():
        if boundary.operation == int(operation):
            return suffer(recording, folder / "place", boundary, fault, int(call))
    raise KeyError(name)


def _boundaries(recording: Recording) -> list[Boundary]:
    """Of the operations a peer or a client asks for."""
    return [
        found
        for found in recording.boundaries()
        if recording.steps[found.operation][1] not in ("start", "stop")
    ]


def _operation(recording: Recording, folder: Path, process: int, task: Task) -> Findings:
    boundary, name, part = task
    found = Findings()
    for call in range(part, recording.told.calls[boundary.operation], PARTS):
        verdict = suffer(recording, folder / f"place{process}", boundary, name, call)
        found.see(f"fault:{name}:{boundary.operation}:{call}", name, verdict)
    return found


def suffer(recording: Recording, folder: Path, boundary: Boundary, name: str, call: int) -> Verdict:
    """One fault, and what is found while it lasts and afterwards."""
    home = Place.at(folder).become(boundary.image) / "home"
    actor = recording.steps[boundary.operation][0]
    has_other = call % _OTHERS_EVERY == 0
    told = recording.until(boundary.answered)
    verdict = Verdict(states=1, acknowledged=told.ledgers[-1].promises)
    with session(Setting(home, recording.seed), 2 if has_other else actor + 1) as playing:
        playing.progress = told
        playing.play(OPENING, (actor, "start"))
        try:
            _during(playing, recording, boundary, partial(FAULTS[name].order, call), verdict)
            _compare(home, recording, told, verdict)
            _afterwards(playing, actor, len(recording.steps), verdict, has_other=has_other)
        except (HandDied, AssertionError) as error:
            verdict.problems.append(f"not a refusal: {error!r:.500}")
    return verdict


def _during(
    playing: Session,
    recording: Recording,
    boundary: Boundary,
    orders: partial[None],
    verdict: Verdict,
) -> None:
    actor, name = recording.steps[boundary.operation]
    refusal = playing.play(boundary.operation, (actor, name), orders)
    # The administrator is told what to do about the file of a key.
    is_told = name == "rotate" and refusal == "ConfigError"
    if refusal and refusal not in TEMPORARY and not is_told:
        verdict.problems.append(f"refused for good: {refusal}")
    refusal = playing.play(len(recording.steps), (actor, "look"), Shim.work)
    if refusal:
        verdict.problems.append(f"refused though the fault is gone: {refusal}")


def _compare(home: Path, recording: Recording, told: Progress, verdict: Verdict) -> None:
    last = max(told.begun, told.answered)
    allowed = recording.told.photographs[told.answered : last + 1]
    taken = photograph(home)
    if taken not in allowed:
        differing = min((taken.differs(one) for one in allowed if one is not None), key=len)
        verdict.problems.append(f"neither before nor after the step: {', '.join(differing)}")


def _afterwards(
    playing: Session, actor: int, after: int, verdict: Verdict, *, has_other: bool
) -> None:
    """The next letters, in the same process; then another process looks."""
    steps = [(actor, "deliver_together"), (actor, "look")]
    if has_other:
        steps += [(1 - actor, "start"), (1 - actor, "look")]
    for step in steps:
        after += 1
        if refusal := playing.play(after, step):
            verdict.problems.append(f"{step[1]} is refused though the fault is gone: {refusal}")
