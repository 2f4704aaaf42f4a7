"""What a queue of many separate letters costs: the start, looking at it, memory.

    python -m bench.waiting [--letters 100000] [--domains 1,200] [--octets 3500] [--base-port 28000]

Fills a queue, then, in a process of its own each: opens the store and starts a relay, whose peers
take everything, until the first letter has left (goal: 5 s); looks at the queue as `mssmtp queue`
and `doctor` do (goal of the first page: 200 ms); says how much memory it had at most.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench import outbound
from mssmtp.config import LimitSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.mail import Domain
from mssmtp.policy import Engine
from mssmtp.smtp_out import Relay
from mssmtp.storage import QUEUE_BEGIN, Reading, Store

_PAGE = 100
_FOR_S = 5.0
"""So long the relay works before its memory is told."""


def look(place: Path, port: int, domains: int) -> None:
    """As the commands do, each question a few times; the slowest and the first one."""
    started = time.perf_counter()
    settings = outbound.settings_of(place, port, domains)
    store = Store(settings.store, outbound.CLOCK, outbound.ENTROPY, worker="look")
    print(f"  opened in {time.perf_counter() - started:.2f} s")
    now = outbound.CLOCK.now()
    questions: dict[str, Callable[[Reading], object]] = {
        "queue list, first page": lambda r: r.queue_page(QUEUE_BEGIN, _PAGE),
        "queue top": lambda r: r.queue_top(now, 20),
        "queue top --senders": lambda r: r.queue_senders(now, 20),
        "queue why DOMAIN": lambda r: r.queue_page(
            QUEUE_BEGIN, 10, domain=Domain(f"d{domains}.test")
        ),
        "what is due": lambda r: r.queue_due(),
        "depth": lambda r: r.queue_depth(),
        "conservation": lambda r: r.conservation(),
    }
    for name, question in questions.items():
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            store.read(question).result(60)
            times.append(1_000 * (time.perf_counter() - begun))
        print(f"  {name:<24}{times[0]:>8.1f} ms first,{max(times[1:]):>8.1f} ms at most after")
    store.close()
    print(f"  memory {_mib()} MiB")


async def start(place: Path, port: int, domains: int) -> None:
    """Until the first letter has left, then for some seconds."""
    started = time.perf_counter()
    settings = outbound.settings_of(place, port, domains)
    store = Store(settings.store, outbound.CLOCK, outbound.ENTROPY, worker="w0")
    opened = time.perf_counter() - started
    trust = outbound.trust_of(place, domains)
    clock, entropy = outbound.CLOCK, outbound.ENTROPY
    door = Relay(
        settings,
        store,
        trust,
        Engine(PolicySettings(), LimitSettings()),
        outbound.Zone(),
        clock,
        entropy,
        worker="w0",
    )
    before = _mib()
    full = await asyncio.wrap_future(store.read(lambda r: r.queue_depth()))
    running = asyncio.create_task(door.run())
    while await asyncio.wrap_future(store.read(lambda r: r.queue_depth())) == full:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    first = time.perf_counter() - started
    await asyncio.sleep(_FOR_S)
    await door.stop(5.0)
    await running
    print(f"  store open after {opened:.2f} s, first letter away after {first:.2f} s")
    print(f"  memory {before} MiB before, {_mib()} MiB after {_FOR_S:.0f} s of delivery")
    store.close()


def _mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def main() -> None:
    """Fill, start, look, for each number of domains."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--domains", default="1,200")
    parser.add_argument("--octets", type=int, default=3_500)
    parser.add_argument("--base-port", type=int, default=28_000)
    given = parser.parse_args()
    given.messages = given.letters
    for domains in map(int, given.domains.split(",")):
        with tempfile.TemporaryDirectory(prefix="mssmtp-waiting-", dir="/var/tmp") as folder:  # noqa: S108
            place = Path(folder)
            outbound.make_space(place)
            port = given.base_port
            began = time.perf_counter()
            outbound.fill(outbound.settings_of(place, port, domains), given, domains)
            took = time.perf_counter() - began
            print(f"{given.letters} letters to {domains} domain(s), queued in {took:.0f} s")
            with outbound.sink(place, port, domains):
                for what in ("--look", "--start"):
                    words = [sys.executable, "-m", "bench.waiting", what]
                    subprocess.run([*words, str(place), str(port), str(domains)], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] in ("--look", "--start"):
        arguments = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
        if sys.argv[1] == "--look":
            look(*arguments)
        else:
            uvloop.run(start(*arguments))
    else:
        main()
