"""`python -m tests.soak --minutes 30 --seed 1`: random acts on one store, all judged.

Prints what was done; on a violation what was expected, the acts that led to it and where the
journals and the store are kept. The same seed draws the same acts; how they interleave does not
repeat, which is why everything needed to understand a violation is written down.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.postgres import Cluster
from tests.soak.plants import PLANTS
from tests.soak.run import Outcome, Soak, Wanted


def main() -> int:
    """The long version of test_soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4, help="per process")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="a bug to be found")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        database = None
        if options.engine == "postgresql":
            database = stack.enter_context(Cluster()).new_database()
        return soak(options, database)


def soak(options: argparse.Namespace, database: str | None) -> int:
    """Run, and tell."""
    directory = Path(tempfile.mkdtemp(prefix="mssmtp-soak-"))
    wanted = Wanted(
        seconds=options.minutes * 60,
        seed=options.seed,
        processes=options.processes,
        threads=options.threads,
        kills=not options.no_kills,
        planted=options.plant,
        database=database,
    )
    print(
        f"{options.engine}, seed {wanted.seed}, "
        f"{wanted.processes} processes of {wanted.threads} threads"
    )
    outcome = Soak(directory, wanted, lambda text: print(text, flush=True)).run()
    told(outcome)
    if outcome.violations:
        print(f"kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


def told(outcome: Outcome) -> None:
    """The figures."""
    for title, counts in (("acts", outcome.acts), ("refused", outcome.refused)):
        print(title, _columns(counts))
    print(
        f"{outcome.epochs} epochs, {outcome.changes} changes, {outcome.kills} kills, "
        f"{outcome.in_doubt} acts in doubt, {len(outcome.violations)} violations"
    )
    for violation in outcome.violations:
        print(f"VIOLATION {violation}")


def _columns(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
