"""Many, big and slow: what one server process bears, in figures.

    python -m tests.imap_load idle --sessions 5000      memory of a session that waits
    python -m tests.imap_load slow --seconds 30         60 MB at 100 KB/s while others work
    python -m tests.imap_load status                    200 STATUS, one by one and at once (R02)
    python -m tests.imap_load fair                      how long one command holds up another

The server is a process of its own (one worker: a door, a store), the clients are in this one, so
that memory and processor time are the server's. Times are those of a machine with both on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from mssmtp.demo.authority import Authority
from tests.authority import A_SUBJECT, shared_keys
from tests.imap.world import message
from tests.imap_server.rig import PASSWORD, ZOE, Raw, make_rig

ROOT = Path(__file__).resolve().parent.parent
SLOW_OCTETS_S = 100_000
LOGIN = f'LOGIN {ZOE} "{PASSWORD}"'.encode()


# ---------------------------------------------------------------- the server


async def serve(directory: Path) -> None:
    """Until standard input ends."""
    authority = Authority(datetime.now(UTC), make_key=shared_keys(10))
    rig = make_rig(authority, authority.issue(A_SUBJECT), directory)
    rig.limit(connections=20_000, connections_per_address=20_000)
    async with rig.door() as (_, port):
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    rig.store.close()


@dataclass(frozen=True, slots=True)
class Server:
    """The other process."""

    pid: int
    port: int

    def memory_kb(self) -> int:
        """Its own share of memory (PSS)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        raise RuntimeError("no Pss")

    def cpu_s(self) -> float:
        """Processor time it has used."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")

    async def client(self, *, receive: int = 0) -> Raw:
        """A logged-in client; `receive` bounds what the kernel holds for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.socket()
        if receive:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(
            sock=raw, ssl=context, server_hostname="localhost", limit=receive or 1 << 20
        )
        made = Raw(reader, writer)
        await made.line()
        await made.ok(LOGIN)
        return made


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A fresh one."""
    with tempfile.TemporaryDirectory(prefix="mssmtp-load-") as place:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.imap_load", "serve", "--directory", place,
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(process.pid, int(await process.stdout.readline()))
        finally:
            process.stdin.close()
            await process.wait()


async def fill(client: Raw, mailbox: bytes, count: int) -> None:
    """Letters into a mailbox, a hundred at once."""
    for start in range(0, count, 100):
        pieces = []
        for number in range(start, min(count, start + 100)):
            octets = message(number)
            pieces.append(b"{%d+}\r\n%b" % (len(octets), octets))
        await client.ok(b"APPEND %b %b" % (mailbox, b" ".join(pieces)))


# ---------------------------------------------------------------- what is measured


async def idle(one: Server, sessions: int) -> list[str]:
    """Memory of one session in IDLE, processor time of all of them, and that they are told."""
    clients: list[Raw] = []
    for number in range(sessions):
        client = await one.client()
        await client.ok(b"SELECT INBOX")
        await client.send(b"i IDLE\r\n")
        await client.until(b"+ ")
        clients.append(client)
        if number == min(49, sessions // 10):  # pools and caches are warm
            before, counted = one.memory_kb(), number
    memory = (one.memory_kb() - before) / max(1, sessions - 1 - counted)
    used, began = one.cpu_s(), time.monotonic()
    await asyncio.sleep(5 if sessions > 1_000 else 0.5)
    still = (one.cpu_s() - used) / (time.monotonic() - began)
    author = await one.client()
    began, used = time.monotonic(), one.cpu_s()
    await fill(author, b"INBOX", 1)
    for client in clients:
        while b"EXISTS" not in await client.line():
            pass
    told, spent = time.monotonic() - began, one.cpu_s() - used
    for client in clients:
        client.close()
    author.close()
    return [
        f"{sessions:,} sessions in IDLE: {memory:.1f} KB each, {100 * still:.2f} % of a processor",
        f"a new message: all of them told after {told:.2f} s, {spent:.2f} s of processor",
    ]


async def slow(one: Server, seconds: float, octets: int = 60_000_000) -> list[str]:
    """One client takes a large message at 100 KB/s; another works as if it were alone."""
    owner = await one.client()
    block = (b"%076d\r\n" % 7) * 4_096
    body = b"Subject: grande\r\n\r\n" + block * (octets // len(block))
    await owner.send(b"big APPEND Archive {%d+}\r\n" % len(body) + body + b"\r\n")
    await owner.until(b"big OK")
    await fill(owner, b"INBOX", 100)
    await owner.ok(b"SELECT INBOX")
    alone = await latencies(lambda: owner.ok(b"FETCH 1:50 (FLAGS ENVELOPE)"), seconds / 3)
    before = one.memory_kb()
    crawler = await one.client(receive=65_536)
    await crawler.ok(b"SELECT Archive")
    await crawler.send(b"s FETCH 1 BODY.PEEK[]\r\n")
    crawling = asyncio.create_task(_crawl(crawler, seconds))
    beside = await latencies(lambda: owner.ok(b"FETCH 1:50 (FLAGS ENVELOPE)"), seconds)
    taken = await crawling
    held = (one.memory_kb() - before) / 1_024
    crawler.close()
    owner.close()
    return [
        f"{len(body):,} octets at 100 KB/s: {taken:,} taken in {seconds:.0f} s; {held:.1f} MB more",
        f"FETCH of 50 beside it: {_shown(beside)}; alone: {_shown(alone)}",
    ]


async def _crawl(client: Raw, seconds: float) -> int:
    taken, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        taken += len(await client.reader.read(16_384))
        await asyncio.sleep(max(0.0, taken / SLOW_OCTETS_S - passed))
    return taken


async def status(one: Server, mailboxes: int) -> list[str]:
    """R02: STATUS of every mailbox at start, below two seconds for 200."""
    client = await one.client()
    names = [b"Patients/%03d" % number for number in range(mailboxes)]
    for name in names:
        await client.ok(b"CREATE " + name)
    asked = [b"STATUS %b (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)" % name for name in names]
    used, began = one.cpu_s(), time.monotonic()
    for command in asked:
        await client.ok(command)
    by_one, spent = time.monotonic() - began, one.cpu_s() - used
    used, began = one.cpu_s(), time.monotonic()
    tagged = b"".join(b"s%d %b\r\n" % (at, command) for at, command in enumerate(asked))
    await client.send(tagged)
    await client.until(b"s%d " % (mailboxes - 1))
    at_once, spent_once = time.monotonic() - began, one.cpu_s() - used
    client.close()
    return [
        f"{mailboxes} STATUS one by one: {by_one:.3f} s, {spent:.2f} s of processor",
        f"{mailboxes} STATUS at once: {at_once:.3f} s, {spent_once:.2f} s of processor",
    ]


HEAVY = [
    b"FETCH 1:* (FLAGS UID)",
    b"FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)",
    b"FETCH 1:* (BODY.PEEK[])",
    b"SEARCH BODY introuvable",
    b"SEARCH NOT SUBJECT introuvable",
    b"SORT (REVERSE SUBJECT DATE) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL",
    b"STORE 1:* +FLAGS.SILENT (\\Answered)",
    b"COPY 1:* Vieux",
    b"DELETE Vieux",
    b"MOVE 1:* Archive",
]
_DRAFT = b"APPEND Drafts {%d+}\r\n%b" % (len(message(1)), message(1))


async def fair(one: Server, messages: int) -> list[str]:
    """The longest other sessions wait while one command runs: one for a NOOP, one that writes."""
    told = []
    heavy, light, writer = await one.client(), await one.client(), await one.client()
    await fill(heavy, b"INBOX", messages)
    await heavy.ok(b"CREATE Vieux")
    await heavy.ok(b"SELECT INBOX")
    alone = await latencies(lambda: light.ok(b"NOOP"), 1.0)
    written = await latencies(lambda: writer.ok(_DRAFT), 1.0)
    told.append(f"NOOP alone: {_shown(alone)}; APPEND alone: {_shown(written)}")
    for command in HEAVY:
        running = asyncio.create_task(_swallowed(heavy, command))
        waited, written = [], []
        began = time.monotonic()
        while not running.done():
            waited += await latencies(lambda: light.ok(b"NOOP"), 0.0)
            written += await latencies(lambda: writer.ok(_DRAFT), 0.0)
        took = time.monotonic() - began
        await running
        beside = f"NOOP beside it: {_shown(waited)}; APPEND: {_shown(written)}"
        told.append(f"{command.decode():<45} {took:7.2f} s  {beside}")
    heavy.close()
    light.close()
    writer.close()
    return told


async def _swallowed(client: Raw, command: bytes) -> None:
    """Its whole answer in large pieces, looked at as little as can be: both clients are here."""
    await client.send(b"heavy " + command + b"\r\n")
    tail = b"\r\n"
    while not (tail.endswith(b"\r\n") and b"\r\nheavy OK" in tail):
        block = await client.reader.read(1 << 18)
        assert block, tail
        tail = (tail + block)[-500:]


async def latencies(act: Callable[[], Awaitable[object]], seconds: float) -> list[float]:
    """Milliseconds of each act, one after the other; at least one."""
    out: list[float] = []
    end = time.monotonic() + seconds
    while not out or time.monotonic() < end:
        began = time.perf_counter()
        await act()
        out.append((time.perf_counter() - began) * 1_000)
    return out


def _shown(values: list[float]) -> str:
    ordered = sorted(values)
    at = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {ordered[len(ordered) // 2]:.1f}, p99 {at:.1f}, most {ordered[-1]:.1f} ms"


async def _measured(what: Callable[[Server], Awaitable[list[str]]]) -> list[str]:
    async with server() as one:
        return await what(one)


def main() -> int:
    """Prints figures; judges nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.imap_load", description=__doc__)
    parser.add_argument("what", choices=("idle", "slow", "status", "fair", "serve"))
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--mailboxes", type=int, default=200)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.what == "serve":
        uvloop.run(serve(asked.directory))
        return 0
    wanted: dict[str, Callable[[Server], Coroutine[None, None, list[str]]]] = {
        "idle": lambda one: idle(one, asked.sessions),
        "slow": lambda one: slow(one, asked.seconds),
        "status": lambda one: status(one, asked.mailboxes),
        "fair": lambda one: fair(one, asked.messages),
    }
    print("\n".join(uvloop.run(_measured(wanted[asked.what]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
