"""A store of 100,000 accounts: how long what people and administrators wait for takes (issue of the
people), and how much memory a worker has.

    python -m bench.accounts DIR [--people 100000]

DIR is kept: a new one gets the operators of the demo, whose `hopital-a` is filled with two
structures of as many certified people each; one in five hundred waits for a decision. Then its
server is started alone, asked over its socket, and logged in to; what a day does is done with a
clock a year ahead, in a store opened beside.
"""

from __future__ import annotations

import argparse
import asyncio
import imaplib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.bulk_load import rpps
from bench.space import ROOT, cpu_seconds, peak_mebibytes, space_in, tree
from mssmtp import asking
from mssmtp.admin.operation import Json
from mssmtp.config import Settings, load
from mssmtp.errors import ConfigError, OperationRefused
from mssmtp.identity import Authenticator, Credentials, app_password
from mssmtp.logins import Logins, Peer
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalType,
    Domain,
    PersonState,
    Structure,
    StructureId,
)
from mssmtp.notices import Desk
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.people.daily import Daily
from mssmtp.people.register import LocalRegister
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson

DOMAINS = (Domain("hopital-a.test"), Domain("chu-g.test"))
FINESS = ("990000010", "990000028")
PASSWORD = "abcdefghjkmnpqrstuvw"
TOGETHER = 200
"""People of one commit."""
WAITING_EVERY = 500
T = TypeVar("T")


class Ahead(SystemClock):
    """The machine's clock, so many days later."""

    def __init__(self, days: int) -> None:
        self._days = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._days


def main() -> None:
    """Fill, start, ask, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument(
        "--ahead", type=int, default=8, help="Days, more than those of a run before."
    )
    parser.add_argument("--base-port", type=int, default=28_000)
    given = parser.parse_args()
    home = given.directory / "hopital-a"
    if not home.exists():
        given.directory.mkdir(mode=0o700, parents=True)
        with space_in(given.directory, given.base_port, 1, 1):
            pass
        filled(load(home / "mssmtp.toml"), given.people)
    config = given.directory / "hopital-a" / "mssmtp.toml"
    settings = load(config)
    with served(settings, config) as pids:
        asked(settings, config, pids)
        print(f"largest worker {peak_mebibytes(pids):.0f} MiB", flush=True)
    logged_in(settings)
    days(settings, given.ahead)


def _store(settings: Settings, clock: SystemClock) -> Store:
    return Store(settings.store, clock, SystemEntropy(), worker="bench")


def measured(what: str, job: Callable[[], T], pids: list[int] | None = None) -> T:
    """Run it, print the clock and the processor, of `pids` or of this process and its children."""
    clock_s, cpu_s = time.perf_counter(), _spent(pids)
    result = job()
    clock_s, cpu_s = time.perf_counter() - clock_s, _spent(pids) - cpu_s
    print(f"{what:<44} {clock_s * 1e3:>10,.0f} ms   processor {cpu_s * 1e3:>10,.0f} ms", flush=True)
    return result


def _spent(pids: list[int] | None) -> float:
    return sum(os.times()[:4]) if pids is None else cpu_seconds(pids)


def filled(settings: Settings, people: int) -> None:
    """Two structures, each with half of them."""
    made = app_password.verifiers(PASSWORD, SystemEntropy())
    with closing(_store(settings, SystemClock())) as store:
        for finess, domain in zip(FINESS, DOMAINS, strict=True):
            new = Structure(StructureId(0), f"CH {finess}", finess=finess, domain=domain)
            store.write(partial(Writing.create_structure, new=new)).result()
        begun = time.perf_counter()
        for start in range(0, people, TOGETHER):
            store.write(partial(_some, start, made)).result()
        print(f"{people:,} people in {time.perf_counter() - begun:.0f} s", flush=True)


def _some(start: int, made: app_password.Verifiers, writing: Writing) -> None:
    now = writing.now()
    for number in range(start, start + TOGETHER):
        domain, finess = DOMAINS[number % 2], FINESS[number % 2]
        structure = writing.structure_by_number(finess)
        if structure is None:
            raise SystemExit("no structure")
        waits = number % WAITING_EVERY == 0
        state = PersonState.NOT_CERTIFIED if waits else PersonState.CERTIFIED
        usual = Address.parse(f"p{number}@chezelle.example")
        box = writing.add_box(
            Bal(
                BalId(0),
                Address(f"p{number}", domain),
                BalType.PER,
                person=state,
                national_id=f"8{rpps(number)}",
                usual_address=usual,
                structure=structure.id,
            )
        )
        new = NewPerson(
            usual,
            "Tartempion",
            "Zoé",
            state,
            f"8{rpps(number)}",
            "10",
            structure=structure.id,
        )
        person = writing.create_person(new, box.id)
        writing.add_app_password(person.account, "poste", made.argon2, made.scram)
        if waits:
            writing.mark_person(person.id, "pending_since", now)


@contextmanager
def served(settings: Settings, config: Path) -> Iterator[list[int]]:
    """The operator's server alone, by the command an operator uses."""
    command = [sys.executable, "-m", "mssmtp", "serve", "--config", str(config)]
    log = config.with_name("bench.log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        measured("start to ready", lambda: _greeted(settings))
        pids = tree(process.pid)
        time.sleep(3)
        print(f"largest worker after its start {peak_mebibytes(pids):.0f} MiB", flush=True)
        yield pids
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _greeted(settings: Settings) -> None:
    endpoint = settings.listen.imaps
    if endpoint is None:
        raise SystemExit("no IMAP port")
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with (
            suppress(OSError, imaplib.IMAP4.error),
            imaplib.IMAP4_SSL("127.0.0.1", endpoint.port, ssl_context=anybody),
        ):
            return
        time.sleep(0.02)
    raise SystemExit("the server did not start")


def asked(settings: Settings, config: Path, pids: list[int]) -> None:
    """What an administrator waits for, over the socket; then commands of their own."""
    desk = asking.desk_of(settings)
    half: dict[str, Json] = {"structure": FINESS[1]}
    calls: tuple[tuple[str, dict[str, Json]], ...] = (
        ("bal.list", {"limit": 100}),
        ("bal.list", {}),
        ("bal.list", {"after": 90_000}),
        ("person.list", {"limit": 100}),
        ("person.list", {"limit": 100, **half}),
        ("person.pending", {}),
        ("structure.list", {}),
        ("structure.show", half),
        ("person.show", {"person": "p777@chezelle.example"}),
        ("bal.show", {"address": "p777@chu-g.test"}),
        ("person.activity", {"person": "p777@chezelle.example"}),
        ("bal.red-list", {"address": "p777@chu-g.test", "on": True}),
        ("person.suspend", {"person": "p779@chezelle.example"}),
        ("person.resume", {"person": "p779@chezelle.example"}),
        ("structure.agree", {**half, "signed_by": "Zoé Tartempion", "at": "2026-01-05T00:00:00Z"}),
        ("structure.change", {**half, "name": "CHU G"}),
    )
    for name, input in calls:
        told = " ".join(f"{key}={value}" for key, value in input.items())[:24]
        measured(f"{name} {told}", partial(_said, desk, name, input), pids)
    for words in (("doctor",), ("store", "stats"), ("store", "check"), ("person", "pending")):
        command = [sys.executable, "-m", "mssmtp", *words, "--config", str(config)]
        measured(
            f"mssmtp {' '.join(words)}",
            partial(subprocess.run, command, cwd=ROOT, capture_output=True, check=False),
        )


def _said(desk: asking.Desk, name: str, input: dict[str, Json]) -> None:
    try:
        desk.row(name, input)
    except (OperationRefused, ConfigError) as error:
        print(f"  {name}: {error}", flush=True)


def logged_in(settings: Settings) -> None:
    """First logins of some, then again."""
    with closing(measured("opening the store", lambda: _store(settings, SystemClock()))) as store:
        first, known = asyncio.run(_logins(store, 300))
    print(f"login: first {first:.2f} ms of processor, known {known:.2f} ms", flush=True)


async def _logins(store: Store, count: int) -> tuple[float, float]:
    logins = Logins(Authenticator(store, SystemClock(), SystemEntropy()), "imap")
    peer = Peer("192.0.2.1", lambda: False)
    spent = []
    for _ in range(2):
        begun = time.process_time()
        for number in range(1, 1 + count):
            login = f"p{number * 321}@{DOMAINS[number * 321 % 2]}"
            await logins.enter(Credentials(login, PASSWORD), peer)
        spent.append((time.process_time() - begun) * 1e3 / count)
    logins.close()
    return spent[0], spent[1]


def days(settings: Settings, ahead: int) -> None:
    """What a day does: nothing is due; everybody is asked about, in `ahead` days; then again."""
    for what, later in (
        ("daily, nothing due", 0),
        ("daily, a week is over", ahead),
        ("again", ahead),
    ):
        clock = Ahead(later)
        with closing(_store(settings, clock)) as store:
            daily = Daily(store, settings.people, Desk.of(settings, clock), LocalRegister())
            print(measured(what, partial(daily.run, clock.now())))


if __name__ == "__main__":
    main()
