"""The demo's trust space as other tests use it: started as a program, found by its manifest."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mssmtp.cli import main
from mssmtp.config import load
from mssmtp.demo.space import METRICS_OFFSET, PLANS, ports
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from tests.free_ports import take
from tests.postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 40.0
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Account:
    """One login of the manifest."""

    address: str
    password: str
    bal_type: str
    state: str

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True, slots=True)
class Ended:
    """A command line that has run: exit code and both outputs."""

    code: int
    stdout: str
    stderr: str


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
    def domain(self) -> str:
        return str(self.raw["domains"][0])

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def metrics(self) -> int:
        """Port of the metrics page."""
        return self.smtp - 25 + METRICS_OFFSET

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

    def doctor(self, number: int) -> Account:
        """The account of a certified PER box, counted from 0: tests that change boxes differ."""
        return [a for a in self.accounts if (a.bal_type, a.state) == ("PER", "certified")][number]

    @contextmanager
    def store(self) -> Iterator[Store]:
        """This operator's store, opened in the test's own process beside the running server."""
        settings = load(self.config_file).store
        with closing(Store(settings, SystemClock(), SystemEntropy(), worker="tests")) as store:
            yield store

    def command(self, *arguments: str) -> Ended:
        """`mssmtp ARGUMENTS --config …` on this home by its entry point, in this process.

        A process of its own would cost 1.5 s of imports each time.
        """
        output, errors = io.StringIO(), io.StringIO()
        line = ["mssmtp", *arguments, "--config", str(self.config_file)]
        with redirect_stdout(output), redirect_stderr(errors), patch.object(sys, "argv", line):
            try:
                main()
            except SystemExit as end:
                return Ended(int(end.code or 0), output.getvalue(), errors.getvalue())
        return Ended(0, output.getvalue(), errors.getvalue())

    def of_type(self, bal_type: str, state: str = "certified") -> Account:
        """The first account of that type and state."""
        return next(a for a in self.accounts if (a.bal_type, a.state) == (bal_type, state))


@dataclass(frozen=True)
class RunningSpace:
    """The manifest, while the demo runs."""

    manifest: dict[str, Any]
    process: subprocess.Popen[bytes] | None
    temporary: Path
    """TMPDIR of every process of the space."""
    database: Cluster | None = None
    """Where the rows are, when not in SQLite."""

    def operator(self, name: str) -> Operator:
        return Operator(next(o for o in self.manifest["operators"] if o["name"] == name))

    @property
    def a(self) -> Operator:
        return self.operator("hopital-a")

    @property
    def b(self) -> Operator:
        return self.operator("cabinet-b")

    @property
    def patients(self) -> Operator:
        return self.operator("patient")

    @property
    def apicrypt(self) -> Operator:
        return self.operator("apicrypt")

    @property
    def guest(self) -> tuple[str, str]:
        """(certificate file, key file) of guest.test: listed, and nobody behind its MX."""
        raw = self.manifest["guest"]
        return raw["certificate_file"], raw["key_file"]

    @property
    def hospital(self) -> tuple[str, str]:
        """(certificate file, key file) of the mail server of chu-g.test, not listed itself."""
        raw = self.manifest["hospital"]
        return raw["certificate_file"], raw["key_file"]

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


def attach(directory: Path) -> RunningSpace:
    """A space somebody else has started, and will stop."""
    return RunningSpace(
        json.loads((directory / "manifest.json").read_text()),
        None,
        directory.with_name(directory.name + "-tmp"),
    )


@contextmanager
def run_space(
    directory: Path,
    *,
    workers: int = 1,
    accounts: int = 3,
    extra: tuple[str, ...] = (),
    database: Cluster | None = None,
) -> Iterator[RunningSpace]:
    """Start the demo in `directory` on free ports, yield it ready, stop it whatever happens."""
    temporary = directory.with_name(directory.name + "-tmp")
    temporary.mkdir(exist_ok=True)
    arguments = ["--directory", str(directory), "--no-exchange"]
    arguments += ["--workers", str(workers), "--accounts", str(accounts), *extra]
    for attempt in range(_ATTEMPTS):
        if database is not None:
            arguments = [*arguments, "--database", databases_for_all(database)]
        process, log = start_demo(arguments, temporary)
        try:
            manifest = wait_ready(directory, process, log)
            break
        except DemoEnded:
            # Another process may have taken a port between the look and the start.
            if attempt + 1 == _ATTEMPTS:
                raise
            if directory.exists():  # a port that is taken is told before anything is written
                shutil.rmtree(directory)
    try:
        yield RunningSpace(manifest, process, temporary, database)
    finally:
        stop_demo(process)


def databases_for_all(cluster: Cluster) -> str:
    """An empty database for each operator; what `--database` takes."""
    for plan in PLANS:
        cluster.drop_database(plan.name)
        cluster.new_database(plan.name)
    return cluster.url("{}")


class DemoEnded(AssertionError):
    """The demo ended before it was ready; the end of its output says why."""


def start_demo(arguments: list[str], temporary: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """`mssmtp demo ARGUMENTS` on free ports, TMPDIR `temporary`, output into the file."""
    command = [sys.executable, "-m", "mssmtp", "demo", "--base-port", str(free_base_port())]
    log = temporary.with_suffix(".log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(temporary), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    return process, log


def wait_ready(directory: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """The manifest, once everything listens. Raises DemoEnded."""
    deadline = time.monotonic() + READY_WITHIN_S
    manifest = directory / "manifest.json"
    while not manifest.exists():
        if process.poll() is not None:
            raise DemoEnded(log.read_text()[-4000:])
        if time.monotonic() > deadline:
            stop_demo(process)
            raise AssertionError(f"not ready in {READY_WITHIN_S} s: {log.read_text()[-4000:]}")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(manifest.read_text())
    return found


def stop_demo(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, its exit code; SIGKILL when it does not end in time."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOPPED_WITHIN_S)
    finally:
        process.kill()
        process.wait(10)


def free_base_port() -> int:
    """A base port whose whole range is free and was not given before.

    All of it lies below the ephemeral ports, which any client may hold.
    """
    starts = range(20_100, 27_000, 31)
    begin = int.from_bytes(os.urandom(2), "big")  # runs beside each other look elsewhere first
    for index in range(len(starts)):
        start = starts[(begin + index) % len(starts)]
        if take(ports(start)):
            return start
    raise AssertionError("no free range of ports")


def program(name: str) -> str:
    """Path of a foreign program; the test is skipped by name without it, never in CI."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = (os.environ["PATH"], "/usr/sbin", "/sbin", *map(str, versions))
    found = shutil.which(name, path=":".join(places))
    if found is None:
        message = f"{name} is not installed: as root, ./run test installs it"
        if os.environ.get("MSSMTP_NOTHING_SKIPPED"):
            pytest.fail(message)
        pytest.skip(message)
    return found
