"""Ports for programs that are told where to listen before they do.

All lie below the ephemeral ports: one of those can become the near end of anybody's connection
between the moment it was found free and the moment it is listened on. What one test process takes
no other is given while the first lives: each port is an octet of one file, locked by who took it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import socket
import tempfile
from collections.abc import Sequence

_PORTS = range(10_000, 20_000)  # those of a demo begin above
_given: set[int] = set()


def free_ports(number: int) -> list[int]:
    """Ports that nobody holds and that were not given before."""
    found: list[int] = []
    begin = int.from_bytes(os.urandom(2), "big")  # runs beside each other look elsewhere first
    for index in range(len(_PORTS)):
        port = _PORTS[(begin + index) % len(_PORTS)]
        if take([port]):
            found.append(port)
            if len(found) == number:
                return found
    raise AssertionError("no free ports")


def take(ports: Sequence[int]) -> bool:
    """Make them this process's until it ends; False when one of them is held or was given."""
    if not _given.isdisjoint(ports):
        return False
    for index, port in enumerate(ports):
        if not (_lock(port) and _is_free(port)):
            for other in ports[: index + 1]:
                fcntl.lockf(_register(), fcntl.LOCK_UN, 1, other)
            return False
    _given.update(ports)
    return True


def _lock(port: int) -> bool:
    try:
        fcntl.lockf(_register(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):  # POSIX leaves the choice between these two
        return False
    return True


@functools.cache
def _register() -> int:
    """The file's descriptor. It is opened once: closing any would let go of every lock."""
    name = os.path.join(tempfile.gettempdir(), f"mssmtp-test-ports-{os.getuid()}")
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    """Whether a program may listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
