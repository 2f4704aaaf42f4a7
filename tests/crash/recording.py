"""One run of the script, recorded: its trace, its ledger, and what the store showed at each answer.

The recording is proved before it is used: what the trace says is on the disk is what is there,
octet for octet, and every invariant holds after every operation.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from tests.crash.cuts import moments
from tests.crash.disk import Disk, Image, records
from tests.crash.ledger import Reply
from tests.crash.session import Orders, Progress, Setting, session
from tests.crash.shim import Kind
from tests.crash.workload import OPENING_STEPS, OPERATIONS, Hand, Step, script

FIRST_ACKNOWLEDGED = 2
"""Both people exist: from here on the store is judged."""

OPENING = -1
"""Number of the operation that opens a store again: as no operation of a script, for ids come from
it, and none may come twice."""


@dataclass(frozen=True)
class Boundary:
    """The moment before an operation: how many steps were answered, what a process finds then."""

    operation: int
    answered: int
    image: Image


@dataclass(frozen=True)
class Recording:
    """A script that was played."""

    seed: int
    steps: tuple[Step, ...]
    trace: Path
    told: Progress

    def boundaries(self) -> list[Boundary]:
        """Before each operation since the people exist."""
        disk, answered, found = Disk(), 0, []
        for record in records(self.trace):
            disk.follow(record)
            if record.kind is Kind.MARK:
                answered += record.path == "answer"
                name, _, number = record.path.partition(" ")
                if name == "operation" and answered >= FIRST_ACKNOWLEDGED:
                    everything = {change.number for change in disk.pending()}
                    there = disk.image(everything)
                    found.append(Boundary(int(number), answered, there))
        return found

    def until(self, answered: int) -> Progress:
        """What was told by then."""
        told = self.told
        return Progress(told.ledgers[: answered + 1], told.photographs[: answered + 1], answered)


def warm_up(folder: Path) -> None:
    """Load, in this process, all that a store loads when it is used: each hand would again."""
    told = _Nobody()
    hand = Hand(folder / "warm", 0, 0, told)
    for operation in (*OPENING_STEPS, "deliver_huge", "append", "fold", "look", "stop"):
        OPERATIONS[operation](hand)
    assert threading.active_count() == 1, "a thread is left: this process may not be forked"


class _Nobody:
    """Is told of steps and does not care."""

    def begins(self) -> None:
        return

    def answered(self, reply: Reply) -> None:
        return


def record(
    folder: Path,
    seed: int,
    rounds: int,
    bulks: int,
    *,
    planted: Orders | None = None,
    jumps: bool = False,
) -> Recording:
    """Play the script below `folder`. Raises AssertionError when the recording is not true."""
    root, trace = folder / "root", folder / "trace"
    root.mkdir(parents=True)
    setting = Setting(root / "home", seed, trace, True, jumps, planted)
    steps = script(seed, rounds, bulks)
    with session(setting) as playing:
        for operation, step in enumerate(steps):
            refusal = playing.play(operation, step)
            assert not refusal, f"{step}: {refusal}"
        assert playing.end() == [0, 0]
    recording = Recording(seed, steps, trace, playing.progress)
    if planted is None:
        assert _replayed(trace) == _found(root), "the shim does not see everything"
    return recording


def _replayed(trace: Path) -> dict[str, bytes]:
    *_, (_, disk) = moments(trace)
    return disk.image({change.number for change in disk.pending()}).files


def _found(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and path.name != "commit.lock"
        and not path.name.endswith("-shm")
        and path.parent.name != "run"
    }
