"""Real doors of persons and of systems on a real store, an issuer that answers at once."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mssmtp.bearers import Bearers
from mssmtp.config import Settings
from mssmtp.config_tokens import PscSettings
from mssmtp.demo.authority import CLIENT_ONLY, Authority, Identity, Make, Subject
from mssmtp.identity import Authenticator
from mssmtp.identity.tokens import Rules
from mssmtp.imap.session import Timing
from mssmtp.imap_server import ImapDoor
from mssmtp.introspection import Introspection
from mssmtp.mail import Bal, BalId
from mssmtp.managesieve import SieveDoor
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.own import OwnKeys
from mssmtp.policy.engine import Engine
from mssmtp.smtp_in import OperatorDoor, SubmissionDoor
from mssmtp.smtp_lookup import Services
from mssmtp.storage import Store
from mssmtp.system_doors import SystemImapDoor, SystemSubmissionDoor
from mssmtp.systems import Systems
from mssmtp.trust import Snapshot, Trust
from tests.imap_server.rig import Raw
from tests.smtp_in.rig import Wire
from tests.smtp_in.rig import make_rig as smtp_rig
from tests.tokens.people import People
from tests.tokens.test_introspection import ISSUER, Issuer

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
DPI = Subject("dpi.hopital-a.test", "1990000017", "CENTRE HOSPITALIER DE VALMONT")
OTHER_DPI = Subject("dpi.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")
Door = SubmissionDoor | ImapDoor | SieveDoor | OperatorDoor


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def xoauth2(box: object, token: str) -> str:
    return b64(f"user={box}\x01auth=Bearer {token}\x01\x01")


@dataclass
class House:
    """One operator."""

    settings: Settings
    authority: Authority
    trust: Trust
    store: Store
    people: People
    issuer: Issuer
    directory: Path
    dpi: Identity
    other: Identity

    @property
    def services(self) -> Services:
        introspection = Introspection(self.issuer, Rules(ISSUER), CLOCK)
        return Services(
            self.settings,
            self.store,
            self.trust,
            Engine(self.settings.policy, self.settings.limits),
            Authenticator(self.store, CLOCK, ENTROPY),
            CLOCK,
            ENTROPY,
            OwnKeys(self.settings, self.trust, CLOCK),
            bearers=Bearers(introspection, self.store),
            systems=Systems(self.trust, self.store, CLOCK),
        )

    def bind(self, identity: Identity, bal: Bal) -> int:
        """`identity` opens `bal`."""
        from mssmtp.systems import system_of

        system = system_of(identity.certificate)
        return self.store.write(
            lambda w: w.bind_box("certificate", system.fingerprint, BalId(bal.id))
        ).result()

    def unbind(self, number: int) -> None:
        self.store.write(lambda w: w.unbind(number)).result()

    def client(self, identity: Identity | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity is not None:
            name = str(identity.certificate.serial_number)
            files = identity.write(self.directory / "peers", name)
            context.load_cert_chain(files.certificate_file, files.key_file)
        return context

    @asynccontextmanager
    async def opened(self, *doors: Door) -> AsyncIterator[list[int]]:
        ports = []
        try:
            for door in doors:
                sock = socket.create_server(("127.0.0.1", 0))
                await door.start(sock)
                ports.append(sock.getsockname()[1])
            yield ports
        finally:
            for door in doors:
                await door.stop(0.5)

    def submission(self) -> SubmissionDoor:
        return SubmissionDoor(self.services, implicit_tls=True)

    def imap(self, *, implicit_tls: bool = True) -> ImapDoor:
        services = self.services
        return ImapDoor(
            self.settings,
            self.store,
            services.authenticator,
            CLOCK,
            implicit_tls=implicit_tls,
            timing=Timing(wrong_password_s=0.0, refresh_s=0.0),
            bearers=services.bearers,
        )

    def app_submission(self) -> SystemSubmissionDoor:
        return SystemSubmissionDoor(self.services, implicit_tls=True)

    def app_imap(self) -> SystemImapDoor:
        door = SystemImapDoor(self.services, implicit_tls=True)
        door.timing = Timing(wrong_password_s=0.0, refresh_s=0.0)
        return door

    @asynccontextmanager
    async def smtp(self, port: int, identity: Identity | None = None) -> AsyncIterator[Wire]:
        async with await Wire.connect(port, self.client(identity)) as wire:
            assert (await wire.reply()).startswith("220 ")
            assert (await wire.say("EHLO lps.test")).startswith("250")
            yield wire

    @asynccontextmanager
    async def raw(self, port: int, identity: Identity | None = None) -> AsyncIterator[Raw]:
        import asyncio

        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=self.client(identity), server_hostname="localhost"
        )
        raw = Raw(reader, writer)
        try:
            yield raw
        finally:
            raw.close()


def make_house(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot, directory: Path
) -> House:
    settings = smtp_rig(authority, healthy, snapshot, directory).settings
    secret = directory / "psc.secret"
    secret.write_text("secret-of-the-registration")
    secret.chmod(0o600)
    psc = PscSettings(
        issuer=ISSUER,
        introspection_url="https://psc.example/introspect",
        client_id="mssmtp",
        client_secret_file=secret,
        anchors_file=directory / "anchors.pem",
    )
    home = settings.store.model_copy(update={"home": directory / "store"})
    settings = settings.model_copy(update={"psc": psc, "store": home})
    Store.create(settings.store, CLOCK, ENTROPY)
    store = Store(settings.store, CLOCK, ENTROPY)
    return House(
        settings,
        authority,
        Trust(snapshot),
        store,
        People(store),
        Issuer(CLOCK),
        directory,
        authority.issue(DPI, Make(usages=CLIENT_ONLY)),
        authority.issue(OTHER_DPI, Make(usages=CLIENT_ONLY)),
    )
