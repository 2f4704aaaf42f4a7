"""The door of the administration is made when somebody knocks."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from mssmtp.admin_sockets import SOCKET, Knocker, bind_sockets


class Greeter:
    """Says hello, and counts how often it was made."""

    def __init__(self) -> None:
        self.server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        self.server = await asyncio.start_unix_server(greet, sock=sock)

    async def stop(self, grace_s: float) -> None:
        if self.server is not None:
            self.server.close()


async def test_nothing_is_made_before_the_first_connection_and_that_one_is_served(
    tmp_path: Path,
) -> None:
    made: list[Greeter] = []

    def make() -> Greeter:
        made.append(Greeter())
        return made[-1]

    (sock,) = bind_sockets(tmp_path)
    knocker = Knocker(make)
    await knocker.start(sock)
    await asyncio.sleep(0)
    assert made == []
    for _ in range(2):
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        assert await reader.read() == b"hello"
        writer.close()
    assert len(made) == 1
    await knocker.stop(1.0)


async def test_a_door_that_nobody_knocked_at_ends_at_once(tmp_path: Path) -> None:
    (sock,) = bind_sockets(tmp_path)
    knocker = Knocker(Greeter)
    await knocker.start(sock)
    await knocker.stop(1.0)
    assert sock.fileno() == -1, "the socket is left open"
