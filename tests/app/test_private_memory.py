"""Keys stay in the memory of the process that uses them (SEED-89, ATT-39)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65_534

_DROP = f"""
import os
if os.getuid() == 0:  # root may look at everything: the test takes its rights away
    os.setgid({NOBODY})
    os.setuid({NOBODY})
"""
_HOLDER = """
import ctypes, os, resource, socket, sys, threading
from mssmtp.hardening import keep_memory_private
{drop}
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user had closed it already
{harden}
directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def bind():
    own.bind(f"/proc/self/fd/{{directory}}/holder.wake")
thread = threading.Thread(target=bind)
thread.start()
thread.join()
print(os.path.exists(sys.argv[1] + "/holder.wake"), *resource.getrlimit(resource.RLIMIT_CORE))
sys.stdout.flush()
sys.stdin.read()
"""
_READER = f"""
import sys
{_DROP}
with open(f"/proc/{{sys.argv[1]}}/maps") as maps:
    start = int(next(line for line in maps if "[heap]" in line).split("-")[0], 16)
with open(f"/proc/{{sys.argv[1]}}/mem", "rb") as memory:
    memory.seek(start)
    print(len(memory.read(64)))
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that anybody can reach: the test's own may lie in root's."""
    path = Path("/dev/shm") / f"mssmtp-{os.getpid()}"  # noqa: S108
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    yield path
    for one in path.iterdir():
        one.unlink()
    path.rmdir()


def _read_by_another_process(place: Path, harden: str) -> tuple[str, str]:
    """What the holder said of itself, and what came of reading its memory."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER.format(drop=_DROP, harden=harden), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        said = holder.stdout.readline().strip()
        command = [sys.executable, "-c", _READER, str(holder.pid)]
        read = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        holder.communicate("")
    return said, read.stdout.strip() or read.stderr.strip().splitlines()[-1]


@pytest.mark.attack
@pytest.mark.requirement("SEED-89")
def test_att_39_the_memory_of_the_server_is_closed_to_its_own_user(place: Path) -> None:
    said, read = _read_by_another_process(place, "keep_memory_private()")
    assert said == "True 0 0"  # its own descriptors it reaches still, and it leaves no core
    assert read.startswith("PermissionError")


def test_the_memory_of_another_program_is_open_to_its_user(place: Path) -> None:
    """What the test above would see if nothing were done."""
    _, read = _read_by_another_process(place, "")
    assert read == "64"
