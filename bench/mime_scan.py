"""Scanning a message (tree, attachments, ENVELOPE, BODYSTRUCTURE) beside the standard library.

    python -m bench.mime_scan [--rounds 5] [--seconds 0.5]

Both read the same octets in turns on the same machine; CPU time, median of the rounds. The standard
library only parses: it makes no ENVELOPE and no BODYSTRUCTURE.
"""

from __future__ import annotations

import argparse
import base64
import email
import random
import statistics
import time
from collections.abc import Callable

from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Summary

BLOCK = 65_536
SIZES = {"4 KB": 2_400, "100 KB": 74_000, "1 MB": 750_000, "10 MB": 7_500_000}
TARGETS = {"4 KB": 5_000.0, "10 MB": 100.0}
_HEAD = (
    b"Return-Path: <zoe.tartempion@hopital-a.test>\r\n"
    b"Received: from mx.hopital-a.test (mx.hopital-a.test [192.0.2.1]) by mx.cabinet-b.test\r\n"
    b" with ESMTPS id 01JGX5Q2M0000000000000TEST; Mon, 05 Jan 2026 09:15:00 +0100\r\n"
    b"From: =?UTF-8?Q?Dr_Zo=C3=A9_Tartempion?= <zoe.tartempion@hopital-a.test>\r\n"
    b"To: Max Dupontel <max.dupontel@cabinet-b.test>\r\n"
    b"Subject: XDM/1.0/DDM+CR de consultation PATIENTEST DOMINIQUE 01/02/1950\r\n"
    b"Date: Mon, 05 Jan 2026 09:15:00 +0100\r\n"
    b"Message-ID: <20260105.0001@hopital-a.test>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="----=_Part_0_1767600900"\r\n\r\n'
    b"------=_Part_0_1767600900\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n"
    b"Veuillez trouver ci-joint le compte rendu.\r\n"
    b'------=_Part_0_1767600900\r\nContent-Type: application/pdf; name="cr.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="cr.pdf"\r\n\r\n'
)


def letter(octets: int) -> bytes:
    """A document message with an attachment of `octets`, the same every time."""
    encoded = base64.encodebytes(random.Random(2026).randbytes(octets)).replace(b"\n", b"\r\n")
    return _HEAD + encoded + b"------=_Part_0_1767600900--\r\n"


def ours(blocks: list[bytes]) -> object:
    """What is done once per delivery."""
    scanner = Scanner()
    for block in blocks:
        scanner.feed(block)
    return Summary.of(scanner.close()).to_bytes()


def per_second(work: Callable[[], object], seconds: float) -> float:
    """Runs of `work` per second of CPU."""
    began, runs = time.process_time(), 0
    while (spent := time.process_time() - began) < seconds:
        work()
        runs += 1
    return runs / spent


def measure(message: bytes, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Rates of both, in turns."""
    blocks = [message[start : start + BLOCK] for start in range(0, len(message), BLOCK)]
    mine, other = [], []
    for _ in range(rounds):
        mine.append(per_second(lambda: ours(blocks), seconds))
        other.append(per_second(lambda: email.message_from_bytes(message), seconds))
    return mine, other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    chosen = parser.parse_args()
    print(
        f"{'size':>8} {'octets':>10} {'msg/s':>9} {'spread':>7} {'stdlib':>9} {'ratio':>6}  target"
    )
    for name, octets in SIZES.items():
        message = letter(octets)
        mine, other = measure(message, chosen.rounds, chosen.seconds)
        rate, theirs = statistics.median(mine), statistics.median(other)
        spread = (max(mine) - min(mine)) / rate
        target = TARGETS.get(name)
        wanted = f"{target:.0f}" if target else ""
        print(
            f"{name:>8} {len(message):>10} {rate:>9.0f} {spread:>6.0%}"
            f" {theirs:>9.0f} {rate / theirs:>6.1f}  {wanted}"
        )


if __name__ == "__main__":
    main()
