"""What it costs to write down who has fetched which letter, in parts of the FETCH itself (DEF-06).

    python -m bench.readings [--messages 2000] [--rounds 9]

A day passes between two rounds, so that each FETCH of all bodies is the first of its day: every
letter is noted and a row of its own. The least of the rounds, processor time of the process:
conversation and store, without TLS and network, which would make the part smaller. Goal: 2 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.acceptance import message
from mssmtp.config import LimitSettings, StoreSettings
from mssmtp.imap import effects
from mssmtp.imap.commands import VERBS
from mssmtp.imap.numbers import View
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import AccountId, Address, BalType, ModSeq
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.model import Mailbox

LOGIN = "zoe.tartempion@hopital-a.test"
FETCH = b"1:* (UID BODY.PEEK[])"


class _Days:
    """A clock that goes on by days."""

    def __init__(self) -> None:
        self.days = 0

    def now(self) -> datetime:
        """Noon."""
        return datetime(2026, 1, 5, 12, tzinfo=UTC) + timedelta(days=self.days)

    def monotonic(self) -> float:
        """As `now`."""
        return 86_400.0 * self.days


def filled(store: Store, messages: int) -> tuple[AccountId, Selected]:
    """A person with so many letters of 4 KB."""
    sealed = [store.seal(message(LOGIN, LOGIN, 4_096)[:-3]) for _ in range(messages)]

    def job(writing: Writing) -> None:
        person = Address.parse(LOGIN)
        box = writing.create_bal(person, BalType.PER, national_id="810000000012", login=LOGIN)
        inbox = writing.mailbox(box.id, "INBOX")
        if inbox is None:
            raise SystemExit("no INBOX")
        for letter in sealed:
            writing.append(inbox.id, letter, frozenset(), writing.now())

    def look(reading: Reading) -> tuple[AccountId, Mailbox, list[int]]:
        box, account = reading.bal(Address.parse(LOGIN)), reading.account(LOGIN)
        inbox = reading.mailbox(box.id, "INBOX") if box else None
        if inbox is None or account is None:
            raise SystemExit("the box is not there")
        return account.id, inbox, list(reading.uids(inbox.id))

    store.write(job).result()
    account, inbox, uids = store.read(look).result()
    return account, Selected(inbox, True, View(uids), ModSeq(0), ModSeq(0))


def measure(store: Store, clock: _Days, session: Session) -> tuple[float, float]:
    """Processor milliseconds of one FETCH, and of noting and writing down what it has read."""
    noting = 0.0
    began = time.process_time()
    for effect in VERBS["FETCH"].parse(Cursor((FETCH,))).run(session, b"a"):
        if isinstance(effect, effects.Read):
            effect.answer(store.read(effect.query).result())
        elif isinstance(effect, effects.Note):
            before = time.process_time()
            store.noted.add(effect.account, effect.mailbox, effect.uids, effect.kind, clock.now())
            noting += time.process_time() - before
    fetched = time.process_time() - began - noting
    before = time.process_time()
    while store.noted:
        store.write(lambda writing: writing.record_readings()).result()
    return fetched * 1_000, (noting + time.process_time() - before) * 1_000


def main() -> None:
    """Print both, and the part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    clock = _Days()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        settings = StoreSettings(home=home / "home", master_key_file=home / "master.key")
        Store.create(settings, clock, SystemEntropy())
        with closing(Store(settings, clock, SystemEntropy())) as store:
            account, selected = filled(store, given.messages)
            store.settle()
            session = Session(LimitSettings(), clock, secure=True)
            session.log_in(store.read(lambda reading: reading.principal(account)).result())
            session.select(selected)
            figures = []
            for _ in range(given.rounds):
                clock.days += 1
                figures.append(measure(store, clock, session))
    fetch, record = (min(column) for column in zip(*figures, strict=True))
    print(f"FETCH of {given.messages} bodies: {fetch:.1f} ms of processor")
    print(f"writing down who has read them: {record:.2f} ms, {100 * record / fetch:.2f} %")


if __name__ == "__main__":
    main()
