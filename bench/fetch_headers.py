"""FETCH of headers on a 10,000-message mailbox, over TLS, as mail clients ask for them.

python -m bench.fetch_headers [--messages 10000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import socket
import ssl
import time
from datetime import UTC, datetime

from bench.space import Operator, cpu_seconds, peak_mebibytes, row, space
from mssmtp.config import load
from mssmtp.mail import Address
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Letter, Store, Writing

QUESTIONS = {
    "FLAGS": "FETCH 1:* (UID FLAGS)",
    "ENVELOPE, BODYSTRUCTURE": (
        "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
    ),
    "header fields (Thunderbird)": (
        "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date"
        " Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
    ),
}


def fill(target: Operator, messages: int) -> None:
    """Put `messages` letters of 4 KB into the first box, in commits of 500."""
    clock = SystemClock()
    settings = load(target.home / "mssmtp.toml")
    store = Store(settings.store, clock, SystemEntropy(), worker="bench")
    try:
        address = Address.parse(target.accounts[0].address)
        box = store.read(lambda r: r.bal(address)).result()
        if box is None:
            raise SystemExit("the box is not there")
        inbox = store.read(lambda r: r.mailbox(box.id, "INBOX")).result()
        if inbox is None:
            raise SystemExit("no INBOX")
        moment = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
        for first in range(0, messages, 500):
            letters = [store.seal(_letter(n)) for n in range(first, min(first + 500, messages))]

            def job(writing: Writing, batch: list[Letter] = letters) -> None:
                for letter in batch:
                    writing.append(inbox.id, letter, frozenset(), moment)

            store.write(job).result()
    finally:
        store.close()


def _letter(number: int) -> bytes:
    head = (
        f"Received: from mx.hopital-a.test; Mon, 05 Jan 2026 09:00:00 +0000\r\n"
        f"From: Dr Zoe Tartempion <zoe.tartempion@hopital-a.test>\r\n"
        f"To: Cabinet <zoe.tartempion@cabinet-b.test>\r\n"
        f"Subject: Compte rendu {number}\r\nDate: Mon, 05 Jan 2026 09:00:00 +0000\r\n"
        f"Message-ID: <{number}@hopital-a.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ).encode()
    return head + b"Une ligne de compte rendu, valeur dans la norme.\r\n" * 70


class Client:
    """A client that only counts lines: the server is what is measured."""

    def __init__(self, target: Operator) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", target.imaps_port), 60)
        self._socket = context.wrap_socket(raw)
        self._tail(b"* OK")
        account = target.accounts[0]
        self.ask(f'LOGIN {account.address} "{account.password}"')
        self.ask("SELECT INBOX")

    def ask(self, command: str) -> int:
        """Octets of the answer to `command`."""
        self._socket.sendall(f"A1 {command}\r\n".encode())
        return self._tail(b"A1 ")

    def _tail(self, mark: bytes) -> int:
        total, kept = 0, b""
        while True:
            block = self._socket.recv(262_144)
            if not block:
                raise SystemExit("the server closed")
            total += len(block)
            kept = (kept + block)[-4096:]
            last = kept.rstrip(b"\r\n").rpartition(b"\n")[2]
            if kept.endswith(b"\r\n") and last.startswith(mark):
                if mark == b"A1 " and not last.startswith(b"A1 OK"):
                    raise SystemExit(last.decode())
                return total


def main() -> None:
    """Fill, ask each question in turn over the rounds, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base-port", type=int, default=26_000)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    cpu: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with space(options.base_port, 1, 1) as operators:
        target = operators["cabinet-b"]
        fill(target, options.messages)
        client = Client(target)
        pids = target.processes
        for round_ in range(options.rounds + 1):
            for name, question in QUESTIONS.items():
                before, started = cpu_seconds(pids), time.monotonic()
                client.ask(question)
                elapsed = time.monotonic() - started
                if round_ == 0:
                    print(f"first time: {name:<30} {options.messages / elapsed:>9.0f}/s")
                    continue
                rates[name].append(options.messages / elapsed)
                cpu[name].append((cpu_seconds(pids) - before) * 1000 / options.messages)
        peak = peak_mebibytes(pids)
    for name in QUESTIONS:
        print(row(name, rates[name], cpu[name], peak))


if __name__ == "__main__":
    main()
