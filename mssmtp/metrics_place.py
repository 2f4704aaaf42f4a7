"""Where the mapped files of the metrics lie: in memory, so that no disk holds up who counts.

Each number is in a page of a mapped file. While a file system is frozen (a snapshot of the machine
does that) or its disk does not answer, the next increment waits in the kernel, and with it the loop
of every door (CL-79).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from mssmtp.outside import MEMORY

_PREFIX = "mssmtp-metrics-"
_BEING_MADE_S = 60.0


class MetricsPlace:
    """A directory for `metrics.share`, as long as a process of this server lives."""

    def __init__(self, fallback: Path) -> None:
        """`fallback` is used where there is no memory to write to."""
        _sweep()
        try:
            self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY))
        except OSError:
            self.directory = fallback
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Forked workers share it: what nobody holds is of a server that was killed.
        self._held = _hold(self.directory, fcntl.LOCK_SH)

    def clean(self) -> None:
        """Remove what an earlier server of this home left; our own files are open already."""
        for file in self.directory.glob("*.db"):
            if not file.stem.endswith(f"_{os.getpid()}"):
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Every process has ended."""
        os.close(self._held)
        if self.directory.parent == MEMORY:
            shutil.rmtree(self.directory, ignore_errors=True)


def _hold(directory: Path, how: int) -> int:
    """Raises OSError: somebody else holds it, or it is gone."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(number, how | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        raise
    return number


def _sweep() -> None:
    """Remove the directories of servers that were killed."""
    for left in MEMORY.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = left.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _BEING_MADE_S:
                continue
            number = _hold(left, fcntl.LOCK_EX)
            shutil.rmtree(left, ignore_errors=True)
            os.close(number)
