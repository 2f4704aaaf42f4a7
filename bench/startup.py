"""Start of a big store: time to ready after a kill with a large log, and memory beside a small one.

    python -m bench.startup [--messages 1000000] [--small 10000] [--queued 100000]
                            [--directory DIR]

Two stores are filled (kept in DIR when given, and filled only once). Of each: a process writes
until the write-ahead log holds 64 MiB and is killed by SIGKILL; another opens the store, which
recovers the log and sweeps, lists the UIDs of a mailbox, reads rows, summaries and bodies of a
window, leases from the queue and prunes. Its times and its peak memory are printed; then the same
after an orderly end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from bench.fill import CLOCK, DOMAIN, ENTROPY, Filler, Plan, settings_of
from bench.space import peak_mebibytes
from mssmtp.mail import Address, MailboxId, Uid
from mssmtp.storage import Letter, Reading, Store, Writing

LOG_OCTETS = 64 << 20
WINDOW = 200
LAPS = ("ready", "uids", "window", "lease", "prune")
READY_WITHIN_S = 5.0
_KILLED, _LOOKED = "--killed", "--looked"


def main() -> None:
    """Fill, kill, open, print; exit 1 when a store was not ready within five seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mssmtp-startup-") as folder:
        base: Path = given.directory or Path(folder)
        plans = {
            "small": Plan(given.small),
            "big": Plan(given.messages, octets=2_000),
            "queue": Plan(given.small, queued=given.queued),
        }
        print(f"{'store':<8}{'':<10}" + "".join(f"{lap:>8}" for lap in LAPS) + f"{'peak':>10}")
        slowest = max(measured(name, base / name, plan) for name, plan in plans.items())
    sys.exit(slowest > READY_WITHIN_S)


def measured(name: str, directory: Path, plan: Plan) -> float:
    """Print the rows of one store; the longest time to ready."""
    if not directory.exists():
        directory.mkdir(parents=True, mode=0o700)
        with closing(_store(directory)) as store:
            for _ in Filler(store, plan).run():
                pass
    _child(_KILLED, directory)
    ready = []
    for how in ("killed", "closed"):
        found: dict[str, float] = json.loads(_child(_LOOKED, directory))
        ready.append(found["ready"])
        times = "".join(f"{found[lap]:>7.2f}s" for lap in LAPS)
        print(f"{name:<8}{how:<10}{times}{found['peak']:>6.0f} MiB", flush=True)
    return max(ready)


def _child(what: str, directory: Path) -> str:
    command = [sys.executable, "-m", "bench.startup", what, str(directory)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{what} failed")
    return ended.stdout


def _store(directory: Path) -> Store:
    return Store(settings_of(directory), CLOCK, ENTROPY, worker="bench")


def die_with_a_large_log(directory: Path) -> None:
    """Hold a snapshot, so that the log cannot be folded, write it full, and be killed."""
    store = _store(directory)
    mailbox = _first(store)
    log = directory / "store.db-wal"

    def grow(reading: Reading) -> None:
        reading.messages(mailbox, [(1, 1)])  # the snapshot begins with what it reads first
        while log.stat().st_size < LOG_OCTETS:
            _append(store, mailbox)

    store.read(grow, patient=True).result()
    os.kill(os.getpid(), signal.SIGKILL)


def _append(store: Store, mailbox: MailboxId) -> None:
    octets = b"Subject: journal\r\n\r\n" + os.urandom(40_000).hex().encode()
    letters = [store.seal(octets) for _ in range(64)]
    jobs = [store.write(partial(_kept, mailbox=mailbox, letter=letter)) for letter in letters]
    for job in jobs:
        job.result()


def _kept(writing: Writing, *, mailbox: MailboxId, letter: Letter) -> Uid:
    return writing.append(mailbox, letter, frozenset(), CLOCK.now())


def look(directory: Path) -> None:
    """Open the store as a worker does and print how long each step took, as JSON."""
    clock = _Stopwatch()
    store = _store(directory)
    mailbox = _first(store)
    clock.lap("ready")
    uids = store.read(lambda r: r.uids(mailbox)).result()[-WINDOW:]
    clock.lap("uids")
    store.read(lambda r: _window(r, mailbox, uids)).result()
    clock.lap("window")
    store.write(lambda w: w.lease(CLOCK.now(), 64, "bench")).result()
    clock.lap("lease")
    store.write(lambda w: w.prune(CLOCK.now())).result()
    clock.lap("prune")
    store.write(lambda w: w.release("bench")).result()
    # Not getrusage: what this process was before it became Python counts there too.
    print(json.dumps(clock.laps | {"peak": peak_mebibytes([os.getpid()])}))
    store.close()


class _Stopwatch:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What has passed since the lap before is `name`'s."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


def _first(store: Store) -> MailboxId:
    def first(reading: Reading) -> MailboxId:
        bal = reading.bal(Address.parse(f"boite00000@{DOMAIN}"))
        found = reading.mailbox(bal.id, "INBOX") if bal else None
        if found is None:
            raise SystemExit("not a store that bench.fill made")
        return found.id

    return store.read(first).result()


def _window(reading: Reading, mailbox: MailboxId, uids: list[Uid]) -> None:
    """What a client that has just selected the mailbox asks for."""
    reading.messages(mailbox, [(uids[0], uids[-1])])
    for _ in reading.summaries(mailbox, uids):
        pass
    for uid in uids[-10:]:
        reading.body(mailbox, uid)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in (_KILLED, _LOOKED):
        (die_with_a_large_log if sys.argv[1] == _KILLED else look)(Path(sys.argv[2]))
    else:
        main()
