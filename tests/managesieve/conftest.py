"""A home with two people and the box of a service, and doors on it."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.identity import Authenticator, app_password
from mssmtp.managesieve import SieveDoor
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.imap_server.rig import PASSWORD, ZOE, Rig, make_rig


@dataclass
class Wire:
    """A client that speaks octets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rig: Rig

    async def line(self) -> str:
        async with asyncio.timeout(10):
            return (await self.reader.readline()).decode()

    async def answer(self) -> str:
        """Lines up to OK, NO or BYE, which is the last; literals count as lines."""
        found = ""
        while line := await self.line():
            found += line
            if line.startswith(("OK", "NO", "BYE")):
                break
        return found

    async def say(self, octets: bytes) -> str:
        """One command without its CRLF; all of the answer."""
        self.writer.write(octets + b"\r\n")
        await self.writer.drain()
        return await self.answer()

    async def secure(self) -> str:
        """STARTTLS; what is announced then."""
        assert (await self.say(b"STARTTLS")).startswith("OK")
        await self.writer.start_tls(self.rig.context, server_hostname="localhost")
        return await self.answer()

    async def log_in(self, who: str = ZOE, password: str = PASSWORD) -> str:
        await self.secure()
        token = base64.b64encode(f"\0{who}\0{password}".encode())
        return await self.say(b'AUTHENTICATE "PLAIN" "' + token + b'"')

    async def ends(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(10):
            return await self.reader.read()


@dataclass
class House:
    """The rig with ManageSieve doors."""

    rig: Rig
    wires: list[Wire] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.rig.store

    @asynccontextmanager
    async def door(self) -> AsyncIterator[int]:
        """An open door's port."""
        authenticator = Authenticator(self.store, SystemClock(), SystemEntropy())
        door = SieveDoor(self.rig.settings, self.store, authenticator)
        sock = socket.create_server(("127.0.0.1", 0))
        await door.start(sock)
        try:
            yield sock.getsockname()[1]
        finally:
            for wire in self.wires:
                wire.writer.transport.abort()
            await door.stop(2.0)
            assert not door.connections

    async def wire(self, port: int) -> Wire:
        """A connection; its greeting was read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        made = Wire(reader, writer, self.rig)
        self.wires.append(made)
        await made.answer()
        return made

    async def client(self, port: int, who: str = ZOE) -> Wire:
        """A connection, logged in."""
        made = await self.wire(port)
        assert (await made.log_in(who)).startswith("OK")
        return made


@pytest.fixture(scope="module")
def rig(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    patch = pytest.MonkeyPatch()
    patch.setattr(app_password, "COST", app_password.Cost(1, 8))
    directory = Path(tmp_path_factory.mktemp("managesieve"))
    made = make_rig(authority, healthy["hopital-a.test"], directory)
    made.team(1)
    yield made
    assert made.store.check(deep=True).problems == ()
    made.store.close()
    patch.undo()


@pytest.fixture
def house(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("mssmtp.managesieve_session.WRONG_S", 0.0)
    return House(rig)
