"""Our operator in a thread of the test's process: its real doors, relay, store and feed.

Built by `app.build` from a settings file, as a worker is. Only clock and DNS are the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from mssmtp import app
from mssmtp.accounts import NewBal, add_bal
from mssmtp.config import Settings
from mssmtp.config_example import Value
from mssmtp.demo.authority import Identity
from mssmtp.identity import app_password
from mssmtp.mail import Address, BalType, EnvelopeId
from mssmtp.storage import QueueEntry, Reading, Store, Writing
from mssmtp.trust import Trust
from tests.acceptance.space import Space
from tests.home import ENTROPY, PASSWORD, RPPS, ZOE, make_home
from tests.smtp_out.fakes import FakeResolver
from tests.smtp_out.peer import Peer, Script

T = TypeVar("T")
WITHIN_S = 40.0


class ShiftedClock:
    """The machine's clock, some time ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()


class Site:
    """The trust space's publications over HTTPS; a page that is not there is 404."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer(request.decode("latin-1")))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the feed gave up on a page that is too big
        finally:
            writer.close()

    def _answer(self, request: str) -> bytes:
        page = self.pages.get(request.split(" ", 2)[1])
        if page is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        tag = f'"{sha256(page).hexdigest()}"'
        if tag in request:
            return b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nETag: {tag}\r\n"
        return head.encode() + b"Connection: close\r\n\r\n" + page


@dataclass
class Ours:
    """The operator while it runs; every method may be called from the test's thread."""

    directory: Path
    space: Space
    more: Mapping[str, Value] = field(default_factory=dict)
    tables: str = ""
    """Text behind the settings file: `[[domains]]` tables."""
    also: tuple[tuple[str, str], ...] = ()
    """Further bindings of its list: (domain, name)."""
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    resolver: FakeResolver = field(default_factory=FakeResolver)
    site: Site = field(default_factory=Site)
    settings: Settings = field(init=False)
    store: Store = field(init=False)
    trust: Trust = field(init=False)
    rooms: app.Rooms = field(init=False)
    ports: dict[str, int] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _exposed: int = 0
    _submission: smtplib.SMTP | None = None

    # ------------------------------------------------------------ life

    def call(self, task: Coroutine[Any, Any, T], within_s: float = WITHIN_S) -> T:
        """Run `task` on the operator's loop."""
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(within_s)

    @contextmanager
    def running(self) -> Iterator[Ours]:
        """Everything started, the list and the CRLs in force; stopped at the end."""
        thread = threading.Thread(target=self._loop.run_forever, name="ours")
        thread.start()
        try:
            # What is built keeps its clock and resolver; other tests must not meet them.
            with (
                mock.patch.object(app, "CLOCK", self.clock),
                mock.patch.object(app, "DnsResolver", return_value=self.resolver),
                mock.patch.object(app_password, "COST", app_password.Cost(1, 8)),
            ):
                self.call(self._start())
            relay = asyncio.run_coroutine_threadsafe(self.rooms.relay.run(), self._loop)
            try:
                yield self
            finally:
                self._log_out()
                self.call(self._stop())
                relay.result(WITHIN_S)
                self.store.close()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(WITHIN_S)
            self._loop.close()

    async def _start(self) -> None:
        own = self.space.own
        files = own.write(self.directory / "web", "web")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate_file, files.key_file)
        self._web = await asyncio.start_server(self.site.serve, "127.0.0.1", 0, ssl=context)
        place = f"https://127.0.0.1:{self._web.sockets[0].getsockname()[1]}"
        addresses: dict[str, Value] = {
            "listen.operators": "127.0.0.1:0",
            "listen.submission": "127.0.0.1:0",
            "whitelist.url": f"{place}/liste.xml",
            "pki.crl_urls": tuple(f"{place}/{n}.crl" for n in range(len(self.space.crls()))),
        }
        home = make_home(
            self.directory / "home", self.space.authority, own, addresses | dict(self.more)
        )
        with home.config_file.open("a", encoding="utf-8") as file:
            file.write(self.tables)
        (home.directory / "certs" / "ca.pem").write_bytes(self.space.anchors_pem)
        self.settings = home.settings
        self.store = app.open_store(self.settings, "worker-0")
        await asyncio.to_thread(self._people)
        self.trust = app.untrusting(self.settings)
        self.rooms = app.build(self.settings, self.store, self.trust, "worker-0")
        self.publish_crls()
        self.publish(self.space.signed(*self.space.bindings, *self.also))
        await self.rooms.feed.tick()
        assert self.trust.snapshot.whitelist is not None
        for name, door in self.rooms.doors.items():
            sock = socket.create_server(("127.0.0.1", 0))
            self.ports[name] = sock.getsockname()[1]
            await door.start(sock)

    def _people(self) -> None:
        self.add_box(ZOE)

    def add_box(self, address: Address) -> None:
        """A box that may write to and receive from anybody; its password is PASSWORD."""
        add_bal(self.store, NewBal(address, BalType.PER, national_id="8" + RPPS), ENTROPY, PASSWORD)

    async def _stop(self) -> None:
        await asyncio.gather(*(door.stop(1.0) for door in self.rooms.doors.values()))
        await self.rooms.relay.stop(2.0)
        self._web.close()
        await self._web.wait_closed()

    # ------------------------------------------------------------ the trust space

    def publish(self, octets: bytes) -> None:
        """Put a list on the list server."""
        self.site.pages["/liste.xml"] = octets

    def publish_crls(self, ends: datetime | None = None) -> None:
        """Put fresh CRLs on their server."""
        for number, crl in enumerate(self.space.crls(ends=ends)):
            self.site.pages[f"/{number}.crl"] = crl

    def tick(self, ahead: timedelta = timedelta()) -> None:
        """Let `ahead` pass, then one round of the feed."""
        self.clock.ahead += ahead
        self.call(self.rooms.feed.tick())

    # ------------------------------------------------------------ inbound: a foreign client

    def connect(self) -> smtplib.SMTP:
        """A peer's connection to the operator door, after EHLO in clear."""
        client = smtplib.SMTP("127.0.0.1", self.ports["operators"], "mx.pair.test", WITHIN_S)
        client.ehlo()
        return client

    @contextmanager
    def peer(self, identity: Identity | None) -> Iterator[smtplib.SMTP]:
        """A peer that has presented `identity` and said EHLO again."""
        client = self.connect()
        try:
            client.starttls(context=client_context(identity, self.directory))
            client.ehlo()
            yield client
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()
            client.close()

    # ------------------------------------------------------------ outbound: a scripted server

    @contextmanager
    def exposed(self, domain: str, *servers: tuple[Identity, Script]) -> Iterator[tuple[Peer, ...]]:
        """Servers of `domain`, in order of preference, each with its certificate and script."""
        peers = tuple(self._peer(identity, script) for identity, script in servers)
        hosts = []
        for peer in peers:
            self.call(peer.__aenter__())
            self._exposed += 1
            hosts.append(f"mx{self._exposed}.{domain}")
            self.settings.smtp_out.ports[hosts[-1]] = peer.port
        self.resolver.hosts[domain] = tuple(hosts)
        try:
            yield peers
        finally:
            for peer in peers:
                self.call(peer.__aexit__())

    def _peer(self, identity: Identity, script: Script) -> Peer:
        return Peer(identity, self.space.authority, self.directory, script, weak=True)

    def submit(
        self, *recipients: str, text: bytes | None = None, sender: Address | None = ZOE
    ) -> str:
        """A letter of Zoé's over the submission door; the name of its envelope."""
        client = self._logged_in()
        assert client.docmd(f"MAIL FROM:<{sender or ''}>")[0] == 250
        for recipient in recipients:
            assert client.rcpt(recipient)[0] == 250, recipient
        code, said = client.data(text or letter(str(ZOE), *recipients))
        assert code == 250, said
        return said.decode("ascii").split()[-1]

    def list_again(self, *gone: str, also: tuple[tuple[str, str], ...] = ()) -> None:
        """Publish a newer list without the domains `gone`, and let it come into force."""
        date = self.trust.snapshot.list_date
        assert date is not None
        bindings = (*self.space.bindings, *self.also, *also)
        kept = [pair for pair in bindings if pair[0] not in gone]
        self.publish(self.space.signed(*kept, date=date + timedelta(minutes=1)))
        self.tick(timedelta(hours=2))
        listed = self.trust.snapshot.whitelist
        assert listed is not None
        assert listed.date == date + timedelta(minutes=1)

    def refusal_of(self, recipient: str) -> str:
        """What the submission door says to RCPT."""
        client = self._logged_in()
        client.mail(str(ZOE))
        said = answer(client.rcpt(recipient))
        client.rset()
        return said

    def sender_refusal(self, sender: Address) -> str:
        """What the submission door says to MAIL of the box `sender`, logged in as itself."""
        client = self.log_in(sender)
        said = answer(client.mail(str(sender)))
        client.quit()
        return said

    def _logged_in(self) -> smtplib.SMTP:
        if self._submission is None:
            self._submission = self.log_in(ZOE)
        return self._submission

    def log_in(self, box: Address) -> smtplib.SMTP:
        """A person's connection to the submission door, as the login of `box`."""
        client = smtplib.SMTP("127.0.0.1", self.ports["submission"], "poste", WITHIN_S)
        client.starttls(context=client_context(None, self.directory))
        client.login(str(box), PASSWORD)
        return client

    def _log_out(self) -> None:
        if self._submission is not None:
            self._submission.quit()

    # ------------------------------------------------------------ the store

    def queue(self) -> tuple[QueueEntry, ...]:
        """Every waiting recipient."""
        return self.store.read(lambda r: r.queue()).result(WITHIN_S)

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait, from commit to commit, until `condition` gives something."""
        committed = threading.Event()
        unsubscribe = self.store.subscribe(lambda changes: committed.set())
        try:
            deadline = time.monotonic() + WITHIN_S
            while (found := condition()) is None:
                assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}"
                committed.wait(0.05)
                committed.clear()
            return found
        finally:
            unsubscribe()

    def tried(self, recipient: str) -> QueueEntry:
        """The entry of `recipient` after its first failed attempt."""

        def found() -> QueueEntry | None:
            entries = [e for e in self.queue() if str(e.recipient.address) == recipient]
            assert entries, f"{recipient} is not queued any more"
            return next((e for e in entries if e.attempts and e.leased_by is None), None)

        return self.until(found, f"an attempt for {recipient}")

    def gone(self, recipient: str) -> None:
        """Wait until nobody waits for `recipient` any more."""

        def absent() -> bool | None:
            return (
                None if any(str(e.recipient.address) == recipient for e in self.queue()) else True
            )

        self.until(absent, f"{recipient} leaves the queue")

    def drop(self) -> None:
        """Forget whatever waits."""
        for name in {entry.envelope for entry in self.queue()}:
            self.store.write(partial(_dropped, name)).result(WITHIN_S)

    def inbox(self, box: Address = ZOE) -> list[bytes]:
        """Every message in the INBOX of one box."""

        def query(reading: Reading) -> list[bytes]:
            bal = reading.bal(box)
            assert bal is not None
            mailbox = reading.mailbox(bal.id, "INBOX")
            assert mailbox is not None
            return [reading.body(mailbox.id, row.uid) for row in reading.messages(mailbox.id)]

        return self.store.read(query).result(WITHIN_S)


def _dropped(name: EnvelopeId, writing: Writing) -> int:
    return writing.drop(name, "test")


def client_context(identity: Identity | None, directory: Path) -> ssl.SSLContext:
    """TLS of a foreign client that presents whatever it was given, however weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        files = identity.write(directory / "peers", f"{id(identity):x}")
        context.load_cert_chain(files.certificate_file, files.key_file)
    return context


def answer(said: tuple[int, bytes]) -> str:
    """A reply as one line, without what differs each time."""
    text = " ".join(said[1].decode("ascii").split())
    return f"{said[0]} {text.split(', enveloppe ')[0]}"


def letter(sender: str, *recipients: str, mark: str = "essai") -> bytes:
    """A small letter."""
    lines = [
        f"From: {sender}",
        f"To: {', '.join(recipients)}",
        f"Message-ID: <{ENTROPY.token_bytes(8).hex()}@essai.test>",
        f"Subject: {mark}",
        "",
        "Bonjour",
        "",
    ]
    return "\r\n".join(lines).encode()
