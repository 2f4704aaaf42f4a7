"""Small files of a home that several processes read and one writes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def write_whole(
    target: Path, octets: bytes, hand_over: Callable[[int], None] | None = None
) -> None:
    """Whole or not at all, also after a power cut. Raises OSError.

    `hand_over` is called with the new file before it has a name that is read.
    """
    draft = target.with_name(f".{target.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        if hand_over is not None:
            hand_over(handle)
        file.write(octets)
        file.flush()
        os.fsync(handle)
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class OneWriter:
    """A lock that one process holds until it lets go or ends. `opened` opens its file."""

    def __init__(self, opened: Callable[[], int]) -> None:
        self._opened = opened
        self._lock: int | None = None

    def take(self) -> bool:
        """Become the one; False while another process is."""
        if self._lock is None:
            handle = self._opened()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            self._lock = handle
        return True

    def release(self) -> None:
        """Let another process be the one."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
