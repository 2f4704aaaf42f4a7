"""One letter of 60 MB fetched whole, in ranges and decoded: time of processor and memory (OLC-04).

python -m bench.big_letter [--mebibytes 60]
"""

from __future__ import annotations

import argparse
import base64
import random
import time
from collections.abc import Callable

from bench.fetch_headers import Client
from bench.space import Operator, cpu_seconds, peak_mebibytes, space
from mssmtp.config import load
from mssmtp.mail import Address
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing

RANGE = 65_536
RANGED = 8 * 1_048_576
"""Of the beginning, fetched range by range."""


def letter(octets: int) -> bytes:
    """A text and one attachment in base64, which makes most of the letter."""
    attached = random.Random(2026).randbytes(octets * 3 // 4 * 76 // 78)  # noqa: S311 - repeatable
    head = b'Subject: Imagerie\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    text = b"--b\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n"
    name = b"--b\r\nContent-Type: application/zip; name=IHE_XDM.ZIP\r\n"
    encoding = b"Content-Transfer-Encoding: base64\r\n\r\n"
    body = base64.encodebytes(attached).replace(b"\n", b"\r\n")
    return head + text + name + encoding + body + b"--b--\r\n"


def deliver(target: Operator, octets: bytes) -> None:
    """Into the first box."""
    settings = load(target.home / "mssmtp.toml")
    store = Store(settings.store, SystemClock(), SystemEntropy(), worker="bench")
    try:
        kept = store.seal(octets)

        def job(writing: Writing) -> None:
            box = writing.bal(Address.parse(target.accounts[0].address))
            inbox = writing.mailbox(box.id, "INBOX") if box else None
            if inbox is None:
                raise SystemExit("no INBOX")
            writing.append(inbox.id, kept, frozenset(), SystemClock().now())

        store.write(job).result()
    finally:
        store.close()


def in_ranges(client: Client, item: str) -> int:
    """The first RANGED octets of `item`."""
    return sum(client.ask(f"FETCH 1 {item}<{start}.{RANGE}>") for start in range(0, RANGED, RANGE))


def main() -> None:
    """Deliver, fetch in each way, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=60)
    parser.add_argument("--base-port", type=int, default=26_000)
    options = parser.parse_args()
    ways: dict[str, Callable[[Client], int]] = {
        "BODYSTRUCTURE": lambda client: client.ask("FETCH 1 (BODYSTRUCTURE BINARY.SIZE[2])"),
        "BODY[]": lambda client: client.ask("FETCH 1 BODY.PEEK[]"),
        "BODY[2]": lambda client: client.ask("FETCH 1 BODY.PEEK[2]"),
        "BINARY[2]": lambda client: client.ask("FETCH 1 BINARY.PEEK[2]"),
        "BODY[2], ranges of 64 KiB": lambda client: in_ranges(client, "BODY.PEEK[2]"),
        "BINARY[2], ranges of 64 KiB": lambda client: in_ranges(client, "BINARY.PEEK[2]"),
    }
    with space(options.base_port, 1, 1) as operators:
        target = operators["cabinet-b"]
        deliver(target, letter(options.mebibytes * 1_048_576))
        client = Client(target)
        pids = target.processes
        print(f"{'before':<30} {'':>8} {'':>9} {'':>12} peak {peak_mebibytes(pids):.0f} MiB")
        for name, way in ways.items():
            before, started = cpu_seconds(pids), time.monotonic()
            octets = way(client)
            elapsed, used = time.monotonic() - started, cpu_seconds(pids) - before
            print(
                f"{name:<30} {octets / 1e6:>6.1f}MB {elapsed:>8.2f}s {used:>6.2f}s cpu"
                f"  peak {peak_mebibytes(pids):.0f} MiB"
            )


if __name__ == "__main__":
    main()
