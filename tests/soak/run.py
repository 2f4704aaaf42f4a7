"""A whole soak: epochs of play, each judged before the next begins.

Between two epochs nobody writes: everything is compared with the reference, the ledger of every
envelope too, and `Store.check` must find nothing. What was judged is forgotten, so that a run may
last as long as one likes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mssmtp.config import StoreSettings
from mssmtp.mail import Address, BalType, EnvelopeId
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.soak.hand import names, version
from tests.soak.journal import Journal, Version, acts, heard
from tests.soak.judge import Order, leased_twice, unheard
from tests.soak.play import Player
from tests.soak.reference import Change, Reference
from tests.soak.worker import Epoch, Plan, started
from tests.storage.support import RPPS

ROOT = Path(__file__).parents[2]
ANSWERED_WITHIN_S = 120.0
ARCHIVED = 600
SMALL_OCTETS = 4_096


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to soak. `database`: a connection string, or the embedded engine when None."""

    seconds: float
    seed: str
    processes: int = 2
    threads: int = 4
    bals: int = 3
    kills: bool = True
    epoch_s: float = 4.0
    database: str | None = None
    planted: str | None = None
    archived: int = ARCHIVED
    heard_within_s: float = 15.0
    focus: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What a run did and found."""

    acts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    epochs: int = 0
    kills: int = 0
    in_doubt: int = 0
    changes: int = 0
    violations: list[str] = field(default_factory=list)


class Process:
    """One of the processes, started again whenever it was killed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._lives = 0
        self._start()

    def _start(self) -> None:
        self._lives += 1
        plan = Plan(**{**asdict(self.plan), "name": f"{self.plan.name}x{self._lives}"})
        self.name = plan.name
        self._process = subprocess.Popen(
            started(plan),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def expect(self, what: str) -> None:
        """Wait until it says so."""
        assert self.answer() == what

    def tell(self, what: object) -> None:
        """One line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has died: {self._process.wait()}")
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL, and a new one at once."""
        self._process.kill()
        self._end()
        self._start()

    def stop(self) -> None:
        """The end of its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()

    def _end(self) -> None:
        self._process.wait(ANSWERED_WITHIN_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Soak:
    """One run in `directory`, which keeps the journals of the last epoch."""

    def __init__(
        self, directory: Path, wanted: Wanted, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.wanted = wanted
        self.outcome = Outcome()
        self._say = say
        self._journals = directory / "journals"
        self._chance = random.Random(f"{wanted.seed} run")  # noqa: S311 - repeatable
        home = directory / "home"
        self._settings = {
            "home": str(home),
            "master_key_file": str(home / "master.key"),
            "small_octets": SMALL_OCTETS,
        }
        if wanted.database is not None:
            self._settings["database"] = wanted.database
        settings = StoreSettings.model_validate(self._settings)
        Store.create(settings, SystemClock(), SystemEntropy())
        self._store = Store(settings, SystemClock(), SystemEntropy(), worker="judge")
        self._reference = Reference()
        self._versions: dict[str, Version] = {}
        self._before: list[Change] = []
        self._processes: list[Process] = []

    def run(self) -> Outcome:
        """Play until the time is over or something is wrong."""
        try:
            bals = [self._new_bal(number) for number in range(self.wanted.bals)]
            self._fill(bals)
            for number in range(self.wanted.processes):
                wanted = self.wanted
                plan = Plan(
                    f"p{number}",
                    self._settings,
                    bals,
                    wanted.threads,
                    wanted.planted,
                    wanted.focus,
                )
                self._processes.append(Process(plan))
            for process in self._processes:
                process.expect("ready")
            until = time.monotonic() + self.wanted.seconds
            while time.monotonic() < until and not self.outcome.violations:
                self._epoch(bals, min(self.wanted.epoch_s, until - time.monotonic()))
        finally:
            for process in self._processes:
                process.stop()
            self._store.close()
        return self.outcome

    def _new_bal(self, number: int) -> int:
        address = Address.parse(f"soak{number}@hopital-a.test")
        bal = self._store.write(
            lambda w: w.create_bal(address, BalType.PER, national_id=RPPS)
        ).result()
        name = f"bal:{bal.id}"
        found, self._versions[name] = self._store.read(
            lambda r: (names(r, bal.id), version(r, name))
        ).result()
        self._reference.adopt(bal.id, found)
        self._versions |= {f"{kind}:{id}": 1 for id in found.values() for kind in ("box", "recent")}
        return int(bal.id)

    def _epoch(self, bals: list[int], seconds: float) -> None:
        number = self.outcome.epochs = self.outcome.epochs + 1
        directory = self._journals / f"{number}"
        directory.mkdir(parents=True)
        epoch = Epoch(str(directory), f"{self.wanted.seed} {number}", seconds)
        survivors = {process.name for process in self._processes}
        for process in self._processes:
            process.tell(asdict(epoch))
        for process in self._processes:
            process.expect("listening")
        for process in self._processes:
            process.tell("play")
        if self.wanted.kills and number % 2 == 0:
            killed = self._chance.choice(self._processes)
            survivors.discard(killed.name)
            time.sleep(self._chance.uniform(0.1, 0.8) * seconds)
            killed.kill()
            self.outcome.kills += 1
            killed.expect("ready")
        for process in self._processes:
            if process.name in survivors:
                self.outcome.violations += process.answer()
        self._look_at_everything(directory, bals)
        self._judge(directory, survivors)
        if not self.outcome.violations:
            shutil.rmtree(directory)

    def _fill(self, bals: list[int]) -> None:
        """One mailbox large enough for packs."""
        directory = self._journals / "0"
        directory.mkdir(parents=True)
        journal = Journal(directory / "fill.acts")
        player = Player(self._store, journal, self._chance, "fill", bals)
        player.fill(bals[0], "Archive", self.wanted.archived)
        journal.close()
        self._judge(directory, set())

    def _look_at_everything(self, directory: Path, bals: list[int]) -> None:
        journal = Journal(directory / "all.acts")
        player = Player(self._store, journal, self._chance, "all", bals)
        player.look_at_everything(self._envelopes(directory))
        journal.close()

    def _envelopes(self, directory: Path) -> list[str]:
        """Everything that waits, or did since the last epoch."""
        found = [id for id, rows in self._reference.envelopes.items() if rows]
        for act in acts(directory):
            if act.name == "accept" and act.arguments["queued"]:
                id = act.arguments["envelope"]
                if not act.in_doubt or self._events(id):
                    found.append(id)
        return found

    def _judge(self, directory: Path, survivors: set[str]) -> None:
        outcome = self.outcome
        found = acts(directory)
        for act in found:
            kind = outcome.refused if act.error else outcome.acts
            kind[act.name if act.error is None else f"{act.name} {act.error}"] += 1
            outcome.in_doubt += act.in_doubt
        order = Order(self._reference, self._versions, found)
        order.run()
        outcome.violations += order.violations + leased_twice(found)
        if outcome.violations:
            return
        outcome.violations += self._ledger()
        for path in sorted(directory.glob("*.heard")):
            outcome.violations += self._heard(path, complete=path.stem in survivors)
        outcome.changes += len(self._reference.changes)
        self._before, self._reference.changes = self._reference.changes, []
        report = self._store.check(deep=outcome.epochs % 5 == 0)
        outcome.violations += [f"check: {problem}" for problem in report.problems]
        self._say(
            f"epoch {outcome.epochs}: {sum(outcome.acts.values())} acts, "
            f"{outcome.changes} changes, {outcome.kills} kills, "
            f"{len(outcome.violations)} violations"
        )

    def _heard(self, path: Path, *, complete: bool) -> list[str]:
        """Every change arrives, sooner or later, in every process that lives."""
        until = time.monotonic() + self.wanted.heard_within_s
        while (missed := self._unheard(path, complete=complete)) and time.monotonic() < until:
            time.sleep(0.05)
        return [f"{path.stem}: {text}" for text in missed]

    def _unheard(self, path: Path, *, complete: bool) -> list[str]:
        return unheard(self._reference.changes, self._before, heard(path), complete=complete)

    def _ledger(self) -> list[str]:
        """The events of every envelope of this epoch are those of the reference."""
        violations = []
        for envelope, expected in self._reference.ledgers():
            counts: Counter[str] = Counter(self._events(envelope))
            if "suppression" not in expected:  # or nobody can tell how many there must be
                del counts["suppression"]
            if +expected != counts:
                violations.append(f"ledger of {envelope}: {dict(counts)}, not {dict(expected)}")
        return violations

    def _events(self, envelope: str) -> list[str]:
        """Kinds of what the ledger holds of an envelope."""
        events = self._store.read(lambda r: r.events(EnvelopeId(envelope))).result()
        return [event.kind for event in events]
