"""Outbound delivery beside Debian's Postfix, turn by turn in one run, with the ratio.

    python -m bench.outbound [--messages 10000] [--domains 1,200] [--rounds 3] [--octets 3500]
                             [--workers 2] [--base-port 27000] [--as-delivered] [--json]

Both start with a full queue and deliver it over mutual TLS to the same server, which takes
everything (`bench.outbound_sink`). Postfix is measured with its connection cache of TLS sessions
on (`smtp_tls_connection_reuse`); `--as-delivered` leaves it off, as Debian has it: then each letter
is a handshake.
Processor time is that of the sender's processes, their logs included, and beside it the sink's.
Every measurement is taken of both within seconds of each other, once a round; a ratio is made
within a round. Needs root and Debian's postfix.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from bench.letters import letter
from bench.outbound_postfix import Postfix
from mssmtp import log
from mssmtp.config import (
    CertificateSettings,
    LimitSettings,
    OperatorSettings,
    PkiSettings,
    Settings,
    SmtpOutSettings,
    StoreSettings,
    TlsSettings,
)
from mssmtp.config_policy import PolicySettings
from mssmtp.demo.authority import Authority, Make, Subject, row
from mssmtp.mail import Address, BalType, Domain, Door, Envelope, Recipient
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.pki import Anchors
from mssmtp.policy import Engine
from mssmtp.revocation import Revocation
from mssmtp.smtp_out import Relay
from mssmtp.storage import Store, Transfer, Writing
from mssmtp.trust import Snapshot, Trust
from mssmtp.whitelist import Whitelist

US = Domain("hopital-a.test")
OURS = Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER DE VALMONT")
THEIRS = Subject("mx.puits.test", "312345678900017", "PUITS")
SENDER = Address.parse("zoe.tartempion@hopital-a.test")
_IN = Transfer("in", Door.SUBMISSION, "192.0.2.7", "accept", "250 2.0.0 ok")
_FILLED_AT_ONCE = 500
_WITHIN_S = 300.0
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
Counts = tuple[int, int, float]
"""Messages, connections and processor seconds of the sink."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One drain of one queue."""

    seconds: float
    messages: int
    cpu_ms: float
    connections: int
    sink_ms: float
    """Of processor, for each message: what the server that takes everything had of the machine."""

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds


# ---------------------------------------------------------------- the trust space


def make_space(place: Path) -> None:
    """Certificates and CRLs, for both senders and for the sink."""
    authority = Authority(datetime.now(UTC))
    make = Make(hosts=("localhost", "127.0.0.1"))
    authority.issue(OURS, make).write(place, "ours")
    authority.issue(THEIRS, make).write(place, "sink")
    (place / "anchors.pem").write_bytes(authority.anchors_pem)
    for number, crl in enumerate(authority.crls()):
        (place / f"{number}.crl").write_bytes(crl)


def settings_of(place: Path, port: int, domains: int) -> Settings:
    """Of the home in `place / "home"`."""
    own = CertificateSettings(certificate_file=place / "ours.pem", key_file=place / "ours.key")
    home = place / "home"
    return Settings(
        operator=OperatorSettings(
            name="hopital-a", host_name=Domain("mx.hopital-a.test"), domains=(US,)
        ),
        store=StoreSettings(home=home, master_key_file=place / "master.key", quota_octets=0),
        tls=TlsSettings(operators=own, users=own),
        pki=PkiSettings(anchors_file=place / "anchors.pem", ocsp="off"),
        smtp_out=SmtpOutSettings(ports={host_of(n): port for n in range(1, domains + 1)}),
    )


def host_of(number: int) -> str:
    """MX of domain `number`."""
    return f"mx.d{number}.test"


class Zone:
    """DNS of the bench: domain n has one host at 127.0.0.n."""

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        """Its one host."""
        return (f"mx.{name}",)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """127.0.0.n."""
        return (f"127.0.0.{host.removeprefix('mx.d').removesuffix('.test')}",)


def trust_of(place: Path, domains: int) -> Trust:
    """Every domain is the sink's, and an operator of its own."""
    anchors = Anchors.from_pem((place / "anchors.pem").read_bytes())
    now = datetime.now(UTC)
    rows = [row(US, OURS.text, updated=now)]
    for number in range(1, domains + 1):
        rows.append(row(f"d{number}.test", THEIRS.text, updated=now))
        other = Subject(f"mx.d{number}.test", f"1{number:09d}", f"OPERATEUR {number}")
        rows.append(row(f"d{number}.test", other.text, updated=now))
    crls = [(place / f"{number}.crl").read_bytes() for number in range(2)]
    listed = Whitelist(now, "0" * 64, "CN=bench", tuple(rows))
    return Trust(
        Snapshot(anchors=anchors, whitelist=listed, revocation=Revocation.of(crls, anchors))
    )


def fill(settings: Settings, given: argparse.Namespace, domains: int) -> None:
    """A queue of so many letters, as submissions of one box would leave it."""
    Store.create(settings.store, CLOCK, ENTROPY)
    store = Store(settings.store, CLOCK, ENTROPY, worker="bench")
    store.write(lambda w: w.create_bal(SENDER, BalType.ORG)).result()
    box = store.read(lambda r: r.bal(SENDER)).result()
    if box is None:
        raise SystemExit("no box")
    octets = letter(1, given.octets)

    def job(first: int, last: int, writing: Writing) -> None:
        for number in range(first, last):
            to = Recipient(Address.parse(f"luc@d{number % domains + 1}.test"))
            envelope = Envelope(store.new_envelope_id(), SENDER, (to,), CLOCK.now())
            writing.accept(
                envelope,
                letters[number - first],
                local=(),
                queued=(to,),
                skip=0,
                owner=box.id,
                transfer=_IN,
                facts=b"{}",
            )

    for first in range(0, given.messages, _FILLED_AT_ONCE):
        last = min(first + _FILLED_AT_ONCE, given.messages)
        letters = [store.seal(octets) for _ in range(first, last)]
        store.write(partial(job, first, last)).result()
    store.close()


# ---------------------------------------------------------------- our side


async def relay(place: Path, port: int, domains: int, worker: str) -> None:
    """One worker's relay: waits for a line, delivers until nothing waits, prints its time.

    It logs as a server does, for Postfix does too.
    """
    settings = settings_of(place, port, domains)
    sys.stderr = (place / f"log-{worker}").open("w", encoding="utf-8")
    log.configure(settings.log.level)
    store = Store(settings.store, CLOCK, ENTROPY, worker=worker)
    engine = Engine(PolicySettings(), LimitSettings())
    trust = trust_of(place, domains)
    door = Relay(settings, store, trust, engine, Zone(), CLOCK, ENTROPY, worker=worker)
    gc.collect()
    gc.freeze()  # as the workers do
    print("ready", flush=True)
    sys.stdin.readline()
    begun = os.times()
    running = asyncio.create_task(door.run())
    while await asyncio.wrap_future(store.read(lambda r: r.queue_depth())):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await door.stop(5.0)
    await running
    ended = os.times()
    print(ended.user + ended.system - begun.user - begun.system, flush=True)
    store.close()
    sys.stderr.close()
    sys.stderr = sys.__stderr__


def ours(place: Path, port: int, domains: int, given: argparse.Namespace) -> Figure:
    """Fill, then drain with as many workers as asked for."""
    subprocess.run(["rm", "-rf", str(place / "home"), str(place / "master.key")], check=True)
    fill(settings_of(place, port, domains), given, domains)
    with sink(place, port, domains) as counts:
        words = [sys.executable, "-m", "bench.outbound", "--relay", str(place), str(port)]
        children = [_child([*words, str(domains), f"w{n}"]) for n in range(given.workers)]
        started = time.perf_counter()
        for child in children:
            _tell(child)
        seconds = _arrived(counts, given.messages, started, "the relay")
        cpu = [float(_line(child)) for child in children]
        for child in children:
            child.wait()
        messages, connections, sunk = counts()
    if messages != given.messages:
        raise SystemExit(f"{messages} of {given.messages} arrived")
    each = 1_000 / messages
    return Figure(seconds, messages, sum(cpu) * each, connections, sunk * each)


def _arrived(counts: Callable[[], Counts], messages: int, started: float, who: str) -> float:
    """Seconds from `started` until the sink has had them all: the same end for both, whatever each
    has to put away then. Exits when it takes too long."""
    while counts()[0] < messages:
        if time.perf_counter() - started > _WITHIN_S:
            raise SystemExit(f"{who} does not deliver")
        time.sleep(0.05)
    return time.perf_counter() - started


def _child(words: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    child = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    if _line(child) != "ready":
        raise SystemExit(f"{words} did not start")
    return child


def _tell(child: subprocess.Popen[str]) -> None:
    if child.stdin is not None:
        child.stdin.write("\n")
        child.stdin.flush()


def _line(child: subprocess.Popen[str]) -> str:
    return child.stdout.readline().strip() if child.stdout is not None else ""


@contextmanager
def sink(place: Path, port: int, hosts: int) -> Iterator[Callable[[], Counts]]:
    """The server that takes everything; what it yields tells messages, connections and processor
    seconds so far."""
    words = [sys.executable, "-m", "bench.outbound_sink"]
    files = [str(place / name) for name in ("sink.pem", "sink.key", "anchors.pem")]
    child = _child([*words, *files, str(port), str(hosts)])

    def counts() -> Counts:
        _tell(child)
        messages, connections, cpu = _line(child).split()
        return int(messages), int(connections), float(cpu) - started_s

    started_s = 0.0
    started_s = counts()[2]

    try:
        yield counts
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.wait(10)


# ---------------------------------------------------------------- beside Postfix


def theirs(place: Path, port: int, domains: int, given: argparse.Namespace) -> Figure:
    """The same letters from the hold queue of a Postfix of its own."""
    with (
        Postfix(
            place, given.base_port + 25, port, domains, reuses=not given.as_delivered
        ) as postfix,
        sink(place, port, domains) as counts,
    ):
        postfix.fill(given.messages, given.octets)
        postfix.make_ready()
        if counts()[0]:
            raise SystemExit("Postfix delivers before its time is taken")
        before = postfix.cpu_s()
        started = time.perf_counter()
        postfix.release()
        seconds = _arrived(counts, given.messages, started, "Postfix")
        cpu = postfix.cpu_s() - before
        messages, connections, sunk = counts()
    each = 1_000 / messages
    return Figure(seconds, messages, cpu * each, connections, sunk * each)


def main() -> None:
    """Rounds of both; print rates, processor time and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--domains", default="1,200")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--octets", type=int, default=3_500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--base-port", type=int, default=27_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--as-delivered", action="store_true")
    given = parser.parse_args()
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="mssmtp-outbound-", dir="/var/tmp") as folder:  # noqa: S108
        place = Path(folder)
        place.chmod(0o755)
        make_space(place)
        for domains in map(int, given.domains.split(",")):
            found.append(_compared(place, domains, given))
    if given.json:
        print(json.dumps(found, indent=2))


def _compared(place: Path, domains: int, given: argparse.Namespace) -> dict[str, object]:
    rounds: dict[str, list[Figure]] = {"mssmtp": [], "postfix": []}
    for number in range(given.rounds):
        port = given.base_port + 100 + 2 * number
        rounds["mssmtp"].append(ours(place, port, domains, given))
        if not given.ours_only:
            rounds["postfix"].append(theirs(place, port + 1, domains, given))
        for name, figures in rounds.items():
            if figures and not given.json:
                _print(domains, name, figures[-1])
    pairs = zip(rounds["mssmtp"], rounds["postfix"], strict=False)
    ratios = [mine.rate / other.rate for mine, other in pairs]
    if ratios and not given.json:
        print(f"{domains:>4} domains  ratio {median(ratios):.2f} ({min(ratios):.2f} lowest)")
    shown = {
        name: [{"per_s": each.rate, "cpu_ms": each.cpu_ms} for each in figures]
        for name, figures in rounds.items()
    }
    return {"domains": domains, "ratios": ratios, **shown}


def _print(domains: int, name: str, figure: Figure) -> None:
    print(
        f"{domains:>4} domains  {name:<8}{figure.rate:>8.0f} msg/s{figure.cpu_ms:>8.2f} ms cpu/msg"
        f"{figure.connections:>7} connections{figure.sink_ms:>8.2f} ms sink",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) == 6 and sys.argv[1] == "--relay":
        uvloop.run(relay(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
    else:
        main()
