"""The files of the counters: in memory, gone with the server, also one that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mssmtp import metrics_place
from mssmtp.metrics_place import MetricsPlace

LONG_AGO = 1_000_000_000


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "shm"
    found.mkdir()
    monkeypatch.setattr(metrics_place, "MEMORY", found)
    return found


def test_it_is_in_memory_for_us_alone_and_leaves_nothing(memory: Path, tmp_path: Path) -> None:
    place = MetricsPlace(tmp_path / "run")
    assert place.directory.parent == memory
    assert place.directory.stat().st_mode & 0o777 == 0o700
    place.remove()
    assert not list(memory.iterdir())
    assert not (tmp_path / "run").exists()


def test_without_memory_the_home_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_place, "MEMORY", tmp_path / "none")
    place = MetricsPlace(tmp_path / "run")
    left = place.directory / "counter_1.db"
    left.write_bytes(b"of an earlier server")
    own = place.directory / f"counter_{os.getpid()}.db"
    own.write_bytes(b"")
    place.clean()
    assert not left.exists()
    assert own.exists()
    place.remove()
    assert place.directory == tmp_path / "run"


def test_what_a_killed_server_left_is_swept_and_what_a_living_one_holds_is_not(
    memory: Path, tmp_path: Path
) -> None:
    living = MetricsPlace(tmp_path / "run")
    code = (
        "import os, pathlib, sys\n"
        "from mssmtp import metrics_place\n"
        "metrics_place.MEMORY = pathlib.Path(sys.argv[1])\n"
        "print(metrics_place.MetricsPlace(pathlib.Path('/nowhere')).directory)\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(memory)], capture_output=True, text=True, check=False
    )
    killed = Path(done.stdout.strip())
    assert killed.exists()
    for each in (living.directory, killed):
        os.utime(each, (LONG_AGO, LONG_AGO))
    MetricsPlace(tmp_path / "run").remove()
    assert not killed.exists()
    assert living.directory.exists()
    living.remove()
