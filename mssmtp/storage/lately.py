"""BALs looked up within the last second, for the door that asks about the same ones all day.

A query costs two changes of thread, twenty times the look-up. A box that is suspended must not
receive from then on: a number in memory shared by the processes of a home says that some box has
changed, and everything is looked up anew. Other nodes do not share it, and a process may die
between its commit and the number: an answer is forgotten after a second in any case (SEC-06).
"""

from __future__ import annotations

import logging
import mmap
import os
import sys
from pathlib import Path

from mssmtp.mail import Address, Bal
from mssmtp.outside import Clock

logger = logging.getLogger(__name__)

FRESH_S = 1.0
REMEMBERED = 4_096
_OCTETS = 8
_MASK = (1 << 64) - 1


class Lately:
    """What one process has found; safe between threads."""

    def __init__(self, run: Path, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[Address, tuple[Bal, float]] = {}
        self._valid_for = 0
        self._file, self._shared = _shared(run / "boxes-changed")
        self._numbers = memoryview(self._shared).cast("Q")

    def mark(self) -> int:
        """To be taken before the snapshot in which a box is looked up."""
        return self._numbers[0]

    def keep(self, mark: int, bal: Bal) -> None:
        """Remember what was found after `mark`."""
        if mark != self._valid_for or len(self._found) >= REMEMBERED:
            self._found, self._valid_for = {}, mark
        self._found[bal.address] = (bal, self._clock.monotonic())

    def bal(self, address: Address) -> Bal | None:
        """The box of `address` if it was looked up lately and none has changed since."""
        if self._numbers[0] != self._valid_for:
            return None
        found = self._found.get(address)
        if found is None or self._clock.monotonic() - found[1] >= FRESH_S:
            return None
        return found[0]

    def changed(self) -> None:
        """A change of a box is committed; to be called under the home's lock or just behind it."""
        number = (self._numbers[0] + 1) & _MASK
        if self._file is None:
            self._numbers[0] = number
            return
        try:
            # Not into the page: on a full file system that writes each time to another place, that
            # would be the end of the process (D9).
            os.pwrite(self._file, number.to_bytes(_OCTETS, sys.byteorder), 0)
        except OSError as error:
            logger.error("a change of a box is not shared", extra={"why": error.strerror})
            self._found = {}

    def close(self) -> None:
        """Let go of the shared memory."""
        self._found = {}
        self._numbers.release()
        self._shared.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _shared(path: Path) -> tuple[int | None, mmap.mmap]:
    """Memory shared by who opens `path`, to be read, and the file by which it is written; memory of
    this process alone when the disk has no room for it.

    Its space is taken first: touching a page that a full disk cannot hold would kill (D9).
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(number, 0, _OCTETS)
            return number, mmap.mmap(number, _OCTETS, prot=mmap.PROT_READ)
        except OSError:
            os.close(number)
            raise
    except OSError as error:
        logger.error("changes of boxes are not shared", extra={"why": error.strerror})
        return None, mmap.mmap(-1, _OCTETS)
