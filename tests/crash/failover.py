"""The database's primary is killed under load and its replica takes over (D1, D5).

    python -m tests.crash.failover --rounds 50 --seed 1        (about six seconds a round)

Two processes deliver through stores whose address lists both servers. In each round the primary
dies by SIGKILL after a random number of letters, every second time while the replica is frozen;
the replica is promoted, the dead server comes back as its replica. Afterwards every letter that was
acknowledged is there once under the UID it was told, no letter is there twice, whatever was refused
was refused as temporary and within ten seconds, and the sessions went on by themselves.

    python -m tests.crash.failover --asynchronous        must fail: the test can see a loss
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mssmtp.mail import Bal
from mssmtp.storage import Store
from tests.crash.pair import Pair
from tests.storage.support import add_bal, database_file, open_new, reopen
from tests.storage.test_crash import subjects

ROOT = Path(__file__).parents[2]
ADDRESS = "zoe@hopital-a.test"
WRITERS = 2
AFTERWARDS = 30
"""Letters that must be acknowledged after a failover before the next one."""
SERVED_WITHIN_S = 20.0
ANSWERED_WITHIN_MS = 10_000
FROZEN_S = 0.6


@dataclass
class Told:
    """What the writers were answered."""

    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    """(UID, subject), each that was told: a UID told twice hides no letter."""
    uids: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    tried: set[str] = field(default_factory=set)
    twice: list[int] = field(default_factory=list)
    slowest_ms: int = 0

    def hear(self, line: str) -> bool:
        """Take in a line of a writer; whether it was an acknowledgement."""
        said, what, subject, took_ms = line.split()
        self.tried.add(subject)
        self.slowest_ms = max(self.slowest_ms, int(took_ms))
        if said == "no":
            self.refused[what] += 1
            return False
        uid = int(what)
        if uid in self.uids:
            self.twice.append(uid)
        self.uids.add(uid)
        self.acknowledged.append((uid, subject))
        return True


class Writers:
    """The processes under load."""

    def __init__(self, home: Path, number: int = WRITERS) -> None:
        self.told = Told()
        self._lines: queue.Queue[str] = queue.Queue()
        self._processes = [self._start(home) for _ in range(number)]
        self._threads = [
            threading.Thread(target=self._listen, args=(process,)) for process in self._processes
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _start(home: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.failover_writer", str(home), ADDRESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)

    def until_acknowledged(self, more: int, within_s: float) -> float:
        """Wait for so many acknowledgements; seconds until the first."""
        started_s = time.monotonic()
        first_s = 0.0
        while more:
            left_s = within_s - (time.monotonic() - started_s)
            try:
                heard = self.told.hear(self._lines.get(timeout=max(left_s, 0.001)))
            except queue.Empty:
                raise AssertionError(
                    f"no service within {within_s} s: {self.told.refused}"
                ) from None
            if heard:
                first_s = first_s or time.monotonic() - started_s
                more -= 1
        return first_s

    def hear_for(self, seconds: float) -> int:
        """Whatever is said in that time; how many acknowledgements."""
        end_s = time.monotonic() + seconds
        heard = 0
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                heard += self.told.hear(self._lines.get(timeout=left_s))
            except queue.Empty:
                break
        return heard

    def drop(self) -> None:
        """Forget what was said before the kill and is not read yet: take it in now."""
        while not self._lines.empty():
            self.told.hear(self._lines.get())

    def end(self) -> None:
        """Let them finish the letters in hand, and hear the rest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait(30)
        for thread in self._threads:
            thread.join()
        self.drop()
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.close()


@contextmanager
def writing(home: Path) -> Iterator[Writers]:
    """Writers that have ended afterwards."""
    writers = Writers(home)
    try:
        yield writers
    finally:
        writers.end()


@dataclass
class Verdict:
    """What was found at the end."""

    rounds: int
    acknowledged: int
    refused: dict[str, int]
    in_doubt_and_stored: int
    lost: list[str]
    doubled: list[str]
    uids_repeated: list[int]
    slowest_answer_ms: int
    recovered_s: list[float]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Every promise."""
        return not (
            self.lost
            or self.doubled
            or self.uids_repeated
            or self.problems
            or self.refused.keys() - {"StorageUnavailable", "TooManyWaiting"}
            or self.slowest_answer_ms > ANSWERED_WITHIN_MS
        )

    def __str__(self) -> str:
        recovered = sorted(self.recovered_s)
        return (
            f"{self.rounds} failovers, {self.acknowledged} letters acknowledged,"
            f" {sum(self.refused.values())} refused as {sorted(self.refused)}"
            f" ({self.in_doubt_and_stored} of them stored all the same);"
            f" lost {len(self.lost)}, doubled {len(self.doubled)},"
            f" UIDs repeated {len(self.uids_repeated)}, broken invariants {len(self.problems)};"
            f" slowest answer {self.slowest_answer_ms} ms;"
            f" service after promotion: median {recovered[len(recovered) // 2]:.2f} s,"
            f" worst {recovered[-1]:.2f} s"
        )


def run(
    directory: Path, pair: Pair, rounds: int, seed: int, *, frozen: bool | None = None
) -> Verdict:
    """`rounds` failovers of `pair`; `frozen`: always or never, every second time when None."""
    pick = random.Random(seed)  # noqa: S311
    home = directory / "home"
    database_file(home).write_text(pair.url, encoding="utf-8")
    with closing(open_new(home)) as store:
        bal = add_bal(store, ADDRESS)
    recovered_s = []
    with writing(home) as writers:
        for number in range(rounds):
            if number:
                pair.rebuild()
            writers.until_acknowledged(pick.randrange(20, 200), SERVED_WITHIN_S)
            if frozen or (frozen is None and number % 2):
                pair.replica.freeze()
                writers.hear_for(FROZEN_S * (0.5 + pick.random()))
            pair.fail_over()
            writers.drop()
            recovered_s.append(writers.until_acknowledged(AFTERWARDS, SERVED_WITHIN_S))
    return verdict(home, bal, writers.told, recovered_s)


def verdict(home: Path, bal: Bal, told: Told, recovered_s: list[float]) -> Verdict:
    """Compare what was told with what is there."""
    store: Store
    with closing(reopen(home)) as store:
        stored = subjects(store, bal)
        problems = store.check(deep=True).problems
    counted = Counter(stored.values())
    return Verdict(
        rounds=len(recovered_s),
        acknowledged=len(told.acknowledged),
        refused=dict(told.refused),
        in_doubt_and_stored=len(
            set(stored.values()) - {subject for _, subject in told.acknowledged}
        ),
        lost=[s for uid, s in told.acknowledged if stored.get(uid) != s],
        doubled=[subject for subject, number in counted.items() if number > 1],
        uids_repeated=told.twice,
        slowest_answer_ms=told.slowest_ms,
        recovered_s=recovered_s,
        problems=problems,
    )


def main() -> int:
    """The long version; 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--asynchronous", action="store_true", help="the planted bug")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="mssmtp-failover-") as directory,
        Pair(synchronous=not options.asynchronous) as pair,
    ):
        found = run(Path(directory), pair, options.rounds, options.seed)
    print(found)
    for problem in (*found.lost[:5], *found.doubled[:5], *found.problems[:5]):
        print("  ", problem)
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
