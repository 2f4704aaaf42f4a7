"""The preloaded shim (`shim.c`): built when needed, steered from the process it sits in."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_NEVER = 1 << 40


class Kind(IntEnum):
    """What a call changes; the numbers of `shim.c`."""

    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    SYNC_DIRECTORY = 4
    CREATE = 5
    LINK = 6
    UNLINK = 7
    RENAME = 8
    MKDIR = 9
    RMDIR = 10
    MARK = 11


DIED = 86
"""Exit status of a process that died at its call."""


def build(folder: Path) -> Path:
    """Compile the shim into `folder`. Raises FileNotFoundError, CalledProcessError."""
    library = folder / "shim.so"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, _SOURCE, "-lpthread"],
        check=True,
        capture_output=True,
        text=True,
    )
    return library


def preloaded(library: Path) -> dict[str, str]:
    """The environment of a process that the shim sits in."""
    return {**os.environ, "LD_PRELOAD": str(library)}


class Shim:
    """The shim of this process. Raises AttributeError when it was not preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.shim_watch.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        self._library.shim_die.argtypes = [ctypes.c_long, ctypes.c_long]
        self._library.shim_fail.argtypes = [
            ctypes.c_long,
            ctypes.c_long,
            ctypes.c_int,
            ctypes.c_uint,
        ]
        self._library.shim_lie.argtypes = [ctypes.c_uint]
        self._library.shim_mark.argtypes = [ctypes.c_char_p]
        self._library.shim_calls.restype = ctypes.c_long

    def watch(self, root: Path, trace: Path | None = None) -> None:
        """Look at what happens below `root`, counting from 0; write it to `trace`."""
        self._library.shim_watch(os.fsencode(root), None if trace is None else os.fsencode(trace))

    def die(self, call: int, *, torn: bool = False) -> None:
        """End the process at that call, counted from now: before it, or with half of it written."""
        self._library.shim_die(call, torn)

    def fail(
        self, number: int, kinds: Sequence[Kind], *, start: int = 0, count: int = _NEVER
    ) -> None:
        """Refuse calls of these kinds with errno `number`, from the start-th from now on."""
        mask = sum(1 << kind for kind in kinds)
        self._library.shim_fail(start, start + count, number, mask)

    def work(self) -> None:
        """Refuse nothing any more."""
        self._library.shim_fail(-1, 0, 0, 0)

    def lie(self, kinds: Sequence[Kind]) -> None:
        """Say that these syncs are done and leave them out: a planted bug."""
        self._library.shim_lie(sum(1 << kind for kind in kinds))

    def mark(self, text: str) -> None:
        """A line of ours in the trace."""
        self._library.shim_mark(text.encode())

    def calls(self) -> int:
        """How many calls there were since `watch`."""
        return int(self._library.shim_calls())
