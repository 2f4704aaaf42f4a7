"""The national list: verified in a child, taken up by a worker, looked up.

    python -m bench.whitelist [--rounds 7]        (half a minute)

A generated list of 8,655 rows with the habits of the genuine one (`tests.lists`). Wall and
processor time of the child, and what of it is the start of an interpreter with its libraries; how
much a worker grows when a second list replaces the first, at its peak and afterwards; one lookup.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from mssmtp import whitelist_child
from mssmtp.demo.authority import Authority
from mssmtp.mail import domain
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot, Trust
from mssmtp.whitelist import ListRules, Whitelist
from mssmtp.whitelist_child import verify_in_child
from tests import lists

CHILD_MS, GROWTH_MIB, LOOKUP_US = 400.0, 20.0, 10.0
LATER = lists.DATE + timedelta(hours=1)
_WORKER = "--worker"


def main() -> None:
    """Measure and print; exit 1 when a limit of the bench is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(_WORKER, type=Path)
    given = parser.parse_args()
    if given.worker is not None:
        print(json.dumps(_grown(given.worker)))
        return
    with TemporaryDirectory(prefix="mssmtp-whitelist-") as folder:
        passed = _measured(Path(folder), given.rounds)
    sys.exit(not passed)


def _measured(folder: Path, rounds: int) -> bool:
    authority = Authority(lists.DATE)
    (folder / "ca.pem").write_bytes(authority.anchors_pem)
    for number, crl in enumerate(authority.crls()):
        (folder / f"{number}.crl").write_bytes(crl)
    for name, date in (("first", lists.DATE), ("second", LATER)):
        (folder / f"{name}.xml").write_bytes(authority.sign_whitelist(lists.rows(date), date))
    octets, rules = (folder / "first.xml").read_bytes(), _rules(folder)
    print(f"a list of {lists.ROWS:,} rows, {len(octets) / 1e6:.1f} MB; limits in brackets")
    alone = [_spent(_interpreter) for _ in range(rounds)]
    whole = [_spent(lambda: verify_in_child(octets, rules, lists.DATE)) for _ in range(rounds)]
    start, child = min(s.child_ms for s in alone), min(s.child_ms for s in whole)
    wall, middle = min(s.wall_ms for s in whole), median(s.wall_ms for s in whole)
    print(
        f"child: verify, parse: {child - start:.0f} ms of processor [{CHILD_MS:.0f}],"
        f" and {start:.0f} ms to start an interpreter with its libraries;"
        f" wall {wall:.0f} ms (median {middle:.0f}), of which that start"
        f" {min(s.wall_ms for s in alone):.0f};"
        f" in the worker {min(s.own_ms for s in whole):.0f} ms of processor"
    )
    grown = _in_a_worker(folder)
    print(
        f"worker: {grown['before']:.0f} MiB with a list in force; a second one:"
        f" +{grown['peak']:.1f} MiB at the peak, {grown['after']:+.1f} MiB afterwards"
        f" [{GROWTH_MIB:.0f}]; child's peak {grown['child']:.0f} MiB"
    )
    slowest = _lookups(verify_in_child(octets, rules, lists.DATE))
    return child - start < CHILD_MS and grown["peak"] < GROWTH_MIB and slowest < LOOKUP_US


def _rules(folder: Path) -> ListRules:
    anchors = Anchors.from_pem((folder / "ca.pem").read_bytes())
    crls = [path.read_bytes() for path in sorted(folder.glob("*.crl"))]
    return ListRules(Authority.pin, anchors, Revocation.of(crls, anchors), 20 << 20)


@dataclass(frozen=True, slots=True)
class _Spent:
    wall_ms: float
    child_ms: float
    own_ms: float


def _processor_ms(who: int) -> float:
    usage = resource.getrusage(who)
    return (usage.ru_utime + usage.ru_stime) * 1_000


def _spent(work: Callable[[], object]) -> _Spent:
    children, own = _processor_ms(resource.RUSAGE_CHILDREN), time.process_time()
    wall = time.perf_counter()
    work()
    return _Spent(
        (time.perf_counter() - wall) * 1_000,
        _processor_ms(resource.RUSAGE_CHILDREN) - children,
        (time.process_time() - own) * 1_000,
    )


def _interpreter() -> None:
    """What the child loads before it reads its request."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"import {whitelist_child.__name__}, mssmtp.whitelist_signature"
    subprocess.run([sys.executable, "-c", command], env=environment, check=True)


# ---------------------------------------------------------------- memory of a worker


def _in_a_worker(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.whitelist", _WORKER, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    grown: dict[str, float] = json.loads(done.stdout)
    return grown


def _grown(folder: Path) -> dict[str, float]:
    """In a fresh process: MiB with one list in force, and beyond it while and after a second."""
    rules = _rules(folder)
    trust = Trust(Snapshot(None, rules.revocation, rules.anchors))

    def take(name: str) -> None:
        octets = (folder / f"{name}.xml").read_bytes()
        listed = verify_in_child(octets, rules, LATER)
        trust.swap(Snapshot(listed, rules.revocation, rules.anchors))

    take("first")
    gc.collect()
    before = _resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    take("second")
    gc.collect()
    return {
        "before": before,
        "peak": _resident_mib("VmHWM") - before,
        "after": _resident_mib("VmRSS") - before,
        "child": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_024,
    }


def _resident_mib(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1]) / 1_024


# ---------------------------------------------------------------- one lookup


def _lookups(listed: Whitelist) -> float:
    """Print the time of each kind; the slowest in microseconds."""
    names = [domain(lists.domain_name(number)) for number in range(0, lists.DOMAINS, 7)]
    unknown = [domain(f"x.{name}") for name in names]
    keys = [next(iter(listed.names(name))) for name in names]
    kinds: dict[str, Callable[[], object]] = {
        "is it listed": lambda: [listed.lists(name) for name in names],
        "is another listed": lambda: [listed.lists(name) for name in unknown],
        "names of a domain": lambda: [listed.names(name) for name in names],
        "domains of a name": lambda: [listed.domains_of(key) for key in keys],
        "row of both": lambda: [listed.row(*pair) for pair in zip(names, keys, strict=True)],
    }
    slowest = 0.0
    for what, look in kinds.items():
        each = min(_spent(look).own_ms for _ in range(20)) * 1_000 / len(names)
        slowest = max(slowest, each)
        print(f"lookup, {what:<18} {each:6.2f} µs [{LOOKUP_US:.0f}]")
    return slowest


if __name__ == "__main__":
    main()
