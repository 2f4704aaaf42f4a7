"""A process that delivers letters until its standard input ends, and tells what it was answered.

    python -m tests.crash.failover_writer HOME ADDRESS

One line per letter, each letter tried once: `ok UID SUBJECT MS`, or `no KIND SUBJECT MS`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from mssmtp.mail import Address
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.storage.support import accept, message, settings

THREADS = 3
_REST_S = 0.05
"""Between two tries while nobody can deliver: a peer would not hammer either."""


def deliver(store: Store, name: str, address: str, stop: threading.Event) -> None:
    """Letter after letter."""
    bal = store.read(lambda r: r.bal(Address.parse(address))).result()
    assert bal is not None
    number = 0
    while not stop.is_set():
        number += 1
        subject = f"{name}-{number}"
        started_s = time.monotonic()
        try:
            _, accepted = accept(store, store.seal(message(subject, b"x" * 2_000)), [bal])
            said = f"ok {accepted.stored[bal.id].uid}"
        except Exception as error:
            said = f"no {type(error).__name__}"
            stop.wait(_REST_S)
        took_ms = round(1_000 * (time.monotonic() - started_s))
        os.write(1, f"{said} {subject} {took_ms}\n".encode())


def main() -> None:
    """Until nobody holds our standard input any more."""
    home, address = Path(sys.argv[1]), sys.argv[2]
    store = Store(settings(home), SystemClock(), SystemEntropy(), worker=f"w{os.getpid()}")
    stop = threading.Event()
    threads = [
        threading.Thread(target=deliver, args=(store, f"{os.getpid()}.{i}", address, stop))
        for i in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    store.close()


if __name__ == "__main__":
    main()
