"""Ports for programs that are told where to listen before they do.

All lie below the ephemeral ports: one of those can become the near end of anybody's connection
between the moment it was found free and the moment it is listened on.
"""

from __future__ import annotations

import os
import socket

_PORTS = range(10_000, 20_000)  # those of a demo begin above
_given: set[int] = set()


def free_ports(number: int) -> list[int]:
    """Ports that nobody holds and that were not given before by this process."""
    found: list[int] = []
    begin = int.from_bytes(os.urandom(2), "big")  # runs beside each other look elsewhere first
    for index in range(len(_PORTS)):
        port = _PORTS[(begin + index) % len(_PORTS)]
        if port not in _given and is_free(port):
            _given.add(port)
            found.append(port)
            if len(found) == number:
                return found
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    """Whether a program may listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
