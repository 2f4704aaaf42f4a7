"""Judging certificates, and taking up a new list while letters flow.

    python -m bench.judging                     (about a minute)
    python -m bench.judging --idle-swaps 20     (for the memory figure)

A known certificate, a new one, one with a CRL of 100,000 entries behind it; then a real server
behind real TLS with 50 sessions that send letters all the time, a list of 8,655 rows published
again and again. Quiet windows and windows with a swap take turns on the same machine: read the
difference between the two.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from cryptography import x509

from bench.acceptance import message
from bench.space import cpu_seconds, tree
from mssmtp.demo.authority import Authority, Subject, row
from mssmtp.demo.running import Server
from mssmtp.demo.space import (
    CRL_OFFSET,
    DOORS,
    LIST_NAME,
    LIST_OFFSET,
    PLANS,
    Space,
    lay,
    publish_list,
)
from mssmtp.demo.web import Site, https_context
from mssmtp.mail import domain
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.pki import DER, Anchors
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot, Trust
from mssmtp.whitelist import Row, SignedList, Whitelist
from mssmtp.whitelist_child import BREATH_S
from tests.authority import big_crl

ROWS, NAMES = 8_655, 430
"""Of the national list."""
WINDOW_S = 5.0


def rows(now: datetime, change: int = 0) -> tuple[Row, ...]:
    """A list of the national size: 430 names, long texts, `change` makes one differ."""
    subjects = [
        Subject(f"mx.operateur-{i}.example", f"1{i:09d}", f"CENTRE HOSPITALIER NUMERO {i}").text
        for i in range(NAMES)
    ]
    return tuple(
        row(
            f"etablissement-{i}.departement-{i % 97}.example",
            subjects[(i + change) % NAMES],
            updated=now,
            description=f"Domaine de messagerie de l'établissement {i}",
        )
        for i in range(ROWS)
    )


# ---------------------------------------------------------------- one certificate


def judging(entries: int) -> None:
    """Time and processor time of one judgement, in the process of the caller."""
    now = datetime.now(UTC)
    space = Authority(now)
    anchors = Anchors.from_pem(space.anchors_pem)
    subject = Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER A")
    listed = Whitelist(
        now, "0" * 64, "CN=bench", (row("hopital-a.test", subject.text, updated=now), *rows(now))
    )
    crls = [space.crls()[0], big_crl(space, range(2**126, 2**126 + entries))]
    trust = Trust(Snapshot(listed, Revocation.of(crls, anchors), anchors))
    key = space._make_key()
    space._make_key = lambda: key  # a new certificate each time, not a new key
    ders = [space.issue(subject).certificate.public_bytes(DER) for _ in range(300)]
    name = domain("hopital-a.test")

    def inbound(chain: tuple[x509.Certificate, ...]) -> None:
        trust.identify(chain, now)

    def outbound(chain: tuple[x509.Certificate, ...]) -> None:
        trust.judge_server(chain, name, now)

    for what, judge in (("inbound", inbound), ("outbound", outbound)):
        for how in ("new", "known"):
            # Each connection brings its own copy of the certificate.
            chains = [(x509.load_der_x509_certificate(each),) for each in ders]
            wall, cpu = zip(*(_timed(judge, chain) for chain in chains), strict=True)
            print(
                f"{what}, {how:<5} certificate, CRL of {entries:>7,} entries:"
                f" median {median(wall) * 1e6:6.0f} µs, processor {median(cpu) * 1e6:6.0f} µs"
            )


Chain = tuple[x509.Certificate, ...]


def _timed(judge: Callable[[Chain], None], chain: Chain) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    judge(chain)
    return time.perf_counter() - wall, time.thread_time() - cpu


def stretches(rounds: int = 5) -> None:
    """How long the thread that takes a list up holds the interpreter without standing back."""
    now = datetime.now(UTC)
    table = SignedList(now, "0" * 64, "CN=bench", rows(now)).to_table()
    longest, whole = [], []
    for _ in range(rounds):
        marks = _steps(table)
        longest.append(max(after - before for before, after in pairwise(marks)))
        whole.append(marks[-1] - marks[0])
    print(
        f"a list of {ROWS:,} rows taken up: {median(whole) * 1e3:.0f} ms of processor in"
        f" {len(marks)} steps, the longest {median(longest) * 1e3:.1f} ms"
        f" (largest of {rounds} rounds {max(longest) * 1e3:.1f} ms)"
    )


def _take_up(table: bytes, breathe: Callable[[], None] | None) -> None:
    SignedList.from_table(table, breathe).indexed(breathe)


def _steps(table: bytes) -> list[float]:
    """Processor time at the start, at each breath, and at the end."""
    marks = [time.thread_time()]
    _take_up(table, lambda: marks.append(time.thread_time()))
    return [*marks, time.thread_time()]


def taken_from_the_loop(sessions: int, rounds: int = 5) -> None:
    """What the thread that takes a list up takes away from a loop that is never idle.

    Each of the sessions has one letter's worth of TLS done in turn; what the thread got meanwhile
    is what the last of them waits longer. Counted in processor time, so that others on the machine
    do not count.
    """
    now = datetime.now(UTC)
    table = SignedList(now, "0" * 64, "CN=bench", rows(now)).to_table()
    letter, before = _tls_letter(), sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as the server does
    try:
        for what, breathe in (("in steps", lambda: time.sleep(BREATH_S)), ("at once", None)):
            most = [_most_taken(table, breathe, letter, sessions) for _ in range(rounds)]
            print(
                f"a list taken up {what} beside {sessions} busy sessions: the slowest letter waits"
                f" {median(most) * 1e3:.1f} ms longer (largest {max(most) * 1e3:.1f} ms)"
            )
    finally:
        sys.setswitchinterval(before)


def _most_taken(
    table: bytes, breathe: Callable[[], None] | None, letter: Callable[[], None], sessions: int
) -> float:
    worker = threading.Thread(target=_take_up, args=(table, breathe))
    worker.start()
    clock = time.pthread_getcpuclockid(worker.ident or 0)
    most, used = 0.0, 0.0
    while worker.is_alive():
        for _ in range(sessions):
            letter()
        try:
            now = time.clock_gettime(clock)
        except OSError:
            break
        most, used = max(most, now - used), now
    worker.join()
    return most


def _tls_letter() -> Callable[[], None]:
    """Twenty records to and fro between two ends in memory, and a little thought."""
    space = Authority(datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder:
        files = space.issue(Subject("localhost")).write(Path(folder), "bench")
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(files.certificate_file, files.key_file)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(back, there)
    server = server_side.wrap_bio(there, back, server_side=True)
    for end in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    octets = b"x" * 400

    def letter() -> None:
        for _ in range(20):
            client.write(octets)
            server.read(400)
        sum(range(20_000))

    return letter


# ---------------------------------------------------------------- sessions


Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """Sessions of one listed operator; `latencies` of the letters sent in the present window."""

    port: int
    context: ssl.SSLContext
    sender: str
    recipients: list[str]
    latencies: list[float] = field(default_factory=list)

    async def session(self, index: int, period_s: float) -> None:
        """One connection, a letter every `period_s`, until cancelled."""
        wire = await asyncio.open_connection("127.0.0.1", self.port)
        await self._say(wire, b"", 1)
        await self._say(wire, b"EHLO mx.hopital-a.test\r\n", 1)
        await self._say(wire, b"STARTTLS\r\n", 1)
        await wire[1].start_tls(self.context, server_hostname="localhost")
        await self._say(wire, b"EHLO mx.hopital-a.test\r\n", 1)
        recipient = self.recipients[index % len(self.recipients)]
        envelope = f"MAIL FROM:<{self.sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
        letter = message(self.sender, recipient, 4_096)
        await asyncio.sleep(period_s * index / 50)
        while True:
            started = time.monotonic()
            await self._say(wire, envelope, 3)
            await self._say(wire, letter, 1)
            took = time.monotonic() - started
            self.latencies.append(took)
            await asyncio.sleep(max(0.0, period_s - took))

    async def _say(self, wire: Wire, octets: bytes, replies: int) -> None:
        reader, writer = wire
        writer.write(octets)
        for _ in range(replies):
            while (line := await reader.readline())[3:4] == b"-":
                pass
            if line[:1] not in (b"2", b"3"):
                raise SystemExit(f"refused: {line.decode()}")


# ---------------------------------------------------------------- swaps


async def swapping(load: Load, sessions: int, swaps: int, publish: Callable[[], None]) -> None:
    """Windows with and without a new list take turns."""
    found: dict[bool, list[float]] = {False: [], True: []}
    worst: dict[bool, list[float]] = {False: [], True: []}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.session(i, 0.5)) for i in range(sessions)]
        await asyncio.sleep(WINDOW_S)  # handshakes, first look-ups
        for number in range(2 * swaps):
            swap = number % 2 == 1
            load.latencies.clear()
            if swap:
                await asyncio.to_thread(publish)
            await asyncio.sleep(WINDOW_S)
            found[swap] += load.latencies
            worst[swap].append(max(load.latencies))
        for task in tasks:
            task.cancel()
    for swap, what in ((False, "no new list"), (True, "a new list ")):
        every = sorted(found[swap])
        print(
            f"{what}: {len(every)} letters, median {median(every) * 1e3:5.1f} ms,"
            f" 99 % {every[int(len(every) * 0.99)] * 1e3:5.1f} ms, slowest of each window:"
            f" median {median(worst[swap]) * 1e3:5.1f} ms, largest {max(every) * 1e3:5.1f} ms"
        )


@asynccontextmanager
async def serving(space: Space, workers: int) -> AsyncIterator[Server]:
    """cabinet-b as its own processes, and the two web sites it fetches from."""
    laid = space.operator("cabinet-b")
    settings = laid.config_file.read_text("utf-8")
    often = re.sub(r"^# refresh = 3600$", "refresh = 2", settings, flags=re.MULTILINE)
    if often == settings:
        raise SystemExit("the settings file has another default for whitelist.refresh")
    laid.config_file.write_text(often, "utf-8")
    web = (str(space.web.certificate_file), str(space.web.key_file))
    folders = (str(space.published), str(space.revocation))
    # In a process of its own: what it does must not count as the letters' time.
    sites = get_context("spawn").Process(target=_serve, args=(folders, space.base_port, web))
    sites.start()
    try:
        server = Server(laid, workers)
        try:
            await server.ready()
            yield server
        finally:
            await server.stop()
    finally:
        sites.terminate()
        sites.join()


def _serve(folders: tuple[str, str], base_port: int, web: tuple[str, str]) -> None:
    tls = https_context(Path(web[0]), Path(web[1]))
    Site(Path(folders[0]), base_port + LIST_OFFSET, tls)
    Site(Path(folders[1]), base_port + CRL_OFFSET, None)
    signal.pause()


def lists(space: Space, count: int) -> Iterator[Callable[[], None]]:
    """Signed beforehand, each later than the one before, each with all its rows moved."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    own = [row(name, plan.subject.text, updated=now) for plan in PLANS for name in plan.listed]
    target = space.published / LIST_NAME
    for number in range(count):
        date, listed = now + timedelta(seconds=number), (*own, *rows(now, number))
        publish_list(space.authority, space.directory, date, listed)
        octets = target.read_bytes()

        def publish(octets: bytes = octets) -> None:
            fresh = target.with_suffix(".next")
            fresh.write_bytes(octets)
            fresh.replace(target)

        yield publish


def anonymous_mebibytes(pid: int) -> float:
    """Memory a process has of its own."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def idle_swaps(
    server: Server, pids: list[int], publications: list[Callable[[], None]]
) -> None:
    """One list after the other while nobody sends: what grows is the lists' own."""
    before = {pid: anonymous_mebibytes(pid) for pid in pids}
    used = cpu_seconds(pids)
    for publish in publications:
        known = _taken(server)
        publish()
        for _ in range(1_200):
            if _taken(server) >= known + len(pids):
                break
            await asyncio.sleep(0.1)
    if publications:
        used = (cpu_seconds(pids) - used) / len(publications) / len(pids)
        print(f"processor time of one swap in one worker, fetch included: {used * 1e3:.0f} ms")
    for pid in pids:
        grown = anonymous_mebibytes(pid) - before[pid]
        print(
            f"process {pid}: {before[pid]:.1f} MiB before {len(publications)} swaps,"
            f" {grown:+.1f} MiB since"
        )


def _taken(server: Server) -> int:
    return server.log_file.read_text("utf-8").count('"list verified"')


async def swaps(options: argparse.Namespace) -> None:
    """Lay a space, serve it, load it, swap."""
    with tempfile.TemporaryDirectory(prefix="mssmtp-bench-") as folder:
        outside = (SystemClock(), SystemEntropy())
        space = lay(Path(folder), options.base_port, 10, outside)
        ready = list(lists(space, options.swaps + options.idle_swaps + 1))
        ready[0]()
        sender, target = space.operator("hopital-a"), space.operator("cabinet-b")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(sender.certificate.certificate_file, sender.certificate.key_file)
        load = Load(
            space.base_port + 1000 + DOORS["operators"],
            context,
            str(sender.logins[0].bal.address),
            [str(each.bal.address) for each in target.logins[:10]],
        )
        coming = iter(ready[1:])
        async with serving(space, options.workers) as server:
            pids = tree(server.pid)[1:]

            def publish() -> None:
                next(coming)()

            await swapping(load, options.sessions, options.swaps, publish)
            await idle_swaps(server, pids, list(coming))


def main() -> None:
    """Run both parts and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=5, help="under load")
    parser.add_argument("--idle-swaps", type=int, default=5, help="for memory and processor time")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--base-port", type=int, default=27_500)
    options = parser.parse_args()
    for entries in (10, 100_000):
        judging(entries)
    stretches()
    taken_from_the_loop(options.sessions)
    asyncio.run(swaps(options))


if __name__ == "__main__":
    main()
