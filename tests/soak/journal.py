"""What every thread did, written before, inside and after each transaction.

An act leaves up to three lines: it begins; its job ran inside a transaction and had this effect;
it was answered. Each is one `write` to an append-only file, so that a killed process leaves
everything it had said. Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEW = "new"
"""Version of what does not exist yet."""

GONE = "gone"
"""Version of a mailbox that was deleted."""

Version = int | str
Touched = list[tuple[str, Version, Version]]
"""(resource, version before, version after); both are equal when it was only looked at."""


class Journal:
    """An append-only file of one thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._last = 0

    def close(self) -> None:
        """No more lines."""
        os.close(self._file)

    def line(self, *values: object) -> None:
        """One line, whole or not at all."""
        os.write(self._file, json.dumps(values).encode() + b"\n")

    def begin(self, act: str, arguments: dict[str, Any]) -> int:
        """Before anything is asked of the store."""
        self._last += 1
        self.line("begin", self._last, time.monotonic(), act, arguments)
        return self._last

    def ran(self, number: int, touched: Touched, result: object) -> None:
        """Inside the transaction, which may still fail."""
        self.line("ran", number, touched, result)

    def end(self, number: int, error: str | None = None) -> None:
        """The store has answered."""
        self.line("end", number, time.monotonic(), error)


@dataclass(slots=True)
class Act:
    """One act as its lines tell it. Without `ended`, nobody knows whether it happened."""

    where: str
    name: str
    arguments: dict[str, Any]
    began: float
    ended: float | None = None
    error: str | None = None
    touched: Touched = field(default_factory=list)
    result: Any = None
    ran: bool = False

    @property
    def in_doubt(self) -> bool:
        """Cut off, or refused without saying what became of it."""
        return self.ended is None or self.error in ("StorageUnavailable", "StorageFull")

    @property
    def changes(self) -> bool:
        """True when it made a new version of something."""
        return any(before != after for _, before, after in self.touched)

    def __str__(self) -> str:
        result = json.dumps(self.result)[:300]
        touched = " ".join(f"{name} {a}->{b}" for name, a, b in self.touched)
        return (
            f"{self.where} {self.name} {json.dumps(self.arguments)[:300]} began {self.began:.6f} "
            f"ended {self.ended} error {self.error} [{touched}] = {result}"
        )


def acts(directory: Path) -> list[Act]:
    """Everything the threads of all processes did, each in its own order."""
    return [act for path in sorted(directory.glob("*.acts")) for act in _acts_of(path)]


def _acts_of(path: Path) -> Iterator[Act]:
    found: dict[int, Act] = {}
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue  # cut off by a kill
        kind, number, *rest = json.loads(line)
        if kind == "begin":
            found[number] = Act(f"{path.stem}#{number}", rest[1], rest[2], rest[0])
            continue
        act = found[number]
        if kind == "ran":
            act.touched = [(name, before, after) for name, before, after in rest[0]]
            act.result, act.ran = rest[1], True
        else:
            act.ended, act.error = rest
    yield from found.values()


@dataclass(frozen=True, slots=True)
class Heard:
    """A change as one process was told."""

    at: float
    kind: str
    mailbox: int
    modseq: int


def heard(path: Path) -> list[Heard]:
    """Lines of an ear, in the order they came."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [Heard(*json.loads(line)) for line in lines if line.endswith(b"\n")]
