"""One home and its door, shared by the tests of this folder: none of them damages it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mssmtp.admin import Office
from mssmtp.admin.operation import Json
from mssmtp.admin_server import AdminDoor, bind_socket
from mssmtp.asking import Desk
from mssmtp.demo.authority import Authority, Identity
from mssmtp.storage import Store
from tests.authority import A_DOMAIN
from tests.home import CLOCK, ENTROPY, Home, make_home, put_boxes


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


@pytest.fixture
def run(home: Home) -> Path:
    run = home.settings.store.home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    return run


@pytest.fixture
async def door(home: Home, store: Store, run: Path) -> AsyncIterator[AdminDoor]:
    async with opened(home, store, run) as door:
        yield door


@asynccontextmanager
async def opened(home: Home, store: Store, run: Path) -> AsyncIterator[AdminDoor]:
    """The door on the socket of the home."""
    door = AdminDoor(Office(store, home.settings, CLOCK, ENTROPY))
    await door.start(bind_socket(run))
    try:
        yield door
    finally:
        await door.stop(5)


Ask = Callable[..., Awaitable[object]]


@pytest.fixture
def ask(home: Home) -> Ask:
    """An operation, as a command asks for it."""

    async def asked(name: str, **input: Json) -> object:
        return await asyncio.to_thread(Desk(home.settings)._ask, name, input)

    return asked
