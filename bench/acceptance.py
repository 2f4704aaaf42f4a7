"""Durable acceptance at the operator door: TLS with client certificate, 250 means synced.

    python -m bench.acceptance [--rounds 5] [--seconds 3] [--sessions 10] [--workers 2]
                               [--sizes "4 KB,1 MB"]

The load generator shares the machine with the server: read ratios between runs made side by side,
not absolute figures. Processor time a message is the steadiest of them, and is told by thread too:
of the event loop, of the committer, of all others. For a peer beside us, aim the generators of
another server at the same sizes.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import threading
import time
from statistics import median

from bench.space import Operator, cpu_seconds, peak_mebibytes, row, space, thread_seconds

SIZES = {"4 KB": 4_096, "100 KB": 102_400, "1 MB": 1_048_576, "10 MB": 10_485_760}


class Session:
    """One connection of a listed operator that sends the same message again and again."""

    def __init__(self, sender: Operator, target: Operator) -> None:
        raw = socket.create_connection(("127.0.0.1", target.smtp_port), 30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket: socket.socket = raw
        self._replies = raw.makefile("rb")
        self._reply()
        self._command("EHLO mx.hopital-a.test")
        self._command("STARTTLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(sender.certificate_file, sender.key_file)
        self._socket = context.wrap_socket(raw)
        self._replies = self._socket.makefile("rb")
        self._command("EHLO mx.hopital-a.test")

    def _reply(self) -> bytes:
        while True:
            line = self._replies.readline()
            if line[3:4] != b"-":
                return line

    def _command(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\r\n")
        if not (line := self._reply()).startswith(b"2"):
            raise SystemExit(f"{text}: {line.decode()}")

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """One message, pipelined as far as SMTP allows."""
        envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        self._socket.sendall(envelope.encode())
        replies = [self._reply() for _ in range(3)]
        if not replies[-1].startswith(b"354"):
            raise SystemExit(f"refused: {replies}")
        self._socket.sendall(message)
        if not (line := self._reply()).startswith(b"250"):
            raise SystemExit(f"not accepted: {line.decode()}")

    def close(self) -> None:
        """Leave politely."""
        self._command("QUIT")
        self._socket.close()


def message(sender: str, recipient: str, size: int) -> bytes:
    """A text letter of about `size` octets, with the final dot."""
    head = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: mesure\r\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <mesure@hopital-a.test>\r\n\r\n"
    ).encode()
    line = b"Resultat de laboratoire, ligne de mesure, valeur dans la norme.\r\n"
    return head + line * ((size - len(head)) // len(line) + 1) + b".\r\n"


def run(
    operators: dict[str, Operator], size: int, sessions: int, seconds: float
) -> tuple[int, float]:
    """Messages accepted and the time it took."""
    a, b = operators["hopital-a"], operators["cabinet-b"]
    sender = a.accounts[0].address
    counts = [0] * sessions
    opened = [Session(a, b) for _ in range(sessions)]
    stop = time.monotonic() + seconds

    def work(index: int) -> None:
        recipient = b.accounts[index % 10].address
        octets = message(sender, recipient, size)
        while time.monotonic() < stop:
            opened[index].send(sender, recipient, octets)
            counts[index] += 1

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(index,)) for index in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    for session in opened:
        session.close()
    return sum(counts), elapsed


def threads_of(workers: list[int]) -> tuple[float, float, float]:
    """Seconds of the loops, of the committers, of all other threads of the workers."""
    spent = [thread_seconds(pid) for pid in workers]
    return (
        sum(each[0] for each in spent),
        sum(sum(each[1:2]) for each in spent),
        sum(sum(each[2:]) for each in spent),
    )


def main() -> None:
    """Interleave the sizes over the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=["4 KB", "1 MB"])
    parser.add_argument("--base-port", type=int, default=20_000)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in options.sizes}
    cpu: dict[str, list[float]] = {name: [] for name in options.sizes}
    parts: dict[str, list[tuple[float, ...]]] = {name: [] for name in options.sizes}
    with space(options.base_port, 10, options.workers) as operators:
        pids = operators["cabinet-b"].processes
        for _ in range(options.rounds):
            for name in options.sizes:
                before, by_thread = cpu_seconds(pids), threads_of(pids[1:])
                count, elapsed = run(operators, SIZES[name], options.sessions, options.seconds)
                rates[name].append(count / elapsed)
                cpu[name].append((cpu_seconds(pids) - before) * 1000 / count)
                after = threads_of(pids[1:])
                parts[name].append(
                    tuple((b - a) * 1000 / count for a, b in zip(by_thread, after, strict=True))
                )
        peak = peak_mebibytes(pids)
    for name in options.sizes:
        print(row(f"accepted and durable, {name}", rates[name], cpu[name], peak))
        loop, committer, others = (median(each) for each in zip(*parts[name], strict=True))
        print(f"{'':34} loop {loop:.3f}, committer {committer:.3f}, others {others:.3f} ms")


if __name__ == "__main__":
    main()
