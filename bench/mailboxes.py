"""Large mailboxes beside Dovecot, with and without mail_crypt, in one interleaved run.

    python -m bench.mailboxes [--sizes 10000,100000] [--rounds 3] [--seconds 2] [--only NAME,NAME]
                              [--workers 2] [--idlers 200]

A line is printed as soon as its measure is done, the tables with the medians when a size is, or
when the run is broken off (Ctrl-C, SIGTERM). Every box of a size is filled once with letters of
4 KB that differ. *SELECT first* is the first
SELECT by a server that has not opened the box since it was filled: nothing of it is in the memory
of a process, all of it in that of the kernel. *IDLE* is the time from the OK of an APPEND to the
EXISTS that another session hears, *a session* the memory (PSS) that one more idle session takes.
Ratios above 1 are in our favour: speeds are divided ours by theirs, times and sizes theirs by ours.

Needs root and Debian's dovecot-imapd, dovecot-lmtpd and postfix, as `bench.beside_peers` does.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median, quantiles

from bench.acceptance import message
from bench.beside_peers import (
    MEASURES,
    Options,
    client_context,
    fill_first_box,
    ours,
    require_peers,
    theirs,
    warm_up,
)
from bench.peers import USERS, peers
from bench.space import space
from bench.targets import FILLING, Imap, Target

READING = (
    "FETCH flags",
    "FETCH envelope",
    "FETCH headers",
    "FETCH bodies",
    "SEARCH subject",
    "SEARCH body",
    "STORE",
    "SELECT",
)
NOTIFICATIONS = 100
_GIVEN_UP_S = 60.0
_LETTER = 4_096


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one target in one round; `more_is_better` or less."""

    value: float
    unit: str
    more_is_better: bool
    cpu_ms: float = 0.0


Question = Callable[[Target, Options], Figure]


def _rate(name: str) -> Question:
    def ask(target: Target, options: Options) -> Figure:
        sample = MEASURES[name][0](target, options)
        return Figure(sample.rate, "/s", more_is_better=True, cpu_ms=sample.cpu_ms)

    return ask


def first_select(target: Target, options: Options) -> Figure:
    """To be asked right after filling, before anything else opens the box."""
    session = Imap(target, target.logins[0])
    began = time.perf_counter()
    session.command(f"SELECT {FILLING}")
    took = time.perf_counter() - began
    session.close()
    return Figure(took * 1_000, "ms", more_is_better=False)


def warm_select(target: Target, options: Options) -> Figure:
    """One SELECT of a box that the process knows: the median of many."""
    session = Imap(target, target.logins[0])
    session.command(f"SELECT {FILLING}")
    took = []
    for _ in range(50):
        began = time.perf_counter()
        session.command(f"SELECT {FILLING}")
        took.append(time.perf_counter() - began)
    session.close()
    return Figure(median(took) * 1_000, "ms", more_is_better=False)


def notified(target: Target, options: Options) -> Figure:
    """The 99th percentile of the time until an idle session hears of new mail, of as many as fit
    into a minute; who is not told within a minute is not asked again."""
    login = target.logins[1]
    letter = message(target.sender, login[0], _LETTER)[:-3]
    took: list[float] = []
    told = 0
    with closing(Imap(target, login)) as listener, closing(Imap(target, login)) as writer:
        listener.command(f"SELECT {FILLING}")
        listener.idle()
        stop = time.monotonic() + _GIVEN_UP_S  # of all: Dovecot may tell each after half a minute
        while len(took) < NOTIFICATIONS and (len(took) < 2 or time.monotonic() < stop):
            writer.append(letter)
            began = time.perf_counter()
            try:
                told = listener.hear_of_more(told, within=_GIVEN_UP_S)
            except TimeoutError:  # Dovecot, now and then: the news never comes
                took = [_GIVEN_UP_S] * NOTIFICATIONS
                break
            took.append(time.perf_counter() - began)
            time.sleep(0.02)  # else the next letter comes while a peer still gathers news
        listener.done()
    return Figure(quantiles(took, n=100)[98] * 1_000, "ms", more_is_better=False)


def idle_memory(count: int) -> Question:
    """KB of one idle session more."""

    def ask(target: Target, options: Options) -> Figure:
        before = target.memory_mb()
        sessions = []
        for number in range(count):
            session = Imap(target, target.logins[number % len(target.logins)])
            session.command(f"SELECT {FILLING}")
            session.idle()
            sessions.append(session)
        time.sleep(1.0)
        each = (target.memory_mb() - before) * 1_024 / count
        for session in sessions:
            session.done()
            session.close()
        return Figure(max(each, 0.1), "KB", more_is_better=False)

    return ask


def questions(idlers: int) -> dict[str, Question]:
    """By the size of the box, but for the last four, in the order in which they are asked."""
    return {
        "SELECT first": first_select,
        "SELECT warm": warm_select,
        **{name: _rate(name) for name in READING},
        "APPEND 4 KB": _rate("APPEND 4 KB"),
        "login": _rate("login"),
        "IDLE p99": notified,
        "a session": idle_memory(idlers),
    }


Found = dict[str, list[tuple[Figure, ...]]]


def measure(
    chosen: dict[str, Question],
    rounds: int,
    targets: tuple[Target, ...],
    how: Options,
    found: Found,
) -> None:
    """Into `found`. Who begins changes from round to round; a first SELECT there is only once."""
    for number in range(rounds):
        for name, ask in chosen.items():
            if number and name == "SELECT first":
                continue
            order = targets if number % 2 == 0 else targets[::-1]
            taken = {target.name: ask(target, how) for target in order}
            figures = tuple(taken[target.name] for target in targets)
            found.setdefault(name, []).append(figures)
            print(f"{how.messages}, round {number + 1}: {_line(name, [figures])}", flush=True)


def show(messages: int, names: list[str], found: Found) -> None:
    """One table for each size."""
    print(f"\n{messages} messages" + "".join(f"{name:>22}" for name in names))
    for name, rounds in found.items():
        if not rounds:
            continue
        print(_line(name, rounds))


def _line(name: str, rounds: list[tuple[Figure, ...]]) -> str:
    """Medians of all targets, with the ratio of ours to each other, and processor time."""
    unit = rounds[0][0].unit
    line = f"{name:<16}"
    for place in range(len(rounds[0])):
        values = [figures[place].value for figures in rounds]
        shown = f"{median(values):,.0f}" if unit == "/s" else f"{median(values):,.2f}"
        ratio = median(_ratio(figures, place) for figures in rounds)
        line += f"{shown:>12} {unit:<2}" + (f" {ratio:>6.2f}" if place else " " * 7)
    if rounds[0][0].cpu_ms:
        spent = (median(each[place].cpu_ms for each in rounds) for place in range(len(rounds[0])))
        line += "   processor, ms: " + ", ".join(f"{each:.5f}" for each in spent)
    return line


def _ratio(figures: tuple[Figure, ...], place: int) -> float:
    us, peer = figures[0], figures[place]
    return us.value / peer.value if us.more_is_better else peer.value / us.value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=_numbers, default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--idlers", type=int, default=200)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--base-port", type=int, default=23_000)
    options = parser.parse_args()
    known = questions(options.idlers)
    chosen = {name: known[name] for name in options.only or known}
    require_peers()
    signal.signal(signal.SIGTERM, _broken_off)
    with ExitStack() as stack:
        operators = stack.enter_context(space(options.base_port, USERS, options.workers))
        sender, receiver = operators["hopital-a"], operators["cabinet-b"]
        context = client_context(sender)
        manifest = json.loads((sender.home.parent / "manifest.json").read_text())
        targets = [ours(sender, receiver, context)]
        for number, encrypted in enumerate((True, False), 1):
            files = receiver.certificate_file, receiver.key_file, str(manifest["ca_file"])
            pair = peers(options.base_port - 1_000 * number, *files, encrypted=encrypted)
            name = "Dovecot, mail_crypt" if encrypted else "Dovecot in clear"
            targets.append(theirs(stack.enter_context(pair), context, name))
        for size in options.sizes:
            how = Options(10, options.seconds, size)
            warm_up(tuple(targets))
            for target in targets:
                fill_first_box(target, how)
            found: Found = {}
            try:
                measure(chosen, options.rounds, tuple(targets), how, found)
            finally:
                show(size, [target.name for target in targets], found)


def _broken_off(_number: int, _frame: object) -> None:
    """What was measured is shown, and the servers are stopped."""
    raise SystemExit("broken off")


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
