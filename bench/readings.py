"""What it costs to write down who has fetched which letter, in parts of the FETCH itself (DEF-06).

    python -m bench.readings [--messages 2000] [--rounds 9]

A day passes between two rounds, so that each FETCH of all bodies is the first of its day: every
letter is noted and in a row. The least of the rounds, processor time of the process: conversation
and store; and with what its octets cost under TLS, as a client gets them. Both without network,
which would make the part smaller. Goal: 2 %.
"""

from __future__ import annotations

import argparse
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.acceptance import message
from bench.connecting import certificate
from mssmtp import tls
from mssmtp.config import LimitSettings, StoreSettings, TlsSettings
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
from mssmtp.tls import Engine

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


@contextmanager
def encrypted(directory: Path) -> Iterator[Engine]:
    """The server's side of a TLS session with a client in memory."""
    files = certificate(directory, "p256")
    settings = TlsSettings(operators=(files,), users=files)
    engine = tls.server_context(settings, files, ask_certificate=False).engine()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    received, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(received, said)
    is_done = False
    while not is_done:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        engine.feed(said.read())
        is_done = engine.handshake()
        received.write(engine.take())
    yield engine


def measure(store: Store, clock: _Days, session: Session, engine: Engine) -> tuple[float, ...]:
    """Processor milliseconds of one FETCH, of TLS for what it sends, of noting what it has read and
    of writing that down."""
    noting = sealing = 0.0
    began = time.process_time()
    for effect in VERBS["FETCH"].parse(Cursor((FETCH,))).run(session, b"a"):
        if isinstance(effect, effects.Read):
            effect.answer(store.read(effect.query).result())
        elif isinstance(effect, effects.Refresh):
            effect.answer(effect.principal)  # once a day that passes
        elif isinstance(effect, effects.Send):
            before = time.process_time()
            engine.write(effect.octets)
            engine.take()
            sealing += time.process_time() - before
        elif isinstance(effect, effects.Note):
            before = time.process_time()
            store.noted.add(effect.account, effect.bal, effect.letters, "releve", clock.now())
            noting += time.process_time() - before
    fetched = time.process_time() - began - noting - sealing
    before = time.process_time()
    while store.noted:
        store.write(lambda writing: writing.record_readings()).result()
    writing = time.process_time() - before
    return tuple(each * 1_000 for each in (fetched, sealing, noting, writing))


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
            with encrypted(home) as engine:
                for _ in range(given.rounds):
                    clock.days += 1
                    figures.append(measure(store, clock, session, engine))
    fetch, sealing, noting, writing = (min(column) for column in zip(*figures, strict=True))
    record = noting + writing
    print(f"FETCH of {given.messages} bodies: {fetch:.1f} ms of processor; TLS {sealing:.1f} ms")
    print(
        f"writing down who has read them: {record:.2f} ms, {100 * record / fetch:.2f} %,"
        f" with TLS {100 * record / (fetch + sealing):.2f} %"
    )
    print(
        f"of it {noting:.2f} ms beside the FETCH, {writing:.2f} ms for one commit of all sessions"
    )


if __name__ == "__main__":
    main()
