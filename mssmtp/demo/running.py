"""Start and stop what `space.py` has laid down: DNS, web sites, one server process per operator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from mssmtp.demo.dns import DnsServer
from mssmtp.demo.incidents import Incidents
from mssmtp.demo.space import (
    CRL_OFFSET,
    DNS_OFFSET,
    LIST_OFFSET,
    PSC_OFFSET,
    PSC_OPERATOR,
    PSC_SOFTWARE,
    Laid,
    Space,
    ports,
    psc_secret,
)
from mssmtp.demo.web import Site, https_context
from mssmtp.errors import ConfigError
from mssmtp.outside import SystemClock

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 15.0
_POLL_S = 0.05


class Server:
    """One operator's `mssmtp serve`, its log in the operator's home."""

    def __init__(self, laid: Laid, workers: int) -> None:
        self.laid = laid
        self._ready = laid.settings.store.home / "run" / "ready"
        self.log_file = laid.config_file.parent / "server.log"
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "mssmtp", "serve", "--config", str(laid.config_file)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, "--workers", str(workers)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until the doors listen. Raises ConfigError with the end of the log otherwise."""
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
        while not self._ready.exists():
            if self._process.poll() is not None or _now() > deadline:
                raise ConfigError(
                    f"operator {self.laid.plan.name}",
                    f"did not start: {_tail(self.log_file)}",
                    "If a port is in use, choose another --base-port.",
                )
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after a grace."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        deadline = _now() + STOPPED_WITHIN_S
        while self._process.poll() is None:
            if _now() > deadline:
                self._process.kill()
            await asyncio.sleep(_POLL_S)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _tail(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "no output"


def check_ports(base_port: int) -> None:
    """Raise ConfigError when a port of the space is taken, before seconds go into its keys."""
    for port in ports(base_port):
        with socket.socket() as probe:
            # As the servers do: what an earlier space has just closed is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigError(
                    f"port {port} of the demo",
                    f"cannot be used ({error.strerror})",
                    "Stop the demo that is running, or choose another --base-port.",
                ) from error


@contextlib.asynccontextmanager
async def running(space: Space, workers: int) -> AsyncIterator[tuple[Server, ...]]:
    """Everything up inside the block; nothing left running after it, whatever happened."""
    async with contextlib.AsyncExitStack() as stack:
        await _surroundings(space, stack)
        await stack.enter_async_context(Incidents(space, SystemClock()))
        servers = tuple(Server(laid, workers) for laid in space.operators)
        stack.push_async_callback(_stop_all, servers)
        await asyncio.gather(*(server.ready() for server in servers))
        yield servers


async def _surroundings(space: Space, stack: contextlib.AsyncExitStack) -> None:
    """DNS and the two web sites."""
    name_server = DnsServer(space.zone, port=space.base_port + DNS_OFFSET)
    await stack.enter_async_context(name_server)
    tls = https_context(space.web.certificate_file, space.web.key_file)
    for folder, offset, context in (
        (space.published, LIST_OFFSET, tls),
        (space.revocation, CRL_OFFSET, None),
    ):
        site = Site(folder, space.base_port + offset, context)
        stack.callback(site.close)
    await stack.enter_async_context(_provider(space, tls))


def _provider(space: Space, tls: ssl.SSLContext) -> contextlib.AbstractAsyncContextManager[object]:
    from mssmtp.demo.provider import Client, Provider  # a web framework, only where it runs

    def client(name: str, *, may_introspect: bool = False) -> Client:
        secret = psc_secret(space.directory, name).read_text("utf-8")
        return Client(name, secret, may_introspect)

    clients = client(PSC_OPERATOR, may_introspect=True), client(PSC_SOFTWARE)
    return Provider(space.base_port + PSC_OFFSET, tls, clients)


async def _stop_all(servers: tuple[Server, ...]) -> None:
    await asyncio.gather(*(server.stop() for server in servers))
