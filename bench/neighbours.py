"""How long one IMAP command keeps the others waiting, on a mailbox of 100,000 messages.

    python -m bench.neighbours [--messages 100000] [--rounds 3] [--octets 1500] [--only WORD,WORD]

One worker on loopback with TLS, three sessions: one gives the commands, one idles in the same
mailbox, and a neighbour with a box of its own says NOOP, STORE of one flag and APPEND in turns.
Of each command the longest stretch is told that nobody else could use: of the event loop between
two turns and of one commit of the store's writer, both in processor time, which a busy machine
changes little; and by the clock what the neighbour waited at most for a NOOP and for a write.
Least of the rounds. Goal: 50 ms. Commands whose name holds one of the words of `--only` are told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from asyncio import events
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bench.acceptance import message
from bench.fill import DOMAIN, Filler, Plan
from mssmtp.config import (
    CertificateSettings,
    LimitSettings,
    OperatorSettings,
    PkiSettings,
    Settings,
    StoreSettings,
    TlsSettings,
)
from mssmtp.demo.authority import Authority, Subject
from mssmtp.identity import Authenticator
from mssmtp.identity.app_password import verifiers
from mssmtp.imap_server import ImapDoor
from mssmtp.mail import Address, BalType, Domain
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing
from mssmtp.storage.committer import Committer

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
PASSWORD = "correct horse battery staple 42"
OWNER, NEIGHBOUR = f"boite00000@{DOMAIN}", f"voisin@{DOMAIN}"
LARGE = 40 * 1_048_576
GOAL_MS = 50.0

# ---------------------------------------------------------------- the server


@dataclass(slots=True)
class Stretches:
    """The longest so far, in milliseconds of processor; `commit_clock` by the clock."""

    loop: float = 0.0
    commit: float = 0.0
    commit_clock: float = 0.0

    def watch(self) -> None:
        """Measure every callback of every loop and every commit of this process from now on."""
        run, transaction = events.Handle._run, Committer._transaction

        def timed(handle: events.Handle) -> None:
            began = time.thread_time()
            run(handle)
            self.loop = max(self.loop, 1_000 * (time.thread_time() - began))

        def committed(*given: Any, **named: Any) -> object:
            began, at = time.thread_time(), time.perf_counter()
            try:
                return transaction(*given, **named)
            finally:
                self.commit = max(self.commit, 1_000 * (time.thread_time() - began))
                self.commit_clock = max(self.commit_clock, 1_000 * (time.perf_counter() - at))

        for kind in (events.Handle, events.TimerHandle):
            setattr(kind, "_run", timed)  # noqa: B010 - a method of the library
        setattr(Committer, "_transaction", committed)  # noqa: B010

    def taken(self) -> str:
        """As JSON; then it begins anew."""
        told = json.dumps([self.loop, self.commit, self.commit_clock])
        self.loop = self.commit = self.commit_clock = 0.0
        return told


def settings_of(directory: Path) -> Settings:
    """Of a home in `directory`, whose certificate is made once."""
    files = directory / "own.pem", directory / "own.key"
    anchors = directory / "anchors.pem"
    if not anchors.exists():
        authority = Authority(datetime.now(UTC))
        written = authority.issue(Subject(f"mx.{DOMAIN}")).write(directory, "own")
        anchors.write_bytes(authority.anchors_pem)
        files = written.certificate_file, written.key_file
    certificate = CertificateSettings(certificate_file=files[0], key_file=files[1])
    return Settings(
        operator=OperatorSettings(name="h", host_name=Domain(f"mx.{DOMAIN}"), domains=(DOMAIN,)),
        store=StoreSettings(
            home=directory / "home", master_key_file=directory / "master.key", quota_octets=0
        ),
        tls=TlsSettings(operators=certificate, users=certificate),
        pki=PkiSettings(anchors_file=anchors),
        limits=LimitSettings(message_octets=2 * LARGE),
    )


def fill(directory: Path, plan: Plan) -> None:
    """A large box and a small one."""
    settings = settings_of(directory)
    Store.create(settings.store, CLOCK, ENTROPY)
    with closing(Store(settings.store, CLOCK, ENTROPY, worker="fill")) as store:
        for written in Filler(store, plan).run():
            sys.stderr.write(f"\r{written:>9} of {plan.total}")
        sys.stderr.write("\n")
        checked = verifiers(PASSWORD, ENTROPY)

        def people(writing: Writing) -> None:
            writing.create_bal(Address.parse(NEIGHBOUR), BalType.MED, login=NEIGHBOUR)
            for login in (OWNER, NEIGHBOUR):
                account = writing.account(login)
                if account is None:
                    raise SystemExit("no account")
                writing.add_app_password(account.id, "bench", checked.argon2, checked.scram)

        store.write(people).result()
        store.settle()


async def serve(directory: Path) -> None:
    """Tell the port, then what was measured for each line that comes in."""
    stretches = Stretches()
    stretches.watch()
    settings = settings_of(directory)
    store = Store(settings.store, CLOCK, ENTROPY, worker="worker-0")
    door = ImapDoor(settings, store, Authenticator(store, CLOCK, ENTROPY), CLOCK, implicit_tls=True)
    sock = socket.create_server(("127.0.0.1", 0))
    await door.start(sock)
    print(sock.getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(stretches.taken(), flush=True)
    await door.stop(1.0)
    await asyncio.to_thread(store.close)


# ---------------------------------------------------------------- the sessions


class Session:
    """A client; what it is told is thrown away, but for the end of it."""

    def __init__(self, port: int, login: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", port), 600.0)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(raw)
        self._number = 0
        self._socket.recv(4_096)
        self.command(f'LOGIN {login} "{PASSWORD}"'.encode())

    def command(self, text: bytes) -> float:
        """Milliseconds until it is answered OK."""
        self._number += 1
        tag = b"q%dz " % self._number
        began = time.perf_counter()
        self._socket.sendall(tag + text + b"\r\n")
        end = b""
        while not ((place := end.rfind(b"\n" + tag)) >= 0 and end.endswith(b"\r\n")) and not (
            end.startswith(tag) and end.endswith(b"\r\n")
        ):
            block = self._socket.recv(1 << 18)
            if not block:
                raise SystemExit(f"the server closed the session: {text[:40]!r}")
            end = (end + block)[-4_096:] if len(end) + len(block) > 4_096 else end + block
        if b" OK" not in end[place + 1 :][: len(tag) + 3]:
            raise SystemExit(f"{text[:40]!r}: {end[-200:]!r}")
        return 1_000 * (time.perf_counter() - began)

    def append(self, mailbox: str, *letters: bytes) -> float:
        """Messages, without waiting for the go-ahead (LITERAL+)."""
        literals = b"".join(b" {%d+}\r\n%b" % (len(each), each) for each in letters)
        return self.command(b"APPEND %b%b" % (mailbox.encode(), literals))

    def listen(self) -> None:
        """IDLE; a thread reads what comes, until `close`."""
        self._socket.sendall(b"i IDLE\r\n")
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        try:
            while self._socket.recv(1 << 18):
                pass
        except OSError:
            return  # closed

    def close(self) -> None:
        """Leave."""
        self._socket.close()


@dataclass(slots=True)
class Neighbour:
    """Goes on until it is stopped; the longest waits since `begin`, in milliseconds."""

    session: Session
    noop: float = 0.0
    write: float = 0.0
    turns: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Forget what was."""
        self.noop, self.write, self.turns = 0.0, 0.0, 0

    def run(self) -> None:
        """Ask and write, without pause."""
        letter = message(NEIGHBOUR, NEIGHBOUR, 2_000)[:-3]
        self.session.append("INBOX", letter)
        self.session.command(b"SELECT INBOX")
        while not self._stopping.is_set():
            sign = b"+" if self.turns % 2 else b"-"
            self.noop = max(self.noop, self.session.command(b"NOOP"))
            stored = self.session.command(b"STORE 1 %bFLAGS.SILENT (\\Flagged)" % sign)
            self.write = max(self.write, stored)
            if self.turns % 8 == 0:
                self.write = max(self.write, self.session.append("INBOX", letter))
            self.turns += 1

    def stop(self) -> None:
        """After its present turn."""
        self._stopping.set()


# ---------------------------------------------------------------- the commands

Act = Callable[[Session], object]


def said(*lines: bytes) -> Act:
    """Commands, one after the other."""

    def act(session: Session) -> None:
        for line in lines:
            session.command(line)

    return act


def commands(messages: int) -> Iterator[tuple[str, Act]]:
    """In the order they are given; a round leaves the boxes as it found them. What only makes
    ready has a name that begins with a dash."""
    letter = message(OWNER, OWNER, 4_096)[:-3]
    body = letter + (b"x" * 76 + b"\r\n") * (LARGE // 78)
    some, many = min(3_000, messages), min(10_000, messages)
    yield "SELECT", said(b"SELECT INBOX")
    yield "FETCH flags", said(b"FETCH 1:* (UID FLAGS)")
    yield "FETCH envelope", said(b"FETCH 1:* (ENVELOPE)")
    yield "FETCH bodies of a tenth", said(b"FETCH 1:%d (BODY.PEEK[])" % (messages // 10))
    yield "SEARCH subject", said(b"SEARCH SUBJECT compte")
    yield "SEARCH body", said(b"SEARCH BODY introuvable")
    yield "SORT subject", said(b"SORT (SUBJECT) UTF-8 ALL")
    yield "SORT date", said(b"SORT (REVERSE DATE) UTF-8 ALL")
    yield "THREAD", said(b"THREAD REFERENCES UTF-8 ALL")
    yield "STORE flags", said(b"STORE 1:* +FLAGS (\\Flagged)")
    yield "STORE silent", said(b"STORE 1:* -FLAGS.SILENT (\\Flagged)")
    yield "CREATE", said(b"CREATE Copie")
    yield f"COPY {some}", said(b"COPY 1:%d Copie" % some)
    yield f"COPY {many}", said(b"COPY 1:%d Copie" % many)
    yield "APPEND 40 MB", lambda session: session.append("Copie", body)
    yield "MULTIAPPEND 500", lambda session: session.append("Copie", *[letter] * 500)
    yield "RENAME", said(b"RENAME Copie Autre")
    yield "- mark", said(b"SELECT Autre", b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % many)
    yield "EXPUNGE", said(b"EXPUNGE")
    yield "- leave", said(b"SELECT INBOX")
    yield "DELETE", said(b"DELETE Autre")
    yield "RENAME INBOX", said(b"RENAME INBOX Ancien")
    yield "- go back", said(b"SELECT Ancien")
    yield "MOVE of all", said(b"MOVE 1:* INBOX")
    yield "- clear", said(b"SELECT INBOX", b"DELETE Ancien")


@dataclass(frozen=True, slots=True)
class Figure:
    """Milliseconds."""

    took: float
    loop: float
    commit: float
    commit_clock: float
    noop: float
    write: float

    def least(self, other: Figure) -> Figure:
        """Of two rounds."""
        return Figure(
            min(self.took, other.took),
            min(self.loop, other.loop),
            min(self.commit, other.commit),
            min(self.commit_clock, other.commit_clock),
            min(self.noop, other.noop),
            min(self.write, other.write),
        )

    def line(self, name: str) -> str:
        """For a person."""
        late = "  *" if max(self.loop, self.commit) > GOAL_MS else ""
        return (
            f"{name:<26}{self.took:>9.0f}{self.loop:>9.1f}{self.commit:>9.1f}"
            f"{self.commit_clock:>9.1f}{self.noop:>9.1f}{self.write:>9.1f}{late}"
        )


HEAD = f"{'':<26}{'took':>9}{'loop':>9}{'commit':>9}{'by clock':>9}{'NOOP':>9}{'write':>9}"


def measure(directory: Path, messages: int, found: dict[str, Figure]) -> None:
    """One round, by a server that has just started."""
    words = [sys.executable, "-m", "bench.neighbours", "--serve", str(directory)]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if server.stdin is None or server.stdout is None:
        raise SystemExit("no pipes")
    port = int(server.stdout.readline())
    session, watcher = Session(port, OWNER), Session(port, OWNER)
    neighbour = Neighbour(Session(port, NEIGHBOUR))
    thread = threading.Thread(target=neighbour.run, daemon=True)
    thread.start()
    watches = False
    for name, act in commands(messages):
        _told(server.stdin, server.stdout)
        neighbour.begin()
        began = time.perf_counter()
        act(session)
        took = 1_000 * (time.perf_counter() - began)
        while neighbour.turns < 2:  # what the others are told comes after it
            time.sleep(0.01)
        loop, commit, by_clock = _told(server.stdin, server.stdout)
        figure = Figure(took, loop, commit, by_clock, neighbour.noop, neighbour.write)
        if not name.startswith("-"):
            found[name] = figure.least(found.get(name, figure))
        if not watches:
            watcher.command(b"SELECT INBOX")
            watcher.listen()
            watches = True
    neighbour.stop()
    thread.join()
    for each in (session, watcher, neighbour.session):
        each.close()
    server.stdin.close()
    server.wait(60)


def _told(ask: IO[str], answer: IO[str]) -> list[float]:
    ask.write("\n")
    ask.flush()
    told: list[float] = json.loads(answer.readline())
    return told


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--octets", type=int, default=1_500)
    parser.add_argument("--only", default="")
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
        return
    words = [word for word in given.only.split(",") if word]
    found: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="mssmtp-neighbours-", dir="/var/tmp") as folder:  # noqa: S108
        directory = Path(folder)
        fill(directory, Plan(given.messages, octets=given.octets))
        for _ in range(given.rounds):
            measure(directory, given.messages, found)
    print(HEAD)
    for name, figure in found.items():
        if not words or any(word in name for word in words):
            print(figure.line(name))


if __name__ == "__main__":
    main()
