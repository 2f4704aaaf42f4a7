"""Power cuts: every state that `cuts` enumerates from one recording, recovered and judged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.crash.cuts import cuts, image, moments
from tests.crash.findings import Findings
from tests.crash.judge import Look, Verdict, judge
from tests.crash.place import Place
from tests.crash.recording import FIRST_ACKNOWLEDGED, Recording
from tests.crash.spread import spread

SLICES = 256
_DEEP_EVERY = 200
_CHECK_EVERY = 20


def enumerated(recording: Recording) -> int:
    """How many power cuts there are."""
    return sum(
        sum(1 for _ in cuts(moment, disk.pending()))
        for moment, disk in moments(recording.trace)
        if moment.answered >= FIRST_ACKNOWLEDGED
    )


def power_cuts(
    recording: Recording,
    folder: Path,
    deadline: float,
    jobs: int,
    *,
    slices: int = SLICES,
    later: timedelta = timedelta(days=2),
    to_the_first: bool = False,
) -> Iterator[Findings]:
    """Judge `slices` of the 256 slices of all cuts, chosen by the seed, until `deadline`.

    `to_the_first`: a slice ends with its first problem. Where nothing is ever synced it would have
    thousands of states.
    """
    numbers = list(range(SLICES))
    random.Random(recording.seed).shuffle(numbers)  # noqa: S311 - repeatable, not secret
    work = partial(_slice, recording, folder, later, to_the_first)
    yield from spread(numbers[:slices], work, deadline, jobs)


def _slice(
    recording: Recording,
    folder: Path,
    later: timedelta,
    to_the_first: bool,
    process: int,
    wanted: int,
) -> Findings:
    found = Findings()
    place = Place.at(folder / f"place{process}")
    number = 0
    for moment, disk in moments(recording.trace):
        if moment.answered < FIRST_ACKNOWLEDGED:
            continue
        for cut in cuts(moment, disk.pending()):
            number += 1
            if number % SLICES != wanted:
                continue
            home = place.become(image(disk, cut, recording.seed)) / "home"
            step = number // SLICES
            look = (
                Look.DEEP
                if step % _DEEP_EVERY == wanted % _DEEP_EVERY
                else Look.CHECK
                if step % _CHECK_EVERY == wanted % _CHECK_EVERY
                else Look.ROWS
            )
            verdict = judge(home, recording.told, moment.answered, moment.begun, look, later)
            found.see(cut.name, cut.family, verdict)
            if to_the_first and found.problems:
                return found
    return found


def repeat(recording: Recording, folder: Path, name: str) -> Verdict:
    """One cut again, looked at deeply. Raises KeyError when there is none of that name."""
    place = Place.at(folder / "place")
    for moment, disk in moments(recording.trace):
        for cut in cuts(moment, disk.pending()):
            if cut.name == name:
                home = place.become(image(disk, cut, recording.seed)) / "home"
                return judge(home, recording.told, moment.answered, moment.begun, Look.DEEP)
    raise KeyError(name)
