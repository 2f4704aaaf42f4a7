"""SORT and THREAD of one mailbox: seconds, processor time, and the longest single read.

    python -m bench.sort DIR [--rounds 3]

DIR is a home that `bench.fill` made; its INBOX is sorted and threaded as a door does it, without
sockets. The first round is told apart, because it may have to make the packs.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.fill import CLOCK, ENTROPY, settings_of
from bench.search import opened
from mssmtp.config import LimitSettings
from mssmtp.imap import effects
from mssmtp.imap.command import Command
from mssmtp.imap.commands import VERBS
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.storage import Store

COMMANDS = (
    "SEARCH ALL",
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (REVERSE SIZE) UTF-8 ALL",
    "SORT (DATE) UTF-8 ALL",
    "SORT (FROM) UTF-8 ALL",
    "SORT (CC TO) UTF-8 ALL",
    "SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
    "SORT (DATE) UTF-8 UNSEEN",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD REFS UTF-8 ALL",
)


@dataclass(slots=True)
class Run:
    """What one command took."""

    seconds: float = 0.0
    cpu: float = 0.0
    longest: float = 0.0
    on_loop: float = 0.0
    """The longest time between two effects: what everybody else in the process waits."""
    octets: int = 0


def parsed(text: str) -> Command:
    """`text` as the conversation reads it."""
    verb, _, arguments = text.partition(" ")
    return VERBS[verb].parse(Cursor((arguments.encode(),)))


def run(store: Store, session: Session, text: str) -> Run:
    """One command, its effects performed one after the other."""
    done = Run()
    began, cpu = time.perf_counter(), time.process_time()
    steps = parsed(text).run(session, b"A1")
    while True:
        before = time.perf_counter()
        try:
            effect = next(steps)
        except StopIteration:
            break
        middle = time.perf_counter()
        done.on_loop = max(done.on_loop, middle - before)
        if isinstance(effect, effects.Read):
            effect.answer(store.read(effect.query).result())
            done.longest = max(done.longest, time.perf_counter() - middle)
        elif isinstance(effect, effects.Send):
            done.octets += len(effect.octets)
    done.seconds = time.perf_counter() - began
    done.cpu = time.process_time() - cpu
    return done


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with closing(Store(settings_of(wanted.directory), CLOCK, ENTROPY)) as store:
        selected = opened(store)
        session = Session(LimitSettings(), CLOCK, secure=True)
        session.select(selected)
        print(f"{len(selected.view)} messages; milliseconds")
        print(f"{'':40}{'first':>8}{'median':>8}{'cpu':>8}{'longest read':>14}{'on loop':>9}")
        runs = [[run(store, session, each) for each in COMMANDS] for _ in range(wanted.rounds + 1)]
    for number, text in enumerate(COMMANDS):
        first, *others = (round_[number] for round_ in runs)
        some = others or [first]
        print(
            f"{text:40}{1e3 * first.seconds:8.0f}{1e3 * median(r.seconds for r in some):8.0f}"
            f"{1e3 * median(r.cpu for r in some):8.0f}{1e3 * max(r.longest for r in some):14.0f}"
            f"{1e3 * max(r.on_loop for r in some):9.1f}"
        )


if __name__ == "__main__":
    main()
