"""The demo's trust space as other tests use it: started as a program, found by its manifest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 40.0
_PORTS_PER_SPACE = 5_000


@dataclass(frozen=True, slots=True)
class Account:
    """One login of the manifest."""

    address: str
    password: str
    bal_type: str
    state: str


@dataclass(frozen=True)
class Operator:
    """One operator of the manifest."""

    raw: dict[str, Any]

    @property
    def home(self) -> Path:
        return Path(self.raw["home"])

    @property
    def config_file(self) -> Path:
        return Path(self.raw["config_file"])

    @property
    def certificate(self) -> tuple[str, str]:
        """(certificate file, key file)."""
        return self.raw["certificate_file"], self.raw["key_file"]

    @property
    def smtp(self) -> int:
        return int(self.raw["smtp"]["port"])

    @property
    def submission(self) -> int:
        return int(self.raw["submission"]["port_starttls"])

    @property
    def submissions(self) -> int:
        return int(self.raw["submission"]["port_tls"])

    @property
    def imap(self) -> int:
        return int(self.raw["imap"]["port_starttls"])

    @property
    def imaps(self) -> int:
        return int(self.raw["imap"]["port_tls"])

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        return tuple(
            Account(a["address"], a["password"], a["bal_type"], a["state"])
            for a in self.raw["accounts"]
        )

    def of_type(self, bal_type: str, state: str = "certified") -> Account:
        """The first account of that type and state."""
        return next(a for a in self.accounts if (a.bal_type, a.state) == (bal_type, state))


@dataclass(frozen=True)
class RunningSpace:
    """The manifest, while the demo runs."""

    manifest: dict[str, Any]
    process: subprocess.Popen[bytes]

    def operator(self, name: str) -> Operator:
        return Operator(next(o for o in self.manifest["operators"] if o["name"] == name))

    @property
    def a(self) -> Operator:
        return self.operator("hopital-a")

    @property
    def b(self) -> Operator:
        return self.operator("cabinet-b")

    @property
    def directory(self) -> Path:
        return Path(self.manifest["directory"])

    @property
    def ca_file(self) -> str:
        return str(self.manifest["ca_file"])

    def test_certificate(self, name: str) -> tuple[str, str]:
        """(certificate file, key file) of one that must be refused."""
        files = self.manifest["test_certificates"][name]
        return files["certificate_file"], files["key_file"]

    def user_context(self) -> ssl.SSLContext:
        """TLS of a mail client that has imported the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        return context

    def peer_context(self, certificate: tuple[str, str] | None) -> ssl.SSLContext:
        """TLS of another operator, with its certificate or without one."""
        context = self.user_context()
        context.check_hostname = False
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


@contextmanager
def run_space(
    directory: Path, *, workers: int = 1, accounts: int = 3, extra: tuple[str, ...] = ()
) -> Iterator[RunningSpace]:
    """Start the demo in `directory` on free ports, yield it ready, stop it whatever happens."""
    command = [sys.executable, "-m", "mssmtp", "demo", "--directory", str(directory)]
    command += ["--no-exchange", "--base-port", str(free_base_port())]
    command += ["--workers", str(workers), "--accounts", str(accounts), *extra]
    log = directory.with_name(directory.name + ".log")
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)
    try:
        yield RunningSpace(_wait(directory / "manifest.json", process, log), process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPED_WITHIN_S)
        finally:
            process.kill()
            process.wait(10)


def _wait(manifest: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if manifest.exists():
            found: dict[str, Any] = json.loads(manifest.read_text())
            return found
        time.sleep(0.1)
    raise AssertionError(f"the space did not start: {log.read_text()[-4000:]}")


def free_base_port() -> int:
    """A base port whose whole range looks free; parallel test processes look in other ranges."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for start in range(20_100 + 53 * worker, 26_000, 211):
        if all(_is_free(start + 1000 * i + offset) for i in range(5) for offset in (25, 53, 993)):
            return start
    raise AssertionError("no free range of ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def program(name: str) -> str:
    """Path of a foreign program; the test is skipped by name without it, never in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        message = f"{name} is not installed: as root, ./run test installs it"
        if os.environ.get("MSSMTP_NOTHING_SKIPPED"):
            pytest.fail(message)
        pytest.skip(message)
    return found
