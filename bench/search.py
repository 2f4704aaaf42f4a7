"""SEARCH in the sealed mail of one mailbox: messages per second, and what others wait meanwhile.

    python -m bench.search DIR [--messages 100000] [--octets 4000] [--rounds 5]

DIR is a home that `bench.fill` made (filled first when it is new); its INBOX is searched. The
questions come in turn, round by round; the first answer to each is told apart, because it may have
to make the packs. The known count of a rare word is checked each time.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from bench.fill import CLOCK, DOMAIN, ENTROPY, Filler, Plan, settings_of
from bench.letters import RARE
from mssmtp.imap import search
from mssmtp.imap.keys import And, Content, Flagged, Header, Key, Not, Or
from mssmtp.imap.numbers import Span, View, after, cut
from mssmtp.imap.results import Found
from mssmtp.imap.selected import Selected
from mssmtp.mail import Address, ModSeq
from mssmtp.storage import Mailbox, Reading, Store

RARE_KEY = Content(RARE.upper().replace("É", "E"), with_header=False)
QUESTIONS: dict[str, Key] = {
    "BODY, rare word": RARE_KEY,
    "BODY, word in all": Content("patient", with_header=False),
    "BODY, phrase in none": Content("insuffisance renale terminale", with_header=False),
    "TEXT, rare word": Content(RARE, with_header=True),
    "OR BODY BODY": Or(RARE_KEY, Content("zzqx", with_header=False)),
    "UNSEEN BODY, rare word": And((Flagged("\\Seen", False), RARE_KEY)),
    "SUBJECT, one message": Header("SUBJECT", "0000777"),
    "FROM, one in ten": Header("FROM", "zoe"),
    "NOT BODY, rare word": Not(RARE_KEY),
}


def opened(store: Store) -> Selected:
    """INBOX of the first box, as SELECT finds it."""

    def job(reading: Reading) -> tuple[Mailbox, list[int]]:
        bal = reading.bal(Address.parse(f"boite00000@{DOMAIN}"))
        found = reading.mailbox(bal.id, "INBOX") if bal else None
        if found is None:
            raise SystemExit("there is no filled box in that home")
        return found, list(reading.uids(found.id))

    mailbox, uids = store.read(job).result()
    return Selected(mailbox, True, View(uids), ModSeq(0), ModSeq(0))


def answer(store: Store, selected: Selected, key: Key) -> tuple[list[int], float]:
    """UIDs, and the longest single read: what a door waits for at most."""
    compiled = search.compiled(And((key,)), selected.view, CLOCK.now())
    found: list[int] = []
    longest = 0.0
    left: list[Span] = list(compiled.spans)
    while left:
        spans = tuple(next(cut(left, compiled.batch)))
        began = time.perf_counter()
        some, position = store.read(_finding(selected, compiled, spans)).result()
        longest = max(longest, time.perf_counter() - began)
        found += map(selected.view.uids.__getitem__, some.positions)
        left = after(left, position)
    return found, longest


def _finding(
    selected: Selected, compiled: search.Search, spans: tuple[Span, ...]
) -> Callable[[Reading], tuple[Found, int]]:
    return lambda reading: search.find(reading, selected, compiled, spans)


@contextmanager
def neighbour(store: Store, selected: Selected) -> Iterator[list[float]]:
    """Somebody else who looks at a few messages all the time; how long each look takes."""
    waits: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            began = time.perf_counter()
            store.read(lambda r: r.messages(selected.mailbox.id, [(1, 20)])).result()
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()


def measured(store: Store, rounds: int, asked: dict[str, Key]) -> None:
    """Ask, and print a line for each question."""
    selected = opened(store)
    count = len(selected.view)
    seconds: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    cpu: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    longest: dict[str, float] = dict.fromkeys(QUESTIONS, 0.0)
    matches: dict[str, int] = {}
    with neighbour(store, selected) as waits:
        for round_ in range(rounds + 1):
            for name, key in asked.items():
                began, cpu_began = time.perf_counter(), time.process_time()
                found, longest_read = answer(store, selected, key)
                elapsed = time.perf_counter() - began
                if matches.setdefault(name, len(found)) != len(found):
                    raise SystemExit(f"{name}: another answer than before")
                if round_ == 0:
                    print(f"first time: {name:<24} {elapsed:7.3f} s", flush=True)
                    store.settle()
                    waits.clear()
                    continue
                seconds[name].append(elapsed)
                cpu[name].append(time.process_time() - cpu_began)
                longest[name] = max(longest[name], longest_read)
    for name in asked:
        times = seconds[name]
        print(
            f"{name:<24} {median(times):7.3f} s ({min(times):.3f}-{max(times):.3f})"
            f" {count / median(times):>10.0f} messages/s {matches[name]:>8} found"
            f"  CPU {median(cpu[name]):.2f} s, longest read {longest[name] * 1000:.0f} ms"
        )
    waits.sort()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"a neighbour's read meanwhile: median {median(waits) * 1000:.1f} ms,"
        f" 99 % {waits[len(waits) * 99 // 100] * 1000:.1f} ms; peak memory {peak:.0f} MB"
    )


def main() -> None:
    """Fill a new home, then measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--octets", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="questions that hold this text")
    options = parser.parse_args()
    is_new = not options.directory.exists()
    with closing(Store(settings_of(options.directory), CLOCK, ENTROPY, worker="bench")) as store:
        if is_new:
            for _ in Filler(store, Plan(options.messages, octets=options.octets)).run():
                pass
        asked = {name: key for name, key in QUESTIONS.items() if options.only in name}
        measured(store, options.rounds, asked)


if __name__ == "__main__":
    main()
