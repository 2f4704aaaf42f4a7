"""One door on a loopback port with real TLS, one store, one clock that stands still."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from mssmtp.admin import Office
from mssmtp.config import Settings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.identity import app_password, portal_password
from mssmtp.identity.guesses import Guesses
from mssmtp.mail import AccountId, Address, BalType, Person, PersonState, StructureId
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from mssmtp.web import showing
from mssmtp.web.door import WebDoor
from mssmtp.web.opening import opened
from mssmtp.web.page import Page
from mssmtp.web.pages import ALL
from tests.authority import A_DOMAIN
from tests.home import ENTROPY, make_home
from tests.identity.fakes import Clock
from tests.web.browser import Browser

PASSWORD = "Abcdef1"
PORTAL = "https://portail.hopital-a.test"
QUICK = app_password.Cost(1, 8)


@dataclass
class Place:
    """A door and what is behind it."""

    settings: Settings
    store: Store
    clock: Clock
    entropy: SystemEntropy
    anchors: Path
    door: WebDoor
    loop: asyncio.AbstractEventLoop
    url: str = ""
    has_stopped: bool = False
    browsers: list[Browser] = field(default_factory=list)

    def stop(self) -> None:
        """Browsers first, as it mostly is not."""
        for browser in self.browsers:
            browser.close()
        if not self.has_stopped:
            asyncio.run_coroutine_threadsafe(self.door.stop(5.0), self.loop).result()
        self.has_stopped = True

    def person(
        self,
        usual: str,
        password: str = PASSWORD,
        state: PersonState = PersonState.CERTIFIED,
        structure: StructureId | None = None,
        national_id: str | None = None,
    ) -> AccountId:
        """Somebody with a MED box and a password."""

        def job(writing: Writing) -> Person:
            address = Address.parse(usual)
            new = NewPerson(
                address, "Tartempion", "Zoé", national_id=national_id, structure=structure
            )
            person = writing.create_person(new)
            local = usual.partition("@")[0]
            box = writing.create_bal(Address.parse(f"{local}@{A_DOMAIN}"), BalType.MED)
            writing.give_box(person.account, box.id)
            writing.set_person_state(person.id, state)
            made = portal_password.hashed(password, self.entropy)
            writing.set_portal_password(person.account, made)
            return person

        account = self.store.write(job).result().account
        self.clock.advance(1)
        return account

    def code(self) -> str:
        """The last code that was mailed."""
        return self.mailed("code")[-1]["code"]

    def mailed(self, kind: str) -> list[dict[str, str]]:
        """What the service mails of a kind say, oldest first."""
        found = self.store.read(lambda r: r.waiting_notices()).result()
        return [
            {name: str(value) for name, value in each.values.items()}
            for each in found
            if each.kind == kind
        ]

    def browser(self) -> Browser:
        """A new one, closed with the door."""
        context = ssl.create_default_context(cafile=str(self.anchors))
        self.browsers.append(Browser(self.url, context, self.code))
        return self.browsers[-1]


@pytest.fixture(scope="module", autouse=True)
def _quick_hash() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portal_password, "COST", QUICK)
        yield


class Compiled(BytecodeCache):
    """Templates as one door has compiled them, for the doors of the other modules."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._codes:
            bucket.bytecode_from_string(self._codes[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showing, "Environment", partial(Environment, bytecode_cache=Compiled()))
        yield


@pytest.fixture(scope="session")
def web_settings(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    more = {
        "listen.web": "127.0.0.1:0",
        "listen.imaps": "127.0.0.1:993",
        "listen.submission": "127.0.0.1:587",
        "web.certificate_file": "certs/operator.pem",
        "web.key_file": "certs/operator.key",
        "notices.relay_host": "127.0.0.1",
        "notices.relay_tls": "none",
        "notices.portal_url": PORTAL,
    }
    directory = tmp_path_factory.mktemp("web") / "home"
    return make_home(directory, authority, healthy[A_DOMAIN], more).settings


@pytest.fixture(scope="module")
def make_place(web_settings: Settings) -> Iterator[Callable[..., Place]]:
    """Doors on the one store of the module, each in a loop of its own."""
    clock, entropy = Clock(), ENTROPY
    store = Store(web_settings.store, clock, entropy, worker="web", tells=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-web")
    thread.start()
    places: list[Place] = []

    def make(settings: Settings, pages: Iterable[Page] = ALL) -> Place:
        office = Office(store, settings, clock, entropy)
        door = opened(office, Guesses.alone(entropy), pages)
        sock = socket.create_server(("127.0.0.1", 0))
        asyncio.run_coroutine_threadsafe(door.start(sock), loop).result()
        url = f"https://localhost:{sock.getsockname()[1]}"
        anchors = settings.pki.anchors_file
        places.append(Place(settings, store, clock, entropy, anchors, door, loop, url))
        return places[-1]

    try:
        yield make
    finally:
        for each in places:
            each.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        problems = store.check().problems
        store.close()
    assert problems == ()


@pytest.fixture(scope="module")
def place(make_place: Callable[..., Place], web_settings: Settings) -> Place:
    return make_place(web_settings)


@pytest.fixture
def browser(place: Place) -> Browser:
    return place.browser()
