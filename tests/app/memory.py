"""What the largest letters cost in memory, read from /proc.

    python -m tests.app.memory                20 letters at once, as the issue asks

A letter with 40 MiB of attachments (57 MB as base64) goes from a submission at A over the relay to
B and is read there; then many such letters are handed to one worker of B at the same time, and as
many are appended by IMAP at A.
"""

from __future__ import annotations

import argparse
import base64
import imaplib
import smtplib
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kills import supervisor, workers
from tests.space import Account, Operator, RunningSpace, run_space

IDLE_MB, ONE_MB, MANY_MB = 104.0, 200.0, 300.0
ATTACHMENTS = 4
MEBI = 1_048_576
_WITHIN_S = 240.0


def resident_mb(operator: Operator) -> float:
    """The largest worker of an operator, now."""
    return max(_status_mb(pid, "VmRSS") for pid in workers(supervisor(operator)))


def peak_mb(operator: Operator) -> float:
    """The largest that any living worker of an operator has ever been."""
    return max(_status_mb(pid, "VmHWM") for pid in workers(supervisor(operator)))


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1_000
    raise LookupError(name)


def large_letter(sender: str, recipient: str, subject: str) -> bytes:
    """Four attachments of 10 MiB, decoded."""
    head = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=limite\r\n\r\n"
    )
    encoded = base64.encodebytes(bytes(range(256)) * (10 * MEBI // 256)).replace(b"\n", b"\r\n")
    parts = [head.encode()]
    for number in range(ATTACHMENTS):
        parts.append(
            b"--limite\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: base64\r\n"
            b'Content-Disposition: attachment; filename="examen%d.bin"\r\n\r\n' % number
        )
        parts.append(encoded)
    return b"".join([*parts, b"--limite--\r\n"])


def connect(port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    """An encrypted session with extensions read."""
    client = smtplib.SMTP("localhost", port, "poste.test", timeout=_WITHIN_S)
    client.starttls(context=context)
    client.ehlo()
    return client


def submit(space: RunningSpace, sender: Account, recipient: Account, octets: bytes) -> None:
    """Through A's submission door."""
    client = connect(space.a.submission, space.user_context())
    client.login(sender.address, sender.password)
    assert client.mail(sender.address)[0] == 250
    assert client.rcpt(recipient.address)[0] == 250
    code, text = client.data(octets)
    assert code == 250, text
    client.quit()


@contextmanager
def inbox(space: RunningSpace, operator: Operator, who: Account) -> Iterator[imaplib.IMAP4_SSL]:
    """That account's INBOX, opened."""
    client = imaplib.IMAP4_SSL(
        "localhost", operator.imaps, ssl_context=space.user_context(), timeout=_WITHIN_S
    )
    client.login(who.address, who.password)
    client.select()
    yield client
    client.logout()


def wait_for(space: RunningSpace, who: Account, messages: int) -> None:
    """Until so many messages are in a box of B."""
    deadline = time.monotonic() + _WITHIN_S
    while True:
        with inbox(space, space.b, who) as client:
            found = client.search(None, "ALL")[1][0]
        if found and len(found.split()) >= messages:
            return
        assert time.monotonic() < deadline, "the letter did not arrive"
        time.sleep(0.2)


def read_back(space: RunningSpace, who: Account, octets: bytes) -> None:
    """Fetch the last message whole; what was sent is at its end, octet for octet."""
    with inbox(space, space.b, who) as client:
        last = client.search(None, "ALL")[1][0].split()[-1].decode()
        data = client.fetch(last, "(BODY.PEEK[])")[1]
        first = data[0]
        assert isinstance(first, tuple)
        assert first[1].endswith(octets)


@dataclass(frozen=True, slots=True)
class Figures:
    """Megabytes of the largest worker of A and B."""

    idle: float
    one_at_a: float
    one_at_b: float
    many_at_b: float
    appended_at_a: float

    def problems(self) -> list[str]:
        """Bounds that do not hold."""
        bounds = (
            ("idle", self.idle, IDLE_MB),
            ("one large letter at A", self.one_at_a, ONE_MB),
            ("one large letter at B", self.one_at_b, ONE_MB),
            ("many at once at B", self.many_at_b, MANY_MB),
            ("many appended at once at A", self.appended_at_a, MANY_MB),
        )
        return [f"{what}: {found:.0f} MB" for what, found, most in bounds if found >= most]


def measure(space: RunningSpace, at_once: int) -> Figures:
    """The whole course, on a fresh space with one worker an operator."""
    idle = max(resident_mb(space.a), resident_mb(space.b))
    sender, recipient = space.a.doctor(0), space.b.doctor(0)
    octets = large_letter(sender.address, recipient.address, "examens")
    submit(space, sender, recipient, octets)
    wait_for(space, recipient, 1)
    read_back(space, recipient, octets)
    one_at_a, one_at_b = peak_mb(space.a), peak_mb(space.b)
    hand_in_at_once(space, recipient, at_once)
    wait_for(space, recipient, 1 + at_once)
    many_at_b = peak_mb(space.b)
    append_at_once(space, sender, octets, at_once)
    return Figures(idle, one_at_a, one_at_b, many_at_b, peak_mb(space.a))


def append_at_once(space: RunningSpace, who: Account, octets: bytes, number: int) -> None:
    """`number` sessions of one box of A hand in a literal each, block by block, together."""
    context = space.user_context()
    together = threading.Barrier(number)
    answers: list[bytes] = []

    def append() -> None:
        with (
            socket.create_connection(("localhost", space.a.imaps), _WITHIN_S) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as wire,
            wire.makefile("rb") as lines,
        ):
            lines.readline()
            wire.sendall(f'a LOGIN "{who.address}" "{who.password}"\r\n'.encode())
            while not lines.readline().startswith(b"a "):
                pass
            together.wait(_WITHIN_S)
            wire.sendall(b"b APPEND Sent {%d}\r\n" % len(octets))
            lines.readline()
            with memoryview(octets) as view:
                for start in range(0, len(view), MEBI):
                    wire.sendall(view[start : start + MEBI])
            wire.sendall(b"\r\n")
            while not (line := lines.readline()).startswith(b"b "):
                pass
            answers.append(line[:4])

    threads = [threading.Thread(target=append) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WITHIN_S)
    assert answers == [b"b OK"] * number


def hand_in_at_once(space: RunningSpace, recipient: Account, number: int) -> None:
    """The guest operator opens `number` connections to B and sends on all of them together."""
    sender = "essai@guest.test"
    octets = large_letter(sender, recipient.address, "examens")
    context = space.peer_context(space.guest)
    clients = [connect(space.b.smtp, context) for _ in range(number)]
    replies: list[int] = []
    together = threading.Barrier(number)

    def send(client: smtplib.SMTP) -> None:
        client.mail(sender)
        client.rcpt(recipient.address)
        together.wait(_WITHIN_S)
        replies.append(client.data(octets)[0])
        client.quit()

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WITHIN_S)
    assert replies == [250] * number


def main() -> int:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=20)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mssmtp-memory-") as folder,
        run_space(Path(folder) / "space", workers=1) as space,
    ):
        figures = measure(space, options.at_once)
    print(figures)
    for problem in figures.problems():
        print("above the bound:", problem, file=sys.stderr)
    return 1 if figures.problems() else 0


if __name__ == "__main__":
    raise SystemExit(main())
