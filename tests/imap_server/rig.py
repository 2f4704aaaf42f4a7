"""IMAP doors with real TLS and a real store on loopback, and a raw client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssmtp.config import (
    CertificateSettings,
    LimitSettings,
    OperatorSettings,
    PkiSettings,
    Settings,
    StoreSettings,
    TlsSettings,
)
from mssmtp.demo.authority import Authority, Identity
from mssmtp.identity import Authenticator
from mssmtp.identity.app_password import verifiers
from mssmtp.imap.session import Timing
from mssmtp.imap_server import ImapDoor
from mssmtp.mail import Address, BalType, Domain, Role
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store

ZOE = "zoe.tartempion@hopital-a.test"
LUC = "luc.bidule@hopital-a.test"
SERVICE = "radiologie@hopital-a.test"
PASSWORD = "correct horse battery staple 42"


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until `holds`."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a state of the transport has no event
            await asyncio.sleep(0)


class Raw:
    """A client that speaks octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._tag = 0

    async def line(self) -> bytes:
        """The next line, b"" at the end."""
        async with asyncio.timeout(10):
            return await self.reader.readline()

    async def send(self, octets: bytes) -> None:
        """Octets as they are."""
        self.writer.write(octets)
        await self.writer.drain()

    async def until(self, start: bytes) -> list[bytes]:
        """Lines up to the one that begins with `start`, or to the end."""
        lines = []
        while line := await self.line():
            lines.append(line)
            if line.startswith(start):
                break
        return lines

    async def command(self, text: bytes) -> list[bytes]:
        """A tagged command; all lines of its answer, the tagged one last."""
        self._tag += 1
        tag = b"r%d " % self._tag
        await self.send(tag + text + b"\r\n")
        return await self.until(tag)

    async def ok(self, text: bytes) -> list[bytes]:
        """A command that succeeds."""
        lines = await self.command(text)
        assert b" OK" in lines[-1], lines[-1]
        return lines

    async def login(self, who: str = ZOE) -> None:
        """LOGIN and SELECT INBOX."""
        await self.ok(b'LOGIN %b "%b"' % (who.encode(), PASSWORD.encode()))
        await self.ok(b"SELECT INBOX")

    async def ends(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def starttls(self, context: ssl.SSLContext) -> None:
        """STARTTLS and the handshake."""
        await self.ok(b"STARTTLS")
        await self.writer.start_tls(context, server_hostname="localhost")

    def close(self) -> None:
        self.writer.close()


@dataclass
class Rig:
    """A home with two people; doors are opened on it as workers would."""

    settings: Settings
    store: Store
    context: ssl.SSLContext
    timing: Timing = field(default_factory=lambda: Timing(wrong_password_s=0.0, refresh_s=0.0))
    raws: list[Raw] = field(default_factory=list)

    def limit(self, **limits: float) -> None:
        """Other limits, before a door is opened."""
        changed = self.settings.limits.model_copy(update=limits)
        self.settings = self.settings.model_copy(update={"limits": changed})

    @asynccontextmanager
    async def door(
        self, *, implicit_tls: bool = True, store: Store | None = None
    ) -> AsyncIterator[tuple[ImapDoor, int]]:
        """An open door and its port."""
        store = store or self.store
        clock = SystemClock()
        authenticator = Authenticator(store, clock, SystemEntropy())
        door = ImapDoor(
            self.settings,
            store,
            authenticator,
            clock,
            implicit_tls=implicit_tls,
            timing=self.timing,
        )
        sock = socket.create_server(("127.0.0.1", 0))
        await door.start(sock)
        try:
            yield door, sock.getsockname()[1]
        finally:
            for raw in self.raws:
                raw.close()
            await door.stop(2.0)

    async def raw(self, port: int, *, tls: bool = True) -> Raw:
        """A raw connection, greeting not read."""
        context = self.context if tls else None
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name, limit=1 << 20
        )
        made = Raw(reader, writer)
        self.raws.append(made)
        return made

    async def client(self, port: int, who: str = ZOE) -> Raw:
        """A raw connection, logged in, INBOX selected."""
        made = await self.raw(port)
        await made.line()
        await made.login(who)
        return made

    def team(self, count: int) -> list[str]:
        """So many people, each with a box of his own, who share that of the service."""
        checked = verifiers(PASSWORD, SystemEntropy())
        names = [f"membre{number}@hopital-a.test" for number in range(count)]

        def job(writing: Any) -> None:
            box = writing.create_bal(Address.parse(SERVICE), BalType.ORG, login=SERVICE)
            for number, name in enumerate(names):
                national_id = f"81000000{number:04}"
                writing.create_bal(
                    Address.parse(name), BalType.PER, national_id=national_id, login=name
                )
                account = writing.account(name)
                writing.add_app_password(account.id, "test", checked.argon2, checked.scram)
                writing.add_member(box.id, account.id, Role.SECRETAIRE)

        self.store.write(job).result()
        return names

    def dismiss(self, who: str) -> None:
        """A membership ends."""

        def job(writing: Any) -> None:
            box = writing.bal(Address.parse(SERVICE))
            writing.remove_member(box.id, writing.account(who).id)

        self.store.write(job).result()

    def deliver(
        self, octets: bytes, mailbox: str = "INBOX", store: Store | None = None, box: str = ZOE
    ) -> None:
        """A message arrives, in Zoé's box unless another is given."""
        store = store or self.store
        letter = store.seal(octets)

        def job(writing: Any) -> None:
            target = writing.mailbox(writing.bal(Address.parse(box)).id, mailbox)
            writing.append(target.id, letter, frozenset(), datetime.now(UTC))

        store.write(job).result()


def make_rig(authority: Authority, identity: Identity, directory: Path) -> Rig:
    """Two people with one password."""
    files = identity.write(directory, "own")
    anchors = directory / "anchors.pem"
    anchors.write_bytes(authority.anchors_pem)
    certificate = CertificateSettings(
        certificate_file=files.certificate_file, key_file=files.key_file
    )
    settings = Settings(
        operator=OperatorSettings(
            name="hopital-a", host_name=Domain("mx.hopital-a.test"), domains=("hopital-a.test",)
        ),
        store=StoreSettings(home=directory / "home", master_key_file=directory / "master.key"),
        tls=TlsSettings(operators=certificate, users=certificate),
        pki=PkiSettings(anchors_file=anchors),
        limits=LimitSettings(),
    )
    Store.create(settings.store, SystemClock(), SystemEntropy())
    store = Store(settings.store, SystemClock(), SystemEntropy())
    checked = verifiers(PASSWORD, SystemEntropy())

    def people(writing: Any) -> None:
        for address, number in ((ZOE, "810000000012"), (LUC, "810000000020")):
            writing.create_bal(
                Address.parse(address), BalType.PER, national_id=number, login=address
            )
            account = writing.account(address)
            writing.add_app_password(account.id, "test", checked.argon2, checked.scram)

    store.write(people).result()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Rig(settings, store, context)
