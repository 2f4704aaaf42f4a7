"""What a server's processes take of the machine, and leave on it."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]


def servers(space: RunningSpace) -> Iterator[Path]:
    """/proc of every process that serves an operator of the space."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and any(str(space.directory).encode() in word for word in words):
            yield process


def limit(process: Path, name: str) -> list[str]:
    """Soft and hard."""
    lines = (process / "limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).split()[-3:-1]


def test_att_41_servers_may_open_all_the_files_the_system_allows(space: RunningSpace) -> None:
    found = list(servers(space))
    assert len(found) >= 10
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert {tuple(limit(each, "Max open files")) for each in found} == {(str(most), str(most))}


def test_att_39_no_crash_writes_a_core_file(space: RunningSpace) -> None:
    for process in servers(space):
        lines = (process / "limits").read_text().splitlines()
        assert next(x for x in lines if x.startswith("Max core file size")).split()[4] == "0"


def is_open_to_others(path: Path) -> bool:
    try:
        # Of a link, that where it leads: its own mode means nothing.
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except FileNotFoundError:  # a server at work
        return False


def test_att_39_nothing_in_a_store_is_for_others(space: RunningSpace) -> None:
    for operator in (space.a, space.b):
        assert list(filter(is_open_to_others, (operator.home / "store").rglob("*"))) == []
