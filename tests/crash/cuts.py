"""Which power cuts are tried: at which moments of a trace, and what each leaves.

Between two syncs (or answers) what is pending only grows, so that every cut in between is a subset
at the later moment: looking just before each sync and each answer is enough. At such a moment:

    all, none        everything pending is there; nothing of it
    until i          all prefixes: the order was kept, the cut came after change i
    without i        all single drops
    only i           all single survivors
    torn i           prefixes whose last write is there in part: its first 512 or 4096 octets
                     alone, or all but its first 512
    names, data      directories alone reached the disk; files alone did
    some r           subsets by chance
    sectors r        each sector of 512, or page of 4096, octets has any of its versions (this is
                     reordering, too); names by chance
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.crash.disk import Disk, Image, Pending, records
from tests.crash.shim import Kind

_SUBSETS = 8
_MIXES = 6
_TEARS = ("512", "4096", "-512")


@dataclass(frozen=True)
class Moment:
    """A moment of the trace: how many steps were acknowledged, how many had begun."""

    number: int
    answered: int
    begun: int


@dataclass(frozen=True)
class Cut:
    """One power cut; its name repeats it."""

    moment: Moment
    family: str
    index: int = 0

    @property
    def name(self) -> str:
        """For the command line: moment, family, index."""
        return f"{self.moment.number}:{self.family}:{self.index}"


def moments(trace: Path) -> Iterator[tuple[Moment, Disk]]:
    """The disk just before each sync and each answer or beginning of a step."""
    disk = Disk()
    answered = begun = number = 0
    is_new = True
    for record in records(trace):
        if is_new and record.kind in (Kind.SYNC, Kind.SYNC_DIRECTORY, Kind.MARK):
            yield Moment(number, answered, begun), disk
            number += 1
            is_new = False
        disk.follow(record)
        if record.kind is Kind.MARK:
            if record.path == "begin":
                begun = answered + 1
            elif record.path == "answer":
                answered += 1
                is_new = True
        elif record.kind not in (Kind.SYNC, Kind.SYNC_DIRECTORY):
            is_new = True
    yield Moment(number, answered, begun), disk


def cuts(moment: Moment, pending: list[Pending]) -> Iterator[Cut]:
    """Every cut at one moment."""
    yield Cut(moment, "all")
    if not pending:
        return
    yield Cut(moment, "none")
    count = len(pending)
    if count == 1:
        yield from _tears(moment, pending)
        return
    for index in range(1, count):
        yield Cut(moment, "until", index)
    for index in range(count):
        yield Cut(moment, "without", index)
        yield Cut(moment, "only", index)
    yield from _tears(moment, pending)
    yield Cut(moment, "names")
    yield Cut(moment, "data")
    for index in range(_SUBSETS):
        yield Cut(moment, "some", index)
    for index in range(_MIXES):
        yield Cut(moment, "sectors", index)


def _tears(moment: Moment, pending: list[Pending]) -> Iterator[Cut]:
    for index, change in enumerate(pending):
        if change.is_data and len(change.data) > 512:
            for kind in range(len(_TEARS)):
                if len(change.data) > 4096 or _TEARS[kind] != "4096":
                    yield Cut(moment, "torn", index * len(_TEARS) + kind)


def image(disk: Disk, cut: Cut, seed: int) -> Image:
    """What a cut leaves."""
    pending = disk.pending()
    numbers = [change.number for change in pending]
    match cut.family:
        case "all":
            return disk.image(set(numbers))
        case "none":
            return disk.image(())
        case "until":
            return disk.image(set(numbers[: cut.index]))
        case "without":
            return disk.image(set(numbers[: cut.index] + numbers[cut.index + 1 :]))
        case "only":
            return disk.image({numbers[cut.index]})
        case "names" | "data":
            is_data = cut.family == "data"
            return disk.image({c.number for c in pending if (c.inode != 0) == is_data})
        case "torn":
            index, kind = divmod(cut.index, len(_TEARS))
            return _torn(disk, numbers[: index + 1], _TEARS[kind])
    chance = random.Random(f"{seed}/{cut.name}")  # noqa: S311 - repeatable, not secret
    share = chance.choice((0.2, 0.5, 0.8))
    chosen = {number for number in numbers if chance.random() < share}
    if cut.family == "some":
        return disk.image(chosen)
    return _mixed(disk, pending, chosen, chance)


def _torn(disk: Disk, chosen: list[int], kind: str) -> Image:
    def tear(change: Pending) -> list[tuple[int, bytes]]:
        if change.number != chosen[-1]:
            return [(change.at, change.data)]
        if kind == "-512":
            return [(change.at + 512, change.data[512:])]
        return [(change.at, change.data[: int(kind)])]

    return disk.image(set(chosen), tear)


def _mixed(disk: Disk, pending: list[Pending], names: set[int], chance: random.Random) -> Image:
    """Sector by sector: the first so many of the writes to it, as if it went out just then."""
    size = chance.choice((512, 4096))
    writes: dict[tuple[int, int], int] = {}
    for change in pending:
        if change.is_data:
            for sector in _sectors(change, size):
                writes[change.inode, sector] = writes.get((change.inode, sector), 0) + 1
    left = {key: chance.randint(0, count) for key, count in writes.items()}

    def tear(change: Pending) -> list[tuple[int, bytes]]:
        pieces = []
        for sector in _sectors(change, size):
            key = (change.inode, sector)
            if left[key] > 0:
                left[key] -= 1
                start = max(change.at, sector * size)
                stop = min(change.at + len(change.data), (sector + 1) * size)
                pieces.append((start, change.data[start - change.at : stop - change.at]))
        return pieces

    chosen = {change.number for change in pending if change.is_data} | names
    return disk.image(chosen, tear)


def _sectors(change: Pending, size: int) -> range:
    return range(change.at // size, (change.at + len(change.data) - 1) // size + 1)
