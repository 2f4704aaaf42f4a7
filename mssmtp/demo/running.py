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
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from mssmtp.app import endpoints
from mssmtp.demo.dns import DnsServer
from mssmtp.demo.incidents import Incidents
from mssmtp.demo.portal import PostOffice
from mssmtp.demo.space import (
    CRL_OFFSET,
    DNS_OFFSET,
    LIST_OFFSET,
    PSC_OFFSET,
    PSC_OPERATOR,
    PSC_SOFTWARE,
    RELAY_OFFSET,
    Laid,
    Space,
    ports,
    psc_secret,
)
from mssmtp.demo.web import Site, https_context
from mssmtp.errors import ConfigError
from mssmtp.outside import SystemClock

READY_WITHIN_S = 300.0
"""Five servers that start together on a busy machine; they are told of meanwhile."""
TELL_EVERY_S = 10.0
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

    @property
    def is_ready(self) -> bool:
        """Whether all its doors listen."""
        return self._ready.exists()

    async def ready(self) -> None:
        """Wait until the doors listen. Raises ConfigError: it has ended, and whether because of a
        port; or it runs and the machine was too slow for it."""
        deadline = _now() + READY_WITHIN_S
        while not self.is_ready:
            if self._process.poll() is not None:
                raise self._ended()
            if _now() > deadline:
                raise ConfigError(
                    f"operator {self.laid.plan.name}",
                    f"runs, but is not ready after {READY_WITHIN_S:.0f} s",
                    "The machine is too busy: try again when it is not.",
                )
            await asyncio.sleep(_POLL_S)

    def _ended(self) -> ConfigError:
        """It has let go of its own ports: what is taken now is somebody else's."""
        what = f"operator {self.laid.plan.name}"
        for door, endpoint in endpoints(self.laid.settings).items():
            if _why_taken(endpoint.port):
                return ConfigError(
                    what,
                    f"port {endpoint.port} ({door}) is taken",
                    "Stop what listens there, or choose another --base-port.",
                )
        return ConfigError(
            what, f"has ended: {_tail(self.log_file)}", f"Its log is {self.log_file}."
        )

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
        if why := _why_taken(port):
            raise ConfigError(
                f"port {port} of the demo",
                f"cannot be used ({why})",
                "Stop the demo that is running, or choose another --base-port.",
            )


def _why_taken(port: int) -> str:
    """Why nobody can listen there; "": one can."""
    with socket.socket() as probe:
        # As the servers do: what an earlier space has just closed is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or "no reason"
    return ""


@contextlib.asynccontextmanager
async def running(
    space: Space, workers: int, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[tuple[Server, ...]]:
    """Everything up inside the block; nothing left running after it, whatever happened.

    `tell`: of a long start.
    """
    async with contextlib.AsyncExitStack() as stack:
        await _surroundings(space, stack)
        await stack.enter_async_context(Incidents(space, SystemClock()))
        servers = tuple(Server(laid, workers) for laid in space.operators)
        stack.push_async_callback(_stop_all, servers)
        await all_ready(servers, tell)
        yield servers


async def all_ready(servers: Sequence[Server], tell: Callable[[str], None]) -> None:
    """Wait for all of them, and say so when it takes long. Raises ConfigError."""
    waits = [asyncio.ensure_future(server.ready()) for server in servers]
    began, told = _now(), _now()
    try:
        while not all(wait.done() for wait in waits):
            done, _ = await asyncio.wait(waits, timeout=_POLL_S)
            for wait in done:
                wait.result()
            if _now() - told >= TELL_EVERY_S:
                told = _now()
                names = ", ".join(each.laid.plan.name for each in servers if not each.is_ready)
                tell(
                    f"{told - began:.0f} s: not ready yet: {names}. They run; the machine is busy."
                )
        for wait in waits:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _surroundings(space: Space, stack: contextlib.AsyncExitStack) -> None:
    """DNS, the two web sites, the identity provider, the ordinary mail of people."""
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
    office = PostOffice(space.service_mail, space.base_port + RELAY_OFFSET)
    await stack.enter_async_context(office)


def _provider(space: Space, tls: ssl.SSLContext) -> contextlib.AbstractAsyncContextManager[object]:
    from mssmtp.demo.provider import Client, Provider  # a web framework, only where it runs

    def client(name: str, *, may_introspect: bool = False) -> Client:
        secret = psc_secret(space.directory, name).read_text("utf-8")
        return Client(name, secret, may_introspect)

    clients = client(PSC_OPERATOR, may_introspect=True), client(PSC_SOFTWARE)
    return Provider(space.base_port + PSC_OFFSET, tls, clients)


async def _stop_all(servers: tuple[Server, ...]) -> None:
    await asyncio.gather(*(server.stop() for server in servers))
