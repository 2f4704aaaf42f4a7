"""Durable delivery and APPEND into the store: engines, processes, writers, sizes side by side.

    python -m bench.delivery [--engines sqlite,postgresql] [--workers 1,2] [--writers 1,10,50]
                             [--sizes 4,100,1024,10240] [--what delivery,append]
                             [--rounds 3] [--seconds 1.5] [--directory D] [--json]

No network and no doors: what the store itself takes per second and what it costs, sealed and synced
when an answer is counted. Every combination is measured once a round, so that a disturbance hits
all of them; printed are medians with the range of the rounds. PostgreSQL is a private server of
Debian's packages on the same disk; its processor time is counted too. The last column is each
process's share of the messages: the committers take turns (40 to 60 % of two is even).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median

from bench.letters import letter
from bench.space import ROOT, cpu_seconds
from mssmtp.config import StoreSettings
from mssmtp.mail import Address, BalType, Domain, Door, Envelope, Recipient
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Letter, LocalDelivery, Store, Transfer
from tests.postgres import Cluster, programs

BOXES = 10
OCTETS_A_ROUND = 200_000_000
BLOCK_OCTETS = 65_536
DOMAIN = "hopital-a.test"
PEER = Domain("cabinet-b.test")
SENDER = Address.parse("marius@cabinet-b.test")
TRANSFER = Transfer("in", Door.OPERATOR, "192.0.2.7", "accept", "250 2.0.0 pris en charge")
NO_POSTGRES = "PostgreSQL is left out: it is not installed (apt-get install postgresql)"


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is asked for."""

    what: str
    writers: int
    octets: int
    seconds: float
    most: int


@dataclass(frozen=True, slots=True)
class Done:
    """What it did."""

    count: int
    elapsed_s: float
    cpu_s: float
    waits_ms: list[float]


# ---------------------------------------------------------------- one process


def serve(settings: StoreSettings) -> None:
    """Open the store and do tasks that come as JSON lines."""
    with closing(Store(settings, SystemClock(), SystemEntropy(), worker="bench")) as store:
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(_measured(store, Task(**json.loads(line))))), flush=True)


def _measured(store: Store, task: Task) -> Done:
    octets = letter(0, 3_000) if task.octets < 4_096 else _letter(task.octets)
    waits: list[float] = []
    stop = time.monotonic() + task.seconds

    def work(number: int) -> None:
        box = Address.parse(f"box{number % BOXES}@{DOMAIN}")
        while time.monotonic() < stop and len(waits) < task.most:
            started = time.perf_counter()
            _write(store, task.what, box, octets)
            waits.append((time.perf_counter() - started) * 1_000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(task.writers)]
    began, cpu = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Done(len(waits), time.monotonic() - began, time.process_time() - cpu, waits)


def _letter(octets: int) -> bytes:
    head = letter(0, 100)
    line = b"Resultat de laboratoire, ligne de mesure, valeur dans la norme.\r\n"
    return head + line * max(1, (octets - len(head)) // len(line))


def _write(store: Store, what: str, box: Address, octets: bytes) -> None:
    sealed = _sealed(store, octets)
    found = store.lately.bal(box)
    if found is None:
        mark = store.lately.mark()
        found = store.read(lambda r: r.bal(box)).result()
        if found is None:
            raise SystemExit(f"{box} is missing")
        store.lately.keep(mark, found)
    bal, now = found.id, datetime.now(UTC)
    if what == "append":
        inbox = store.read(lambda r: r.mailbox(bal, "INBOX")).result()
        if inbox is None:
            raise SystemExit("a box without INBOX")
        store.write(lambda w: w.append(inbox.id, sealed, frozenset(), now)).result()
        return
    recipient = Recipient(box)
    envelope = Envelope(store.new_envelope_id(), SENDER, (recipient,), now)
    store.write(
        lambda w: w.accept(
            envelope,
            sealed,
            local=[LocalDelivery(bal, recipient)],
            queued=(),
            skip=0,
            owner=PEER,
            transfer=TRANSFER,
            facts=b"{}",
        )
    ).result()


def _sealed(store: Store, octets: bytes) -> Letter:
    """In blocks, as a door hands them over."""
    writer = store.writer()
    try:
        for start in range(0, len(octets), BLOCK_OCTETS):
            writer.write(octets[start : start + BLOCK_OCTETS])
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


# ---------------------------------------------------------------- all processes


class Worker:
    """One process over a store."""

    def __init__(self, settings: StoreSettings) -> None:
        given = settings.model_dump_json()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.delivery", "--serve", given],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            raise SystemExit("a process of the benchmark has ended")
        return line

    def begin(self, task: Task) -> None:
        """Start on a task."""
        if self._process.stdin is None:
            raise SystemExit("a process of the benchmark cannot be told anything")
        self._process.stdin.write(json.dumps(asdict(task)) + "\n")
        self._process.stdin.flush()

    def done(self) -> Done:
        """Wait for its end."""
        return Done(**json.loads(self._line()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def fresh(
    engine: str, workers: int, place: Path, cluster: Cluster | None
) -> Iterator[list[Worker]]:
    """An empty store with its boxes, and processes over it."""
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as stack:
        home = Path(folder) / "home"
        database = cluster.new_database() if cluster is not None else None
        settings = StoreSettings(
            home=home, master_key_file=home / "master.key", database=database, quota_octets=0
        )
        Store.create(settings, SystemClock(), SystemEntropy())
        with closing(Store(settings, SystemClock(), SystemEntropy())) as store:
            for number in range(BOXES):
                _add_box(store, Address.parse(f"box{number}@{DOMAIN}"))
        yield [stack.enter_context(closing(Worker(settings))) for _ in range(workers)]


def _add_box(store: Store, address: Address) -> None:
    store.write(lambda w: w.create_bal(address, BalType.ORG)).result()


@dataclass(frozen=True, slots=True)
class Combination:
    """One line of the table."""

    engine: str
    workers: int
    what: str
    octets: int
    writers: int


class Figures:
    """What the rounds gave for one combination."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.cpu_ms: list[float] = []
        self.waits_ms: list[float] = []
        self.shares: list[float] = []

    def add(self, done: list[Done], server_s: float) -> None:
        """One round."""
        total = sum(one.count for one in done)
        self.rates.append(total / max(one.elapsed_s for one in done))
        self.cpu_ms.append((sum(one.cpu_s for one in done) + server_s) * 1_000 / total)
        self.waits_ms += [wait for one in done for wait in one.waits_ms]
        self.shares.append(max(one.count for one in done) / total)

    def as_json(self, combination: Combination) -> dict[str, object]:
        """Everything, for machines."""
        waits = sorted(self.waits_ms)
        return {
            **asdict(combination),
            "per_second": self.rates,
            "cpu_ms": self.cpu_ms,
            "p50_ms": waits[len(waits) // 2],
            "p99_ms": waits[len(waits) * 99 // 100],
            "largest_share": median(self.shares),
        }


def measure(options: argparse.Namespace) -> dict[Combination, Figures]:
    """All combinations, round by round."""
    combinations = [
        Combination(*each)
        for each in product(
            options.engines, options.workers, options.what, options.sizes, options.writers
        )
    ]
    figures = {each: Figures() for each in combinations}
    place = Path(options.directory)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(durable=True)) if _wants_postgres(options) else None
        for _ in range(options.rounds):
            for engine, workers in product(options.engines, options.workers):
                chosen = [c for c in combinations if (c.engine, c.workers) == (engine, workers)]
                with fresh(
                    engine, workers, place, cluster if engine == "postgresql" else None
                ) as processes:
                    for each in chosen:
                        _one(each, processes, cluster, options.seconds, figures[each])
    return figures


def _one(
    combination: Combination,
    processes: list[Worker],
    cluster: Cluster | None,
    seconds: float,
    figures: Figures,
) -> None:
    count = len(processes)
    most = max(10, OCTETS_A_ROUND // combination.octets // count)
    served = cluster.processes() if cluster and combination.engine == "postgresql" else []
    before = cpu_seconds(served)
    for number, process in enumerate(processes):
        writers = (combination.writers + count - 1 - number) // count
        process.begin(Task(combination.what, writers, combination.octets, seconds, most))
    done = [process.done() for process in processes]
    figures.add(done, cpu_seconds(served) - before)


def _wants_postgres(options: argparse.Namespace) -> bool:
    if "postgresql" in options.engines and programs() is None:
        print(NO_POSTGRES, file=sys.stderr)
        options.engines.remove("postgresql")
    return "postgresql" in options.engines


def show(figures: dict[Combination, Figures]) -> None:
    """The table."""
    print(
        f"{'engine':<11}{'proc':>4}  {'what':<9}{'size':>7}{'writers':>8}"
        f"{'per second':>12} {'range':^15}{'CPU ms':>9}{'p50 ms':>9}{'p99 ms':>9}{'share':>7}"
    )
    for each, found in figures.items():
        line = found.as_json(each)
        print(
            f"{each.engine:<11}{each.workers:>4}  {each.what:<9}{each.octets // 1024:>4} KB"
            f"{each.writers:>8}{median(found.rates):>12.0f}"
            f" {min(found.rates):>6.0f}–{max(found.rates):<8.0f}{median(found.cpu_ms):>9.2f}"
            f"{line['p50_ms']:>9.1f}{line['p99_ms']:>9.1f}{median(found.shares):>7.0%}"
        )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=lambda t: t.split(","), default=["sqlite", "postgresql"])
    parser.add_argument("--workers", type=_numbers, default=[1, 2])
    parser.add_argument("--writers", type=_numbers, default=[1, 10, 50])
    parser.add_argument("--sizes", type=_numbers, default=[4, 100, 1_024, 10_240], metavar="KB")
    parser.add_argument("--what", type=lambda t: t.split(","), default=["delivery", "append"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(StoreSettings.model_validate_json(options.serve))
        return
    options.sizes = [size * 1_024 for size in options.sizes]
    figures = measure(options)
    if options.json:
        print(json.dumps([found.as_json(each) for each, found in figures.items()], indent=1))
    else:
        show(figures)


if __name__ == "__main__":
    main()
