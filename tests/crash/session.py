"""Playing the script: a driver without a store commands processes that have one.

The driver forks every hand before anything in it has a thread, and keeps the ledger: what a hand
sent before it died was answered. It commands one operation at a time.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mssmtp import processors
from mssmtp.errors import ConfigError, MailError
from mssmtp.storage.database import GroupingConnection
from tests.crash.ledger import Ledger, Photograph, Reply, photograph
from tests.crash.shim import Shim
from tests.crash.workload import OPERATIONS, Hand, Step

WAL_PAGES = 60
"""A checkpoint after so few pages happens many times within a script."""


class SmallWal(GroupingConnection):
    """A connection of the store, but for how often it makes a checkpoint."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA wal_autocheckpoint"):
            sql = f"PRAGMA wal_autocheckpoint={WAL_PAGES}"
        return super().execute(sql, *values)


def use_small_wal() -> None:
    """Make every connection of this process a `SmallWal`."""
    real = sqlite3.connect

    def connect(*values: Any, **options: Any) -> sqlite3.Connection:
        found: sqlite3.Connection = real(*values, **{**options, "factory": SmallWal})
        return found

    sqlite3.connect = connect  # type: ignore[assignment]


Orders = Callable[[Shim], None]
"""What a hand tells its shim before an operation; a function of a module, or a partial of one."""


@dataclass(frozen=True)
class Setting:
    """What a session is played on. `planted` spoils the hands: a bug to be found."""

    home: Path
    seed: int
    trace: Path | None = None
    takes_photographs: bool = False
    jumps: bool = False
    """Whether the clock jumps forwards and back by a year between operations."""
    planted: Orders | None = None


class HandDied(Exception):
    """A hand ended at its call, as it was told."""


class _Teller:
    """Tells the driver, and the trace, of every step."""

    def __init__(self, setting: Setting, shim: Shim, line: Connection) -> None:
        self._setting, self._shim, self._line = setting, shim, line

    def begins(self) -> None:
        self._shim.mark("begin")
        self._line.send(("begin", None, None))

    def answered(self, reply: Reply) -> None:
        self._shim.mark("answer")
        taken = photograph(self._setting.home) if self._setting.takes_photographs else None
        self._line.send(("answer", reply, taken))


def _serve(setting: Setting, number: int, line: Connection) -> None:
    """A hand's life."""
    logging.disable()  # what is refused is told to the driver
    shim = Shim()
    if setting.planted is not None:
        setting.planted(shim)
    use_small_wal()
    shim.watch(setting.home.parent, setting.trace)
    hand = Hand(setting.home, number, setting.seed, _Teller(setting, shim, line))
    hand.jumps = setting.jumps
    while True:
        try:
            operation, name, orders = line.recv()
        except EOFError:
            break
        hand.begin(operation)
        if orders is not None:
            orders(shim)
        shim.mark(f"operation {operation}")
        before = shim.calls()
        try:
            OPERATIONS[name](hand)
            hand.settle()
        except (MailError, ConfigError) as error:
            line.send(("refused", (type(error).__name__, shim.calls() - before), None))
        except Exception as error:
            line.send(("failed", f"{name}: {error!r}\n{traceback.format_exc()}", None))
        else:
            line.send(("done", shim.calls() - before, None))
    hand.close()


@dataclass
class Progress:
    """How far a session came: the ledger after each answer, and what was shown then."""

    ledgers: list[Ledger] = field(default_factory=lambda: [Ledger()])
    photographs: list[Photograph | None] = field(default_factory=lambda: [None])
    begun: int = 0
    calls: list[int] = field(default_factory=list)
    """Calls of each operation."""

    @property
    def answered(self) -> int:
        """Steps that were acknowledged."""
        return len(self.ledgers) - 1

    def take(self, what: str, reply: Reply | None, taken: Photograph | None) -> None:
        """One message of a hand about a step."""
        if what == "begin":
            self.begun = self.answered + 1
        elif reply is not None:
            self.ledgers.append(self.ledgers[-1].after(reply))
            self.photographs.append(taken)


class Session:
    """Two hands at work on one home."""

    def __init__(self, setting: Setting, hands: int = 2) -> None:
        self._setting = setting
        self.progress = Progress()
        self._lines: list[Connection] = []
        self._processes: list[int] = []
        for number in range(hands):
            self._fork(number)

    def _fork(self, number: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        assert processors.alone()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                ours.close()
                for line in self._lines:
                    line.close()
                _serve(self._setting, number, theirs)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        theirs.close()
        self._lines.append(ours)
        self._processes.append(process)

    def play(self, operation: int, step: Step, orders: Orders | None = None) -> str:
        """One operation; "" or the name of the refusal it met. Raises HandDied."""
        number, name = step
        line = self._lines[number]
        try:
            line.send((operation, name, orders))
            while True:
                what, said, taken = line.recv()
                if what in ("begin", "answer"):
                    self.progress.take(what, said, taken)
                    continue
                assert what != "failed", said
                refusal, calls = said if what == "refused" else ("", said)
                self.progress.calls.append(calls)
                return str(refusal)
        except (EOFError, ConnectionError) as error:
            raise HandDied(number) from error

    def end(self) -> list[int]:
        """Let the hands close their stores and end; their exit statuses."""
        for line in self._lines:
            line.close()
        statuses = []
        for process in self._processes:
            _, status = os.waitpid(process, 0)
            statuses.append(os.waitstatus_to_exitcode(status))
        self._processes = []
        return statuses

    def kill(self) -> None:
        """End whatever still runs as a power cut would end it."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.end()


@contextmanager
def session(setting: Setting, hands: int = 2) -> Iterator[Session]:
    """A session whose hands are gone afterwards."""
    played = Session(setting, hands)
    try:
        yield played
    finally:
        played.kill()
