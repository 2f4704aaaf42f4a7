"""Doors with real TLS, trust and policy on loopback, over a fake store."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from mssmtp.antivirus import Clamd
from mssmtp.config import Settings
from mssmtp.config_senders import MachineSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.gateways import NO_GATEWAYS, Gateways
from mssmtp.identity import Authenticator, app_password
from mssmtp.mail import Address, BalType
from mssmtp.outside import SystemEntropy
from mssmtp.own import OwnKeys
from mssmtp.policy.engine import Engine
from mssmtp.rates import Rates
from mssmtp.responder import Responder
from mssmtp.smtp_in import (
    ApplianceDoor,
    GatewayDoor,
    OperatorDoor,
    Services,
    SubmissionDoor,
)
from mssmtp.storage import Store
from mssmtp.trust import Snapshot, Trust
from tests.smtp_in.fakes import PASSWORD, ZOE, FakeLogins, FakeStore, people, per, zoe

APP_BOX = Address.parse("scanner@hopital-a.test")
SCANNER: dict[str, object] = {
    "name": "scanner-radio",
    "box": str(APP_BOX),
    "addresses": ["127.0.0.0/28", "::1/128"],
    "password_hash": app_password.verifiers(PASSWORD, SystemEntropy()).argon2,
}
WAIT_S = 10.0
"""How long a client of these tests waits for anything."""


class NowClock:
    """The machine's wall clock: certificates of the tests are valid now."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Rig:
    """One operator's doors and what stands behind them."""

    settings: Settings
    authority: Authority
    healthy: dict[str, Identity]
    trust: Trust
    directory: Path
    store: FakeStore = field(default_factory=lambda: FakeStore(people()))
    logins: FakeLogins = field(default_factory=lambda: FakeLogins(zoe()))
    responder: Responder | None = field(default=None, kw_only=True)
    gateways: Gateways = field(default=NO_GATEWAYS, kw_only=True)
    antivirus: Clamd | None = field(default=None, kw_only=True)
    rates: Rates | None = field(default=None, kw_only=True)

    def limit(self, **limits: float) -> None:
        """Other limits, before a door is opened."""
        changed = self.settings.limits.model_copy(update=limits)
        self.settings = self.settings.model_copy(update={"limits": changed})

    @property
    def b(self) -> Identity:
        """The certificate of cabinet-b.test."""
        return self.healthy["cabinet-b.test"]

    @property
    def services(self) -> Services:
        return Services(
            self.settings,
            cast(Store, self.store),
            self.trust,
            Engine(self.settings.policy, self.settings.limits),
            cast(Authenticator, self.logins),
            NowClock(),
            SystemEntropy(),
            OwnKeys(self.settings, self.trust, NowClock()),
            self.responder,
            self.antivirus,
            gateways=self.gateways,
            rates=self.rates,
        )

    def client(self, identity: Identity | None) -> ssl.SSLContext:
        """A peer's TLS; `identity` None presents no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity is not None:
            files = identity.write(
                self.directory / "peers", str(identity.certificate.serial_number)
            )
            context.load_cert_chain(files.certificate_file, files.key_file)
        return context

    @asynccontextmanager
    async def operators(self) -> AsyncIterator[tuple[OperatorDoor, int]]:
        async with self._open(OperatorDoor(self.services)) as opened:
            yield cast("tuple[OperatorDoor, int]", opened)

    @asynccontextmanager
    async def hospitals(self) -> AsyncIterator[tuple[GatewayDoor, int]]:
        async with self._open(GatewayDoor(self.services)) as opened:
            yield cast("tuple[GatewayDoor, int]", opened)

    @asynccontextmanager
    async def submission(
        self, *, implicit_tls: bool = False
    ) -> AsyncIterator[tuple[SubmissionDoor, int]]:
        async with self._open(SubmissionDoor(self.services, implicit_tls=implicit_tls)) as opened:
            yield cast("tuple[SubmissionDoor, int]", opened)

    @asynccontextmanager
    async def appliances(
        self, *, implicit_tls: bool = False, **changes: object
    ) -> AsyncIterator[tuple[ApplianceDoor, int]]:
        """The door of one scanner, whose record is `SCANNER` with `changes`."""
        record = MachineSettings.model_validate(SCANNER | changes)
        self.settings = self.settings.model_copy(update={"machines": (record,)})
        self.store.bals[APP_BOX] = per(9, APP_BOX, type=BalType.APP)
        async with self._open(ApplianceDoor(self.services, implicit_tls=implicit_tls)) as opened:
            yield cast("tuple[ApplianceDoor, int]", opened)

    @asynccontextmanager
    async def _open(
        self, door: OperatorDoor | SubmissionDoor | ApplianceDoor | GatewayDoor
    ) -> AsyncIterator[tuple[OperatorDoor | SubmissionDoor | ApplianceDoor | GatewayDoor, int]]:
        sock = socket.create_server(("127.0.0.1", 0))
        await door.start(sock)
        try:
            yield door, sock.getsockname()[1]
        finally:
            await door.stop(0.2)
            assert self.store.open_writers == 0, "a writer was left open"


def make_rig(
    authority: Authority,
    healthy: dict[str, Identity],
    snapshot: Snapshot,
    directory: Path,
) -> Rig:
    files = healthy["hopital-a.test"].write(directory, "own")
    anchors = directory / "anchors.pem"
    anchors.write_bytes(authority.anchors_pem)
    certificate = {
        "certificate_file": str(files.certificate_file),
        "key_file": str(files.key_file),
    }
    settings = Settings.model_validate(
        {
            "operator": {
                "name": "hopital-a",
                "host_name": "mx.hopital-a.test",
                "domains": ["hopital-a.test"],
            },
            "store": {"home": str(directory), "master_key_file": str(directory / "key")},
            "tls": {"operators": certificate, "users": certificate},
            "pki": {"anchors_file": str(anchors)},
            "policy": {
                "patient_domains": ["patient.test"],
                "apicrypt": {
                    "domains": ["medical*.apicrypt.test"],
                    "interop_domain": "interop.apicrypt.test",
                },
            },
        }
    )
    return Rig(settings, authority, healthy, Trust(snapshot), directory)


async def greeted(rig: Rig, port: int, identity: Identity | None = None) -> Wire:
    """A peer that is connected, encrypted and has said EHLO."""
    wire = await Wire.connect(port)
    assert (await wire.reply()).startswith("220 mx.hopital-a.test ESMTP")
    await wire.say("EHLO mx.cabinet-b.test")
    await wire.start_tls(rig.client(identity))
    assert "250" in await wire.say("EHLO mx.cabinet-b.test")
    return wire


async def logged_in(rig: Rig, port: int) -> Wire:
    """A person's mail program after AUTH, on port 587."""
    wire = await greeted(rig, port)
    token = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode()).decode()
    assert (await wire.say(f"AUTH PLAIN {token}")).startswith("235 2.7.0")
    return wire


class Wire:
    """A raw SMTP client: octets out, whole replies in. Never waits without a limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def reply(self) -> str:
        """One reply, lines joined by newlines; empty at the end of the connection."""
        lines: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), WAIT_S)).decode("ascii")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, line: str | bytes) -> str:
        """One command, its reply."""
        self.send(line)
        return await self.reply()

    def send(self, line: str | bytes) -> None:
        octets = line if isinstance(line, bytes) else line.encode() + b"\r\n"
        self.writer.write(octets)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        assert (await self.say("STARTTLS")).startswith("220 ")
        await self.writer.start_tls(context)

    async def is_closed(self) -> bool:
        """The server has closed, and said nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(1), WAIT_S) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
