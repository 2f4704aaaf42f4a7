"""Every check of the trust rooms removed, negated or weakened in turn: do the tests notice?

    python -m tests.mutation                                    (about an hour of processor time)
    python -m tests.mutation --rooms pki --only judge_revocation
    python -m tests.mutation --rooms trust --sample 20 --seed 4
    python -m tests.mutation --json

For each mutant the tests that execute its lines run, the quickest first, until one fails; then the
other tests of their files. A survivor is a check that no test holds; what
changes no verdict is in `equivalent.toml`, with the reason.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from dataclasses import asdict
from pathlib import Path

from tests.mutation.laboratory import ROOMS, Report, left_out, run_all
from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]


def wanted(rooms: list[str], only: str, sample: int | None, seed: int) -> list[Mutant]:
    """Those of the rooms whose name `only` matches; a sample is the same for the same seed."""
    spared = left_out()
    found = [
        mutant
        for room in rooms
        for file in ROOMS[room]
        for mutant in mutants(ROOT / file, ROOT)
        if re.search(only, mutant.name) and f"{mutant.file} {mutant.where}" not in spared
    ]
    if sample is not None and sample < len(found):
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        found = [found[at] for at in sorted(chance.sample(range(len(found)), sample))]
    return found


def show(report: Report) -> None:
    """For a person."""
    for kind, names in (
        ("SURVIVED", report.survived),
        ("NOT EXECUTED BY ANY TEST", report.not_executed),
        ("listed as equivalent, and a test tells the difference", report.not_equivalent),
        ("listed as equivalent, and no longer a mutant", report.stale),
    ):
        for name in names:
            print(f"{kind}: {name}")
    print(
        f"{report.mutants} mutants: {report.killed} killed ({report.stopped} by the limit of time "
        f"or memory), {len(report.equivalent)} equivalent, {len(report.survived)} survived, "
        f"{len(report.not_executed)} not executed; {report.seconds:.0f} s"
    )


def main() -> int:
    """0 when nothing survived that may change a verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--rooms", default="pki,whitelist,trust", help=", ".join(ROOMS))
    parser.add_argument("--only", default="", help="mutants whose name matches this expression")
    parser.add_argument("--again", type=Path, help="those an earlier run's --json says survived")
    parser.add_argument("--tests", nargs="+", default=["tests/trust"])
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="name the mutants, run nothing")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = wanted(asked.rooms.split(","), asked.only, asked.sample, asked.seed)
    if asked.again:
        earlier = json.loads(asked.again.read_text("utf-8"))
        names = {*earlier["survived"], *earlier["not_executed"]}
        found = [mutant for mutant in found if mutant.name in names]
    if asked.list:
        print("\n".join(mutant.name for mutant in found))
        return 0
    whole = not (asked.only or asked.again) and asked.sample is None
    report = run_all(found, ROOT, asked.tests, asked.processes, is_whole=whole)
    if asked.json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=1))
    else:
        show(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
