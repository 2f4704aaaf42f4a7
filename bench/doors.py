"""Letters taken from other operators, in every shape, beside Postfix with Dovecot behind it.

    python -m bench.doors [--rounds 2] [--seconds 1.5] [--sessions 1,10,50]
                          [--sizes "4 KB,100 KB,1 MB,10 MB"] [--workers 2] [--json]

One and many letters on each connection, mutual TLS, a reply counts once it is 250. Two ratios of
each: *accepted* is the peer's 250, when its queue has the letter; *delivered* is when Dovecot
(mail_crypt) has it in the mailbox, which is where ours is at its 250. Every shape is taken of both
within seconds, once a round. Needs what `bench.beside_peers` needs, on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from statistics import median

from bench.beside_peers import (
    SIZES,
    Options,
    Sample,
    accepting,
    both,
    require_peers,
    spread,
)
from bench.targets import Target

Pair = tuple[Sample, Sample]


@dataclass(frozen=True, slots=True)
class Shape:
    """How letters come."""

    sessions: int
    size: str
    letter_each: bool

    def __str__(self) -> str:
        each = "one" if self.letter_each else "many"
        return f"{self.sessions:>3} sessions, {self.size:>6}, {each:<4}"

    def take(self, target: Target, seconds: float) -> Sample:
        """Of one server."""
        how = Options(self.sessions, seconds, 0)
        return accepting(SIZES[self.size], letter_each=self.letter_each)(target, how)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--sessions", type=_numbers, default=[1, 10, 50])
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=list(SIZES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--base-port", type=int, default=23_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if unknown := [name for name in given.sizes if name not in SIZES]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(SIZES)}")
    require_peers()
    shapes = [
        Shape(sessions, size, letter_each)
        for letter_each in (False, True)
        for size in given.sizes
        for sessions in given.sessions
    ]
    with both(given.base_port, given.workers, encrypted=True) as targets:
        found = measured(shapes, targets, given.rounds, given.seconds)
    print(as_json(found)) if given.json else show(found)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def measured(
    shapes: list[Shape], targets: tuple[Target, Target], rounds: int, seconds: float
) -> dict[Shape, list[Pair]]:
    """Who begins changes from round to round."""
    found: dict[Shape, list[Pair]] = {shape: [] for shape in shapes}
    for number in range(rounds):
        for shape in shapes:
            order = targets if number % 2 == 0 else targets[::-1]
            taken = {target.name: shape.take(target, seconds) for target in order}
            found[shape].append((taken[targets[0].name], taken[targets[1].name]))
            print(f"round {number + 1} of {rounds}: {shape}", file=sys.stderr)
    return found


def show(found: dict[Shape, list[Pair]]) -> None:
    """The table."""
    print(
        f"{'letters on a connection':<28}{'we /s':>8}{'peer /s':>9}  {'accepted':<22}"
        f"  {'delivered':<22}  {'CPU we, peer ms':>17}"
    )
    for shape, pairs in found.items():
        us, peer = [a for a, _ in pairs], [b for _, b in pairs]
        accepted = [a.rate / b.rate for a, b in pairs]
        delivered = [a.rate / (b.delivered or b.rate) for a, b in pairs]
        print(
            f"{shape!s:<28}{median(s.rate for s in us):>8.0f}{median(s.rate for s in peer):>9.0f}"
            f"  {spread(accepted):<22}  {spread(delivered):<22}"
            f"  {median(s.cpu_ms for s in us):>8.2f} {median(s.cpu_ms for s in peer):>8.2f}"
        )


def as_json(found: dict[Shape, list[Pair]]) -> str:
    """Every sample."""
    return json.dumps(
        [
            {
                "sessions": shape.sessions,
                "size": shape.size,
                "one_letter_a_connection": shape.letter_each,
                "rounds": [
                    [
                        {"rate": one.rate, "delivered": one.delivered, "cpu_ms": one.cpu_ms}
                        for one in pair
                    ]
                    for pair in pairs
                ],
            }
            for shape, pairs in found.items()
        ],
        indent=1,
    )


if __name__ == "__main__":
    main()
