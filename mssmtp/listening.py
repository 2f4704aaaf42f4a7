"""Ports: a socket of its own for each worker on one that all share, or words for why not."""

from __future__ import annotations

import errno
import socket

from mssmtp.config import Endpoint
from mssmtp.errors import ConfigError


def bind(door: str, endpoint: Endpoint) -> socket.socket:
    """A socket of this worker's own on a port all workers share; not listening yet.

    Raises ConfigError naming door, address and port.
    """
    return _bound(door, endpoint, share=True)


def probe(door: str, endpoint: Endpoint) -> None:
    """With SO_REUSEPORT another program of the same user could own half of the port unseen."""
    if endpoint.port != 0:
        _bound(door, endpoint, share=False).close()


def _bound(door: str, endpoint: Endpoint, *, share: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unbindable(door, endpoint, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if not share:
            sock.listen(1)  # between two sockets with SO_REUSEADDR only listening conflicts
    except OSError as error:
        sock.close()
        raise _unbindable(door, endpoint, error) from error
    return sock


_BIND_ERRORS = {
    errno.EADDRINUSE: (
        "the port is in use",
        "Stop the program that holds it (`ss -ltnp`) or choose another port.",
    ),
    errno.EACCES: (
        "ports below 1024 need a right",
        "Grant CAP_NET_BIND_SERVICE, or choose a port above 1023.",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine does not have that address",
        "Correct `host`; 0.0.0.0 is every IPv4 address.",
    ),
}


def _unbindable(door: str, endpoint: Endpoint, error: OSError) -> ConfigError:
    why, remedy = _BIND_ERRORS.get(
        error.errno or 0, (error.strerror or str(error), "Correct `host` and `port`.")
    )
    return ConfigError(f"listen.{door}: {endpoint.host} port {endpoint.port}", why, remedy)
