"""The sockets of the administration: bound before the fork, opened when somebody knocks.

An HTTP server and the models of all operations are 20 MB that most workers never need.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mssmtp.errors import ConfigError

SOCKET = "admin.sock"
"""In `run` of the home."""
_BACKLOG = 64
_ROOT = 0


def bind_sockets(run: Path, open_to_all: Path | None = None) -> tuple[socket.socket, ...]:
    """The socket of a home, and one for the other users of the machine, bound before the workers
    are forked: they all accept from them. Raises ConfigError.

    Only the server's own user passes the directory and the mode of the first.
    """
    sockets = [_bound(run / SOCKET, 0o600)]
    if open_to_all is not None:
        try:
            sockets.append(_bound(open_to_all, 0o666))
        except ConfigError:
            sockets[0].close()
            raise
    return tuple(sockets)


def _bound(path: Path, mode: int) -> socket.socket:
    """Whoever may write to the directory could stand in for us: it is ours, and ours alone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(directory)
            if status.st_mode & 0o022 or status.st_uid not in (_ROOT, os.geteuid()):
                raise PermissionError(errno.EACCES, "others may write to its directory")
            path.unlink(missing_ok=True)  # of a server that was killed: we hold the home's lock
            # A path of a socket is 107 octets at most.
            sock.bind(f"/proc/self/fd/{directory}/{path.name}")
            path.chmod(mode)
        finally:
            os.close(directory)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(
            str(path), f"cannot be made ({error.strerror})", "Correct owner and modes."
        ) from error
    return sock


class Door(Protocol):
    """What is made at the first knock."""

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        ...


class Knocker:
    """Stands at the sockets until the first connection; then the door that `make` gives."""

    def __init__(self, make: Callable[[], Door]) -> None:
        self._make = make
        self._sockets: list[socket.socket] = []
        self._opening: asyncio.Task[Door] | None = None

    async def start(self, sock: socket.socket) -> None:
        """Wait at a bound socket; of several, one after the other."""
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._sockets.append(sock)
        asyncio.get_running_loop().add_reader(sock, self._knock)

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        if self._opening is not None:
            await (await self._opening).stop(grace_s)
            return
        self._leave()
        for sock in self._sockets:
            sock.close()

    def _leave(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _knock(self) -> None:
        """Who knocks waits in the backlog until the door is there."""
        if self._opening is None:
            self._leave()
            self._opening = asyncio.get_running_loop().create_task(self._open(), name="admin")

    async def _open(self) -> Door:
        door = await asyncio.to_thread(self._make)
        for sock in self._sockets:
            await door.start(sock)
        return door
