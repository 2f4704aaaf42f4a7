"""A full disk stops no worker through its metrics (D9)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.workers.test_metrics import process

WORK = """
for code in range(2000):
    metrics.refused.labels("operators", str(code), "full").inc()
assert metrics.refused.labels("operators", "7", "full")._value.get() == 1
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB; root only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("no right to mount here")
    yield tmp_path
    # Lazily: a test that failed still holds its store open.
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_space_for_metrics_is_taken_when_they_are_shared(tmp_path: Path) -> None:
    process(tmp_path)
    files = list(tmp_path.glob("*.db"))
    assert files
    for file in files:
        assert file.stat().st_blocks * 512 >= file.stat().st_size > 0


def fill(disk: Path) -> None:
    """Until nothing more fits."""
    with suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))


def test_a_worker_starts_on_a_full_disk(small_disk: Path) -> None:
    """Without room reserved, touching a page of such a file is a SIGBUS."""
    fill(small_disk)
    process(small_disk, f"\n{WORK}")
    assert not list(small_disk.glob("*.db"))


def test_a_disk_that_fills_up_ends_no_worker(small_disk: Path) -> None:
    filling = "from tests.workers.test_full_disk import fill; fill(pathlib.Path(sys.argv[1]))"
    process(small_disk, f"\n{filling}\n{WORK}")
    assert list(small_disk.glob("*.db"))
