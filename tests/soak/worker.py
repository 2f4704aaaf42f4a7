"""One process of the soak: a store of its own and some threads.

`worker.py PLAN` where PLAN is JSON. Each line on standard input is an epoch to play. It is
answered by `listening`; the next line begins it, and what failed is told at its end. The end of the
input is the end of the process.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mssmtp.config import StoreSettings
from mssmtp.errors import StorageUnavailable
from mssmtp.mail import Change
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.soak.hand import PATIENCE_S
from tests.soak.journal import Journal
from tests.soak.plants import plant
from tests.soak.play import Player


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process is started with. `settings` are those of the store."""

    name: str
    settings: dict[str, Any]
    bals: list[int]
    threads: int
    planted: str | None
    focus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Epoch:
    """Some seconds of play. `directory` takes the journals."""

    directory: str
    seed: str
    seconds: float


class Ear:
    """Writes down the changes this process is told of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self.players: list[Player] = []

    def listen(self, journal: Journal) -> None:
        """From now on write there."""
        with self._lock:
            old, self._journal = self._journal, journal
        if old is not None:
            old.close()

    def __call__(self, changes: tuple[Change, ...]) -> None:
        """Called by the store."""
        with self._lock:
            for change in changes:
                if self._journal is not None:
                    self._journal.line(
                        time.monotonic(), change.kind.value, change.mailbox, change.modseq
                    )
                for player in self.players:
                    player.told[-1:] = [(change.mailbox, change.modseq)]


def main() -> None:
    """Play what the standard input says."""
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.planted:
        plant(plan.planted)
    store = Store(
        StoreSettings.model_validate(plan.settings),
        SystemClock(),
        SystemEntropy(),
        worker=f"soak-{plan.name}-{os.getpid()}",
    )
    ear = Ear()
    stop = store.subscribe(ear)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        failures = _play(plan, Epoch(**json.loads(line)), store, ear)
        print(json.dumps(failures), flush=True)
    stop()
    store.close()


def _play(plan: Plan, epoch: Epoch, store: Store, ear: Ear) -> list[str]:
    directory = Path(epoch.directory)
    ear.listen(Journal(directory / f"{plan.name}.heard"))
    print(json.dumps("listening"), flush=True)
    sys.stdin.readline()  # the others listen too: what happens from now on belongs to this epoch
    failures: list[str] = []
    until = time.monotonic() + epoch.seconds
    journals = [Journal(directory / f"{plan.name}t{n}.acts") for n in range(plan.threads)]
    ear.players = [
        Player(
            store,
            journal,
            random.Random(f"{epoch.seed} {plan.name} {number}"),  # noqa: S311 - repeatable
            f"{plan.name}t{number}e{directory.name}",
            plan.bals,
            plan.focus,
        )
        for number, journal in enumerate(journals)
    ]

    def run(player: Player) -> None:
        try:
            player.play(until)
        except BaseException:
            failures.append(f"thread {player.who}: {traceback.format_exc()}")

    threads = [threading.Thread(target=run, args=(player,)) for player in ear.players]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _settle(store)
    for journal in journals:
        journal.close()
    return failures


def _settle(store: Store) -> None:
    """What was given up waiting for must not be committed in the next epoch."""
    while True:
        try:
            store.write(lambda w: None).result(PATIENCE_S)
        except StorageUnavailable:
            continue
        return


def started(plan: Plan) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-m", "tests.soak.worker", json.dumps(asdict(plan))]


if __name__ == "__main__":
    main()
