"""A trust space for a benchmark, and the CPU time of one operator's processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
_READY_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Account:
    """A login of the space."""

    address: str
    password: str


@dataclass(frozen=True, slots=True)
class Operator:
    """What a benchmark needs of one operator."""

    home: Path
    certificate_file: str
    key_file: str
    smtp_port: int
    imaps_port: int
    accounts: tuple[Account, ...]

    @property
    def processes(self) -> list[int]:
        """The supervisor and its workers."""
        return tree(self._supervisor())

    def _supervisor(self) -> int:
        needle = str(self.home / "mssmtp.toml").encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if needle in line and b"serve" in line and _parent(int(entry.name)) != 1:
                    parent = _parent(int(entry.name))
                    if needle not in _cmdline(parent):
                        return int(entry.name)
        raise SystemExit("the server's process is not found")


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if _parent(int(entry.name)) == pid:
                    found += tree(int(entry.name))
            except OSError:
                continue
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of the processes so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(int(_stat(pid)[11]) + int(_stat(pid)[12]) for pid in pids) / ticks


def thread_seconds(pid: int) -> list[float]:
    """Processor time so far of a process's threads: the first one's, then the others' from the
    busiest down."""
    spent = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            spent[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return [spent.pop(pid), *sorted(spent.values(), reverse=True)]


def peak_mebibytes(pids: list[int]) -> float:
    """Largest resident size any of the processes has had."""
    peaks = []
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]) / 1024)
    return max(peaks)


@contextmanager
def space(base_port: int, accounts: int, workers: int) -> Iterator[dict[str, Operator]]:
    """Start `mssmtp demo --no-exchange`, yield its operators by name, stop it."""
    with (
        tempfile.TemporaryDirectory(prefix="mssmtp-bench-") as folder,
        space_in(Path(folder), base_port, accounts, workers) as operators,
    ):
        yield operators


@contextmanager
def space_in(
    folder: Path, base_port: int, accounts: int, workers: int
) -> Iterator[dict[str, Operator]]:
    """The same in a directory that stays."""
    command = [sys.executable, "-m", "mssmtp", "demo", "--directory", str(folder), "--no-exchange"]
    options = {"--base-port": base_port, "--accounts": accounts, "--workers": workers}
    for option, value in options.items():
        command += [option, str(value)]
    log = folder / "demo.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)
    try:
        yield _operators(_wait(folder / "manifest.json", process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(manifest: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, object]:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if manifest.exists():
            return cast(dict[str, object], json.loads(manifest.read_text()))
        time.sleep(0.1)
    raise SystemExit(f"the trust space did not start:\n{log.read_text()}")


def _operators(manifest: dict[str, object]) -> dict[str, Operator]:
    found = {}
    for item in cast(list[dict[str, object]], manifest["operators"]):
        smtp, imap = cast(dict[str, int], item["smtp"]), cast(dict[str, int], item["imap"])
        accounts = cast(list[dict[str, str]], item["accounts"])
        found[str(item["name"])] = Operator(
            Path(str(item["home"])),
            str(item["certificate_file"]),
            str(item["key_file"]),
            smtp["port"],
            imap["port_tls"],
            tuple(Account(a["address"], a["password"]) for a in accounts),
        )
    return found


def row(title: str, rates: list[float], cpu_ms: list[float], peak: float) -> str:
    """One printed line: medians with the spread of the rounds."""
    return (
        f"{title:<34} {median(rates):>9.0f}/s  ({min(rates):.0f}–{max(rates):.0f})"
        f"   CPU {median(cpu_ms):.3f} ms ({min(cpu_ms):.3f}–{max(cpu_ms):.3f})"
        f"   peak {peak:.0f} MiB"
    )
