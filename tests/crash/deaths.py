"""Deaths: a process ends at its n-th call, before it or with half of it written, for all n.

Unlike at a power cut nothing written is lost, but the shared memory of the WAL index stays as it
is, locks fall, and another process may go on at once: for every second n one is there, and must.
Now and then the process that recovers dies too, at each of its own calls.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.crash.findings import Findings
from tests.crash.judge import Look, Verdict, judge
from tests.crash.place import Place
from tests.crash.recording import OPENING, Boundary, Recording
from tests.crash.session import HandDied, Setting, session
from tests.crash.shim import Shim
from tests.crash.spread import spread

PARTS = 6
_RECOVERIES_EVERY = 25
_CHECK_EVERY = 5


@dataclass(frozen=True)
class Death:
    """Which call of which operation."""

    boundary: Boundary
    call: int
    torn: bool

    @property
    def name(self) -> str:
        """For the command line."""
        return f"death:{self.boundary.operation}:{self.call}:{int(self.torn)}"


def deaths(recording: Recording, folder: Path, deadline: float, jobs: int) -> Iterator[Findings]:
    """Die at every call of every operation, in an order chosen by the seed, until `deadline`."""
    tasks = [(found, part) for found in recording.boundaries() for part in range(PARTS)]
    random.Random(recording.seed).shuffle(tasks)  # noqa: S311 - repeatable, not secret
    yield from spread(tasks, partial(_operation, recording, folder), deadline, jobs)


def enumerated(recording: Recording) -> int:
    """How many deaths there are; an operation has as many calls as when it was recorded."""
    return sum(2 * recording.told.calls[found.operation] for found in recording.boundaries())


def repeat(recording: Recording, folder: Path, name: str) -> Verdict:
    """One death again. Raises KeyError when there is none of that name."""
    _, operation, call, torn = name.split(":")
    for boundary in recording.boundaries():
        if boundary.operation == int(operation):
            death = Death(boundary, int(call), bool(int(torn)))
            if (verdict := die(recording, folder / "place", death)) is not None:
                return verdict
    raise KeyError(name)


def _operation(
    recording: Recording, folder: Path, process: int, task: tuple[Boundary, int]
) -> Findings:
    boundary, part = task
    found = Findings()
    for torn in (False, True):
        call = part
        while True:
            death = Death(boundary, call, torn)
            verdict = die(recording, folder / f"place{process}", death)
            if verdict is None:
                break
            found.see(death.name, "torn" if torn else "before", verdict)
            call += PARTS
    return found


def die(recording: Recording, folder: Path, death: Death) -> Verdict | None:
    """One death, and what is found afterwards; None when the operation has no such call."""
    boundary = death.boundary
    actor, name = recording.steps[boundary.operation]
    home = Place.at(folder).become(boundary.image) / "home"
    has_survivor = death.call % 2 == 0 and name != "stop"
    with session(Setting(home, recording.seed)) as playing:
        playing.progress = told = recording.until(boundary.answered)
        if name != "start":
            playing.play(OPENING, (actor, "start"))
        if has_survivor:
            playing.play(OPENING, (1 - actor, "start"))
        orders = partial(_die, death.call, death.torn)
        try:
            playing.play(boundary.operation, (actor, name), orders)
        except HandDied:
            pass
        else:
            _same(recording, told.answered, told.ledgers[-1].sent)
            return None
        if has_survivor:
            playing.play(len(recording.steps), (1 - actor, "look"))
    _same(recording, told.answered, told.ledgers[-1].sent)
    if death.call % _RECOVERIES_EVERY == 0:
        _die_recovering(home, recording.seed)
    look = Look.CHECK if death.call % _CHECK_EVERY == 0 else Look.ROWS
    return judge(home, recording.told, told.answered, max(told.begun, told.answered), look)


def _die(call: int, torn: bool, shim: Shim) -> None:
    shim.die(call, torn=torn)


def _die_recovering(home: Path, seed: int) -> None:
    call = 0
    while True:
        with session(Setting(home, seed), 1) as playing:
            try:
                playing.play(OPENING - 1 - call, (0, "start"), partial(_die, call, False))
            except HandDied:
                call += 1
            else:
                return


def _same(recording: Recording, answered: int, sent: object) -> None:
    """The same operation on the same store must promise the same, or nothing can be compared."""
    assert recording.told.ledgers[answered].sent == sent, "the run is not the recorded one"
