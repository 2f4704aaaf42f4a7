"""`kill -9` of workers at random moments under load (D1, D2, D4, D5).

    python -m tests.crash.kills --kills 300 --seed 1      (about ten minutes)

Letters come in at operator B's door from a listed guest, by submission at A for A itself, and by
submission at A for B, while workers of A and B are killed. Afterwards every letter whose final
reply was 250 is there exactly once; one whose final dot never went out is nowhere; one in doubt
(dot sent, reply lost) is there at most once. A relay whose reply an operator lost may be there
again, and then its traces there say "in doubt". A UID seen once names the same letter for ever.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import smtplib
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imapclient import IMAPClient

from mssmtp.config import load
from mssmtp.mail import EnvelopeId
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.space import Account, Operator, RunningSpace, run_space

_DRAIN_WITHIN_S = 90.0
_SERVED_WITHIN_S = 45.0
_MARK = "Message-ID: <"
_QUEUE_ID = re.compile(r"\bid ([0-9A-Z]{26})\b")


@dataclass
class Ledger:
    """What the senders were told; letters are named by their Message-ID."""

    acknowledged: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)
    never_finished: set[str] = field(default_factory=set)


@dataclass
class Route:
    """One way in: how to open a session, who writes to whom, whether a second operator relays."""

    name: str
    connect: Callable[[], smtplib.SMTP]
    sender: str
    recipient: Account
    target: Operator
    is_relayed: bool = False
    ledger: Ledger = field(default_factory=Ledger)


def routes(space: RunningSpace) -> list[Route]:
    """The three ways of the module's docstring."""
    guest = space.manifest["guest"]
    files = (guest["certificate_file"], guest["key_file"])
    a, b = space.a, space.b

    def as_guest() -> smtplib.SMTP:
        return _starttls(b.smtp, space.peer_context(files), "mx.guest.test")

    def as_user() -> smtplib.SMTP:
        client = _starttls(a.submission, space.user_context(), "poste.hopital-a.test")
        client.login(a.accounts[0].address, a.accounts[0].password)
        return client

    user = a.accounts[0].address
    return [
        Route("guest to B", as_guest, "essai@guest.test", b.accounts[0], b),
        Route("A to itself", as_user, user, a.accounts[1], a),
        Route("A to B", as_user, user, b.accounts[1], b, is_relayed=True),
    ]


def _starttls(port: int, context: ssl.SSLContext, name: str) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", port, name, timeout=20)
    client.starttls(context=context)
    client.ehlo()
    return client


class Sender(threading.Thread):
    """Sends letters of a route one after the other, reconnecting whenever it is cut off."""

    def __init__(self, route: Route, number: int, stop: threading.Event) -> None:
        super().__init__(name=f"{route.name} {number}")
        self._route, self._number, self._halt = route, number, stop
        self._count = 0

    def run(self) -> None:
        client: smtplib.SMTP | None = None
        while not self._halt.is_set():
            try:
                client = client or self._route.connect()
                self._send(client)
            except (OSError, smtplib.SMTPException):
                if client is not None:
                    client.close()
                client = None
                self._halt.wait(0.05)
        if client is not None:
            client.close()

    def _send(self, client: smtplib.SMTP) -> None:
        route = self._route
        self._count += 1
        name = f"{route.name.replace(' ', '-')}.{self._number}.{self._count}@essai.test"
        letter = _letter(name, route, size=200_000 if self._count % 7 == 0 else 2_000)
        stage = route.ledger.never_finished
        try:
            if (
                client.mail(route.sender)[0] != 250
                or client.rcpt(route.recipient.address)[0] != 250
            ):
                return
            if client.docmd("DATA")[0] != 354:
                return
            client.send(letter)
            stage = route.ledger.in_doubt
            client.send(b".\r\n")
            code, _ = client.getreply()
            stage = route.ledger.acknowledged if code == 250 else route.ledger.never_finished
        finally:
            stage.add(name)


def _letter(name: str, route: Route, size: int) -> bytes:
    head = (
        f"{_MARK}{name}>\r\nFrom: <{route.sender}>\r\nTo: <{route.recipient.address}>\r\n"
        f"Subject: essai\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n"
    )
    return head.encode() + b"Une ligne de resultat dans la norme.\r\n" * (size // 38)


class Observer(threading.Thread):
    """Looks at a mailbox all the time: a UID never names two letters, UIDNEXT never goes back."""

    def __init__(self, space: RunningSpace, route: Route, stop: threading.Event) -> None:
        super().__init__(name=f"observer of {route.name}")
        self._space, self._route, self._halt = space, route, stop
        self._names: dict[tuple[int, int], str] = {}
        self._next = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                with mailbox(self._space, self._route) as client:
                    self._look(client)
            except (OSError, IMAPClient.Error):
                self._halt.wait(0.1)
            self._halt.wait(0.2)

    def _look(self, client: IMAPClient) -> None:
        seen = client.select_folder("INBOX", readonly=True)
        validity, following = int(seen[b"UIDVALIDITY"]), int(seen[b"UIDNEXT"])
        if following < self._next:
            self.problems.append(f"UIDNEXT went from {self._next} to {following}")
        self._next = following
        for uid, name in letters(client, f"{max(1, following - 40)}:*").items():
            known = self._names.setdefault((validity, uid), name)
            if known != name:
                self.problems.append(f"UID {uid} named {known}, then {name}")


def mailbox(space: RunningSpace, route: Route) -> IMAPClient:
    """The recipient's box, as a client sees it."""
    client = IMAPClient(
        "localhost", route.target.imaps, ssl=True, ssl_context=space.user_context(), timeout=20
    )
    client.login(route.recipient.address, route.recipient.password)
    return client


def letters(client: IMAPClient, uids: str) -> dict[int, str]:
    """UID -> Message-ID."""
    wanted = client.search(["UID", uids])
    if not wanted:
        return {}
    found = client.fetch(wanted, ["BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"])
    key = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
    return {
        uid: data[key].decode().partition("<")[2].partition(">")[0] for uid, data in found.items()
    }


def supervisor(operator: Operator) -> int:
    """Process id of the server of an operator."""
    home = load(operator.config_file).store.home
    return int((home / "run" / "serve.lock").read_text().split()[0])


def workers(pid: int) -> list[int]:
    """Its worker processes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def kill_some(space: RunningSpace, kills: int, chance: random.Random) -> int:
    """Kill `kills` workers of A and B, one at a time, 0.1 to 1.5 s apart; how many were killed."""
    done = 0
    deadline = time.monotonic() + 3.0 * kills + 60.0
    while done < kills and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.1, 1.5))
        found = workers(supervisor(chance.choice((space.a, space.b))))
        if not found:
            continue
        try:
            os.kill(chance.choice(found), signal.SIGKILL)
            done += 1
        except ProcessLookupError:
            continue
    return done


def served_again(space: RunningSpace, route: Route) -> None:
    """Wait for the replacement of the last worker that was killed. Raises AssertionError."""
    deadline = time.monotonic() + _SERVED_WITHIN_S
    while True:
        try:
            mailbox(space, route).logout()
        except (OSError, IMAPClient.Error):
            assert time.monotonic() < deadline, f"{route.name}: nobody answers any more"
            time.sleep(0.2)
        else:
            return


def drain(space: RunningSpace) -> None:
    """Wait until A's queue is empty, making retries due at once. Raises AssertionError."""
    clock = SystemClock()
    store = Store(load(space.a.config_file).store, clock, SystemEntropy(), worker="drain")
    deadline = time.monotonic() + _DRAIN_WITHIN_S
    try:
        while store.read(lambda reading: reading.queue()).result():
            assert time.monotonic() < deadline, "A's queue does not become empty"
            store.write(lambda writing: writing.retry_now(None, clock.now())).result()
            time.sleep(1.0)
    finally:
        store.close()


def judge(space: RunningSpace, route: Route) -> list[str]:
    """What does not hold for one route."""
    with mailbox(space, route) as client:
        client.select_folder("INBOX", readonly=True)
        found = letters(client, "1:*")
        counts = Counter(found.values())
        doubled = {uid: name for uid, name in found.items() if counts[name] > 1}
        marked = marked_in_doubt(space, client, doubled) if route.is_relayed else set()
    ledger, problems = route.ledger, []
    for name in ledger.acknowledged:
        if not counts[name]:
            problems.append(f"{route.name}: acknowledged {name} is lost")
    for name in counts:
        if counts[name] > 1 and name not in marked:
            problems.append(f"{route.name}: {name} is there {counts[name]} times, unmarked")
    for name in ledger.never_finished:
        if counts[name]:
            problems.append(f"{route.name}: {name} was never finished and is visible")
    return problems


def marked_in_doubt(space: RunningSpace, client: IMAPClient, doubled: dict[int, str]) -> set[str]:
    """Which of `doubled` (UID -> Message-ID) have a trace at A that says "in doubt" (D4)."""
    key = b"BODY[HEADER.FIELDS (RECEIVED)]"
    fields = client.fetch(list(doubled), ["BODY.PEEK[HEADER.FIELDS (RECEIVED)]"]) if doubled else {}
    store = Store(load(space.a.config_file).store, SystemClock(), SystemEntropy(), worker="judge")

    def is_marked(uid: int) -> bool:
        ids = [EnvelopeId(id) for id in _QUEUE_ID.findall(fields[uid][key].decode())]
        traces = store.read(lambda r: [trace for id in ids for trace in r.transfers(id)]).result()
        return any(trace.transfer.verdict == "in doubt" for trace in traces)

    try:
        return {name for uid, name in doubled.items() if is_marked(uid)}
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found."""

    kills: int
    acknowledged: int
    in_doubt: int
    repeated_relays: int
    problems: tuple[str, ...]


def play(space: RunningSpace, kills: int, seed: int, senders: int = 3) -> Outcome:
    """One whole run on a running space with two workers an operator."""
    stop = threading.Event()
    found = routes(space)
    threads: list[threading.Thread] = [
        Sender(route, number, stop) for route in found for number in range(senders)
    ]
    observers = [Observer(space, route, stop) for route in found]
    for thread in (*threads, *observers):
        thread.start()
    try:
        done = kill_some(space, kills, random.Random(seed))  # noqa: S311 - repeatable, not secret
    finally:
        stop.set()
        for thread in (*threads, *observers):
            thread.join(60)
    for route in found:
        served_again(space, route)
    drain(space)
    problems = [problem for route in found for problem in judge(space, route)]
    problems += [problem for observer in observers for problem in observer.problems]
    problems += [problem for operator in (space.a, space.b) for problem in checked(operator)]
    return Outcome(
        done,
        sum(len(route.ledger.acknowledged) for route in found),
        sum(len(route.ledger.in_doubt) for route in found),
        repeated(space, found[-1]),
        tuple(problems),
    )


def repeated(space: RunningSpace, route: Route) -> int:
    """Relayed letters that are there twice."""
    with mailbox(space, route) as client:
        client.select_folder("INBOX", readonly=True)
        return sum(count > 1 for count in Counter(letters(client, "1:*").values()).values())


def checked(operator: Operator) -> tuple[str, ...]:
    """`Store.check` beside the running server."""
    store = Store(load(operator.config_file).store, SystemClock(), SystemEntropy(), worker="check")
    try:
        return store.check(deep=True).problems
    finally:
        store.close()


def main() -> int:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--senders", type=int, default=3, help="per route")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mssmtp-kills-") as folder,
        run_space(Path(folder) / "space", workers=2) as space,
    ):
        outcome = play(space, options.kills, options.seed, options.senders)
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
