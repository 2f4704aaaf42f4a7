"""One home with its structures, administrators and doors, shared by the tests of this folder.

Two structures of two regions, each with an administrator known by a certificate, a doctor's box and
an ORG box. Tests that change something change only what they made.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp.admin import Office
from mssmtp.admin.operation import Json
from mssmtp.admin_server import AdminDoor, Guard
from mssmtp.admin_sockets import bind_sockets
from mssmtp.asking import Desk, Remote, desk_at, desk_of
from mssmtp.demo.authority import Authority, CertificateFiles, Identity, Make, Subject
from mssmtp.mail import Actor, AdminLevel, Structure, StructureId
from mssmtp.pki import Role
from mssmtp.revocation import judge_chain
from mssmtp.storage import Administrator, Store, Writing
from mssmtp.tls_settings import OneCertificate
from mssmtp.tls_stdlib import http_context
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN
from tests.home import CLOCK, ENTROPY, Home, make_home, put_boxes

FINESS_A, FINESS_B = "690000013", "380000010"
NAMES = ("dsi A", "dsi B", "region 84", "operateur")


@dataclass(frozen=True, slots=True)
class Person:
    """An administrator with a certificate of their own."""

    actor: Actor
    identity: Identity
    files: CertificateFiles

    @property
    def sha256(self) -> str:
        return self.identity.certificate.fingerprint(hashes.SHA256()).hex()


@pytest.fixture(scope="session")
def home(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    home = make_home(tmp_path_factory.mktemp("admin") / "home", authority, healthy[A_DOMAIN])
    put_boxes(home)
    return home


@pytest.fixture(scope="session")
def store(home: Home) -> Iterator[Store]:
    with home.store() as store:
        yield store


@pytest.fixture(scope="session")
def structures(store: Store) -> tuple[Structure, Structure]:
    def job(writing: Writing) -> tuple[Structure, Structure]:
        a = Structure(StructureId(0), "Hôpital A", FINESS_A, region="84")
        b = Structure(StructureId(0), "Clinique B", FINESS_B, region="93")
        return writing.create_structure(a), writing.create_structure(b)

    return store.write(job).result()


@pytest.fixture(scope="session")
def people(
    authority: Authority,
    structures: tuple[Structure, Structure],
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Person]:
    """By name; all in office."""
    a, b = structures
    directory = tmp_path_factory.mktemp("administrators")
    actors = (
        Actor(AdminLevel.STRUCTURE, NAMES[0], structure=a.id),
        Actor(AdminLevel.STRUCTURE, NAMES[1], structure=b.id),
        Actor(AdminLevel.REGION, NAMES[2], region="84"),
        Actor(AdminLevel.OPERATOR, NAMES[3]),
    )
    found = {}
    for number, actor in enumerate(actors):
        subject = Subject(f"dsi{number}.test", f"19900000{number:02}", f"DSI {number}")
        identity = authority.issue(subject, Make())
        found[actor.name] = Person(actor, identity, identity.write(directory, f"dsi{number}"))
    for each in found.values():
        new = Administrator(each.actor, certificate=each.sha256)
        store.write(lambda w, new=new: w.add_administrator(new)).result()  # type: ignore[misc]
    return found


@pytest.fixture
def run(home: Home) -> Path:
    run = home.settings.store.home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    return run


@pytest.fixture
async def door(home: Home, store: Store, run: Path) -> AsyncIterator[AdminDoor]:
    """On the socket of the home."""
    door = AdminDoor(Office(store, home.settings, CLOCK, ENTROPY))
    [sock] = bind_sockets(run)
    await door.start(sock)
    yield door
    await door.stop(5)


@pytest.fixture
async def tls_door(home: Home, store: Store, snapshot: Snapshot) -> AsyncIterator[str]:
    """Over TLS; its address."""
    settings = home.settings

    def judge(certificate: x509.Certificate) -> None:
        judge_chain((certificate,), snapshot.anchors, snapshot.revocation, Role.CLIENT, CLOCK.now())

    presenter = OneCertificate(settings.tls.users)
    guard = Guard(http_context(settings.tls, presenter, settings.pki.anchors_file), judge)
    door = AdminDoor(Office(store, settings, CLOCK, ENTROPY), guard)
    sock = socket.create_server(("127.0.0.1", 0))
    await door.start(sock)
    yield f"https://localhost:{sock.getsockname()[1]}"
    await door.stop(5)


Ask = Callable[..., Awaitable[object]]


def asking(desk: Desk) -> Ask:
    """An operation, as a command asks for it."""

    async def asked(operation: str, /, **input: Json) -> object:
        return await asyncio.to_thread(desk._ask, operation, input)

    return asked


@pytest.fixture
def ask(home: Home) -> Ask:
    """As the operator, on this machine."""
    return asking(desk_of(home.settings))


@pytest.fixture
def ask_as(
    home: Home, tls_door: str, people: dict[str, Person]
) -> Callable[[CertificateFiles], Ask]:
    """As whose certificate it is."""

    def made(files: CertificateFiles) -> Ask:
        anchors = home.settings.pki.anchors_file
        remote = Remote(tls_door, files.certificate_file, files.key_file, anchors)
        return asking(desk_at(remote))

    return made
