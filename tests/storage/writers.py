"""Runs as a process of its own: accepts letters and prints what was acknowledged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mssmtp.mail import Address
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.storage.support import accept, message, settings


def main() -> None:
    """`writers.py HOME COUNT LARGE`: one line `uid subject` per acknowledged letter."""
    home, count, large = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "large"
    store = Store(settings(home), SystemClock(), SystemEntropy(), worker=f"w{os.getpid()}")
    bal = store.read(lambda r: r.bal(Address.parse("zoe@hopital-a.test"))).result()
    assert bal is not None
    body = os.urandom(150_000) if large else b"x" * 2_000
    print("ready", flush=True)
    for number in range(count):
        subject = f"{os.getpid()}-{number}"
        _, accepted = accept(store, store.seal(message(subject, body)), [bal])
        print(accepted.stored[bal.id].uid, subject, flush=True)
    store.close()


if __name__ == "__main__":
    main()
