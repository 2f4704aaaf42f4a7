"""Us beside Postfix and Dovecot, turn by turn in one run: ratios with their spread.

    python -m bench.beside_peers [--rounds 5] [--seconds 2] [--only NAME,NAME] [--plain]
                                 [--workers 2] [--sessions 10] [--messages 2000] [--json]

Accepting: TLS with client certificate, many messages per connection, a reply counts once it is 250.
Of Postfix both moments are shown: accepted (its queue has it) and delivered (Dovecot has it, which
is where ours is at its 250); its processor time is that until delivery. IMAP: over TLS, ten boxes,
Dovecot with mail_crypt (`--plain`: without, which is the harder peer). Every measurement is taken
of both within seconds of each other, once a round; a ratio is made within a round.

Needs root and Debian's postfix, dovecot-imapd and dovecot-lmtpd. The generator shares the machine
with the servers, so that ratios count and not figures. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from bench.acceptance import message
from bench.peers import DOMAIN, USERS, Peers, missing, peers
from bench.space import Operator, space
from bench.targets import FILLING, Imap, Smtp, Target
from mssmtp.config import load
from mssmtp.mail import Address
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing

SIZES = {"4 KB": 4_096, "100 KB": 102_400, "1 MB": 1_048_576, "10 MB": 10_485_760}
HEADERS = "From To Cc Subject Date Message-ID References Content-Type In-Reply-To Reply-To"
_AT_ONCE = 2_000
_ACQUAINTED = 8
"""Logins of each before they are counted, so that all workers have met them: a mail program comes
back all day, and the slow hash of a first login is `bench.logins`."""


# ---------------------------------------------------------------- who is measured


def ours(sender: Operator, receiver: Operator, context: ssl.SSLContext) -> Target:
    """An operator of the demo's space."""
    logins = tuple((account.address, account.password) for account in receiver.accounts[:USERS])
    return Target(
        "mssmtp",
        receiver.smtp_port,
        receiver.imaps_port,
        context,
        sender.accounts[0].address,
        logins,
        lambda: receiver.processes[:1],
        lambda: None,
        _fill_ours(receiver),
    )


def theirs(pair: Peers, context: ssl.SSLContext, name: str = "Postfix + Dovecot") -> Target:
    """Postfix and Dovecot."""
    logins = tuple((f"u{number}@{DOMAIN}", f"pw{number}") for number in range(USERS))
    return Target(
        name,
        pair.smtp_port,
        pair.imaps_port,
        context,
        "peer@elsewhere.test",
        logins,
        lambda: pair.roots,
        pair.drain,
        _fill_theirs(pair, context),
    )


# ---------------------------------------------------------------- one measurement


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one target in one round."""

    rate: float
    cpu_ms: float
    delivered: float | None = None
    memory_mb: float = 0.0
    client_ms: float = 0.0
    """Processor time of the generator, where it is as dear as what it measures."""


@dataclass
class Options:
    """What was asked for."""

    sessions: int
    seconds: float
    messages: int
    filled: set[str] = field(default_factory=set)


Measure = Callable[[Target, Options], Sample]


def together(jobs: list[Callable[[], int]]) -> int:
    """Run each in a thread; the sum of what they did."""
    counts: list[int] = []
    failed: list[BaseException] = []

    def run(job: Callable[[], int]) -> None:
        try:
            counts.append(job())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sum(counts)


def accepting(size: int, *, letter_each: bool = False) -> Measure:
    """Messages given a 250 per second; `letter_each`: a connection of its own for every one."""

    def measure(target: Target, options: Options) -> Sample:
        sessions = [Smtp(target) for _ in range(options.sessions)]
        before, began = target.cpu_s(), time.monotonic()
        stop = began + options.seconds

        def job(number: int) -> int:
            recipient, count = target.logins[number % len(target.logins)][0], 0
            octets = message(target.sender, recipient, size)
            while not count or time.monotonic() < stop:
                if letter_each and count:
                    sessions[number].close()
                    sessions[number] = Smtp(target)
                sessions[number].send(target.sender, recipient, octets)
                count += 1
            return count

        count = together([partial(job, number) for number in range(options.sessions)])
        accepted, memory = time.monotonic() - began, target.memory_mb()
        target.drain()
        delivered = time.monotonic() - began
        for session in sessions:
            session.close()
        cpu = (target.cpu_s() - before) * 1_000 / count
        return Sample(count / accepted, cpu, count / delivered, memory)

    return measure


def appending(size: int) -> Measure:
    """APPENDs per second, ten sessions of ten boxes."""

    def measure(target: Target, options: Options) -> Sample:
        sessions = [Imap(target, login) for login in target.logins[1:]]
        octets = message(target.sender, target.logins[0][0], size)[:-3]
        before, began = target.cpu_s(), time.monotonic()
        stop = began + options.seconds

        def job(session: Imap) -> int:
            count = 0
            while not count or time.monotonic() < stop:
                session.append(octets)
                count += 1
            return count

        count = together([partial(job, session) for session in sessions])
        elapsed = time.monotonic() - began
        sample = Sample(count / elapsed, (target.cpu_s() - before) * 1_000 / count)
        for session in sessions:
            session.close()
        return sample

    return measure


def reading(*commands: str, per_message: bool = True) -> Measure:
    """`commands` again and again on the filled box: messages (or commands) per second."""

    def measure(target: Target, options: Options) -> Sample:
        fill_first_box(target, options)
        session = Imap(target, target.logins[0])
        session.command(f"SELECT {FILLING}")
        for command in commands:
            session.command(command)
        before, began, count = target.cpu_s(), time.monotonic(), 0
        while time.monotonic() < began + options.seconds:
            for command in commands:
                session.command(command)
                count += options.messages if per_message else 1
        elapsed = time.monotonic() - began
        cpu = (target.cpu_s() - before) * 1_000 / count
        session.close()
        return Sample(count / elapsed, cpu)

    return measure


def logging_in(*, is_resumed: bool) -> Measure:
    """New connections with TLS, LOGIN and LOGOUT per second; `is_resumed`: with the TLS session of
    the connection before, where the server takes it up again."""

    def measure(target: Target, options: Options) -> Sample:
        for login in target.logins * _ACQUAINTED:
            Imap(target, login).close()
        before, client_s = target.cpu_s(), time.process_time()
        began = time.monotonic()
        stop = began + options.seconds

        def job(login: tuple[str, str]) -> int:
            count, session = 0, None
            while not count or time.monotonic() < stop:
                one = Imap(target, login, session)
                session = one.session if is_resumed else None
                one.close()
                count += 1
            return count

        count = together([partial(job, each) for each in target.logins])
        elapsed = time.monotonic() - began
        client_ms = (time.process_time() - client_s) * 1_000 / count
        cpu_ms = (target.cpu_s() - before) * 1_000 / count
        return Sample(count / elapsed, cpu_ms, client_ms=client_ms)

    return measure


def fill_first_box(target: Target, options: Options) -> None:
    """The first box gets its messages once, all different."""
    if target.name in options.filled:
        return
    options.filled.add(target.name)
    session = Imap(target, target.logins[0])
    session.command(f"SELECT {FILLING}")
    session.command("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    session.command("EXPUNGE")
    session.close()
    letter = message(target.sender, target.logins[0][0], 4_096)[:-3]
    for first in range(0, options.messages, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, options.messages))
        subjects = (b"Subject: mesure %06d" % number for number in numbers)
        target.fill([letter.replace(b"Subject: mesure", each, 1) for each in subjects])


def _fill_ours(receiver: Operator) -> Callable[[list[bytes]], None]:
    """Beside the server, as a delivery by another process would come; packs are made behind it."""
    clock = SystemClock()
    settings = load(receiver.home / "mssmtp.toml").store
    address = Address.parse(receiver.accounts[0].address)

    def fill(letters: list[bytes]) -> None:
        with closing(Store(settings, clock, SystemEntropy(), worker="bench")) as store:
            sealed = [store.seal(octets) for octets in letters]

            def job(writing: Writing) -> None:
                box = writing.bal(address)
                inbox = writing.mailbox(box.id, FILLING) if box else None
                if inbox is None:
                    raise SystemExit("the box is not there")
                for letter in sealed:
                    writing.append(inbox.id, letter, frozenset(), clock.now())

            store.write(job).result()
            store.settle()

    return fill


def _fill_theirs(pair: Peers, context: ssl.SSLContext) -> Callable[[list[bytes]], None]:
    """By MULTIAPPEND (RFC 3502): one transaction for many."""

    def fill(letters: list[bytes]) -> None:
        target = theirs(pair, context)
        session = Imap(target, target.logins[0])
        for first in range(0, len(letters), 100):
            session.append(*letters[first : first + 100])
        session.close()

    return fill


MEASURES: dict[str, tuple[Measure, str]] = {
    **{f"accept {name}": (accepting(size), "accept") for name, size in SIZES.items()},
    "APPEND 4 KB": (appending(4_096), "append"),
    "APPEND 1 MB": (appending(1_048_576), "append"),
    "FETCH flags": (reading("FETCH 1:* (UID FLAGS)"), "fetch"),
    "FETCH envelope": (reading("FETCH 1:* (UID ENVELOPE BODYSTRUCTURE)"), "fetch"),
    "FETCH headers": (
        reading(f"FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])"),
        "fetch",
    ),
    "FETCH bodies": (reading("FETCH 1:* (UID BODY.PEEK[])"), "fetch"),
    "SEARCH subject": (reading('SEARCH SUBJECT "000123"'), "search"),
    "SEARCH body": (reading('SEARCH BODY "nowhere to be found"'), "search"),
    "STORE": (
        reading("STORE 1:* +FLAGS (\\Flagged)", "STORE 1:* -FLAGS (\\Flagged)"),
        "store",
    ),
    "SELECT": (reading(f"SELECT {FILLING}", per_message=False), "select"),
    "login": (logging_in(is_resumed=False), "login"),
    "login resumed": (logging_in(is_resumed=True), "login"),
}
GOALS = {
    "accept 4 KB": 3.0,
    "accept 100 KB": 2.0,
    "accept 1 MB": 1.5,
    "accept 10 MB": 1.5,
    "APPEND 4 KB": 5.0,
    "APPEND 1 MB": 2.0,
    "FETCH flags": 3.0,
    "FETCH envelope": 5.0,
    "FETCH headers": 5.0,
    "FETCH bodies": 20.0,
    "SEARCH subject": 5.0,
    "SEARCH body": 5.0,
    "STORE": 2.0,
    "SELECT": 0.5,
    "login": 1.5,
    "login resumed": 1.5,
}
"""How many times what the peer needs; bodies and search of a body beside encrypted mail."""

Samples = dict[str, list[tuple[Sample, Sample]]]


def measure(
    chosen: list[str], rounds: int, targets: tuple[Target, Target], how: Options
) -> Samples:
    """Who begins changes from round to round."""
    found: Samples = {name: [] for name in chosen}
    for number in range(rounds):
        for name in chosen:
            take = MEASURES[name][0]
            order = targets if number % 2 == 0 else targets[::-1]
            taken = {target.name: take(target, how) for target in order}
            found[name].append((taken[targets[0].name], taken[targets[1].name]))
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
    return found


def spread(numbers: list[float]) -> str:
    return f"{median(numbers):8.2f} ({min(numbers):.2f}–{max(numbers):.2f})"


def show(found: Samples) -> None:
    """The table."""
    print(
        f"{'':<16}{'we /s':>10}{'peer /s':>10}   {'ratio (range)':<24}{'goal':>5}"
        f"   {'CPU we, peer ms':<18}{'CPU ratio (range)':<24}"
    )
    for name, rounds in found.items():
        us, peer = [a for a, _ in rounds], [b for _, b in rounds]
        rate = [a.rate / b.rate for a, b in rounds]
        cpu = [a.cpu_ms / b.cpu_ms if b.cpu_ms else 0.0 for a, b in rounds]
        print(
            f"{name:<16}{median(s.rate for s in us):>10.0f}{median(s.rate for s in peer):>10.0f}"
            f"  {spread(rate):<25}{GOALS[name]:>5}"
            f"   {median(s.cpu_ms for s in us):7.3f} {median(s.cpu_ms for s in peer):8.3f}  "
            f"{spread(cpu)}"
        )
        through = [a.rate / b.delivered for a, b in rounds if b.delivered]
        if through:
            print(f"{'  to its delivery':<36}  {spread(through)}")
            memory = [median(s.memory_mb for s in side) for side in (us, peer)]
            print(f"{'  memory, MB':<16}{memory[0]:>10.0f}{memory[1]:>10.0f}")
        client = [median(s.client_ms for s in side) for side in (us, peer)]
        if any(client):
            print(f"{'  client, ms':<16}{client[0]:>10.3f}{client[1]:>10.3f}")


def as_json(found: Samples) -> str:
    """Every sample."""
    return json.dumps(
        {
            name: [
                [
                    {
                        "rate": one.rate,
                        "cpu_ms": one.cpu_ms,
                        "delivered": one.delivered,
                        "memory_mb": one.memory_mb,
                        "client_ms": one.client_ms,
                    }
                    for one in pair
                ]
                for pair in rounds
            ]
            for name, rounds in found.items()
        },
        indent=1,
    )


def client_context(sender: Operator) -> ssl.SSLContext:
    """With the certificate of an operator; nothing is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(sender.certificate_file, sender.key_file)
    return context


def require_peers() -> None:
    """Leave when something is missing."""
    if packages := missing():
        raise SystemExit(
            "The peers are not installed. On Debian:\n"
            f"    apt-get install --no-install-recommends {' '.join(packages)}\n"
            "(their own services need not run: `systemctl disable --now postfix dovecot`)"
        )
    if os.geteuid() != 0:
        raise SystemExit("Postfix and Dovecot change users: run this as root.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(MEASURES))
    parser.add_argument("--plain", action="store_true", help="Dovecot without mail_crypt")
    parser.add_argument("--base-port", type=int, default=23_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.only if name not in MEASURES]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(MEASURES)}")
    require_peers()
    how = Options(options.sessions, options.seconds, options.messages)
    with both(options.base_port, options.workers, encrypted=not options.plain) as targets:
        found = measure(options.only, options.rounds, targets, how)
    print(as_json(found)) if options.json else show(found)


@contextmanager
def both(base_port: int, workers: int, *, encrypted: bool) -> Iterator[tuple[Target, Target]]:
    """The receiving operator of a demo's space and the peers, each with a letter in every box.

    `encrypted`: Dovecot with mail_crypt.
    """
    with space(base_port, USERS, workers) as operators:
        sender, receiver = operators["hopital-a"], operators["cabinet-b"]
        manifest = json.loads((sender.home.parent / "manifest.json").read_text())
        files = receiver.certificate_file, receiver.key_file, str(manifest["ca_file"])
        with peers(base_port - 1_000, *files, encrypted=encrypted) as pair:
            context = client_context(sender)
            targets = ours(sender, receiver, context), theirs(pair, context)
            warm_up(targets)
            yield targets


def warm_up(targets: tuple[Target, ...]) -> None:
    """A letter for every box, one after the other: Dovecot's first deliveries of many at once to a
    new box lock each other out, and caches are filled."""
    for target in targets:
        for login in target.logins:
            session = Smtp(target)
            session.send(target.sender, login[0], message(target.sender, login[0], 4_096))
            session.close()
            target.drain()
            Imap(target, login).close()


if __name__ == "__main__":
    main()
