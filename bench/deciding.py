"""How long a decision takes: the engine alone, on facts of every stage (processor time).

python -m bench.deciding                   (a few seconds)
python -m bench.deciding --json
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

from mssmtp.config import LimitSettings
from mssmtp.mail import Facts, Stage
from mssmtp.policy import Engine
from tests.policy.samples import (
    INS,
    INTEROP,
    OURS,
    PATIENTS,
    POLICY,
    THEIRS,
    ZOE,
    received,
    submitted,
    to,
)

ROUNDS, CALLS = 15, 1_000


def cases() -> dict[str, Facts]:
    """What a door asks while a letter comes in."""
    native = to("jean@medical69.apicrypt.test", target=to(f"jean@{INTEROP}"))
    return {
        "submission, sender": submitted(Stage.SENDER, ZOE),
        "submission, recipient": submitted(Stage.RECIPIENT, ZOE, to(f"bob@{THEIRS}")),
        "submission, native Apicrypt": submitted(Stage.RECIPIENT, ZOE, native),
        "submission, patient": submitted(Stage.RECIPIENT, ZOE, to(f"{INS}@{PATIENTS}")),
        "submission, content": submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}")),
        "submission, content, 100 recipients": submitted(
            Stage.CONTENT, ZOE, *(to(f"r{n}@{OURS}") for n in range(100))
        ),
        "operator, recipient": received(Stage.RECIPIENT, to(f"zoe@{OURS}")),
        "operator, content": received(Stage.CONTENT, to(f"zoe@{OURS}")),
    }


def main() -> None:
    """Print the median of `ROUNDS` rounds for each case, in microseconds of processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    engine = Engine(POLICY, LimitSettings())
    asked = cases()
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name, facts in asked.items():  # in turns: what disturbs the machine disturbs all
            begun = time.process_time()
            for _ in range(CALLS):
                engine.decide(facts)
            taken[name].append((time.process_time() - begun) / CALLS * 1e6)
    figures = {name: round(median(each), 1) for name, each in taken.items()}
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, us in figures.items():
            print(f"{name:<38} {us:7.1f} us")


if __name__ == "__main__":
    main()
