"""Logins a second of one core, by a password that was right before and by a first one.

    python -m bench.logins [--people 200] [--seconds 3]

Process time, not wall time: the machine may be busy. The goal is 500 a second (CL-24, issue of the
people): a hospital's mail programs reconnect all day.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from mssmtp.config import StoreSettings
from mssmtp.identity import Authenticator, Credentials, app_password
from mssmtp.logins import Logins, Peer
from mssmtp.mail import Address, BalType
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store, Writing

PASSWORD = "abcdefghjkmnpqrstuvw"


def filled(home: Path, people: int) -> Store:
    """A store with so many people, who share one verifier."""
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, SystemClock(), SystemEntropy())
    store = Store(settings, SystemClock(), SystemEntropy())
    made = app_password.verifiers(PASSWORD, SystemEntropy())

    def job(writing: Writing) -> None:
        for number in range(people):
            login = f"p{number}@hopital-a.test"
            writing.create_bal(
                Address.parse(login), BalType.PER, national_id=f"81{number:010}", login=login
            )
            account = writing.account(login)
            if account is not None:
                writing.add_app_password(account.id, "poste", made.argon2, made.scram)

    store.write(job).result()
    return store


async def measure(store: Store, people: int, seconds: float) -> tuple[float, float]:
    """Processor milliseconds of a first login, and of one that is known."""
    logins = Logins(Authenticator(store, SystemClock(), SystemEntropy()), "imap")
    peer = Peer("192.0.2.1", lambda: False)

    async def enter(number: int) -> None:
        await logins.enter(Credentials(f"p{number % people}@hopital-a.test", PASSWORD), peer)

    first = time.process_time()
    for number in range(people):
        await enter(number)
    begun, count = time.process_time(), 0
    while time.process_time() - begun < seconds:
        await asyncio.gather(*(enter(count + number) for number in range(20)))
        count += 20
    ended = time.process_time()
    logins.close()
    return (begun - first) * 1_000 / people, (ended - begun) * 1_000 / count


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store = filled(Path(directory) / "home", given.people)
        first, known = asyncio.run(measure(store, given.people, given.seconds))
        store.close()
    print(f"first login  {first:7.2f} ms of processor")  # noqa: T201
    print(f"known login  {known:7.2f} ms, {1_000 / known:,.0f} a second of one core")  # noqa: T201


if __name__ == "__main__":
    main()
