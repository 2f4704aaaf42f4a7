"""What a relay has handed over and not recorded yet, in a file of its own (D4).

Between the final reply of a peer and the commit that records it lies a group commit, or minutes
when the disk is full; a worker killed there would deliver again. A line before the last octet of a
letter and one behind its 250 are two stores into memory that is the file's, no call and no sync:
they survive the death of the process. Not that of the machine: then the boot id in the first line
differs, and nothing here is believed.

Lines hold queue ids and positions, no address.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mssmtp.mail import EnvelopeId
from mssmtp.storage.model import Handed, QueuePlace

logger = logging.getLogger(__name__)

_MARKS: Final[dict[Handed, bytes]] = {"begun": b"B", "taken": b"T"}
_MEANINGS: Final[dict[bytes, Handed]] = {mark: handed for handed, mark in _MARKS.items()}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
REWRITTEN_FROM_OCTETS: Final = 1 << 20
_ROOM_OCTETS: Final = 1 << 18
"""Beyond that, and beyond what a fresh file begins with."""
_MOST_OCTETS: Final = 1 << 26
"""A longer file is not ours; nothing in it is believed."""


class RelayJournal:
    """The file of one relay. Used by one thread. A file that cannot be written costs only doubt:
    after a death everything it held is then marked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: mmap.mmap | None = None
        self._octets = 0
        self._open: dict[QueuePlace, Handed] = {}

    def left(self) -> dict[QueuePlace, Handed] | None:
        """What a predecessor of the same name left, to be asked before the first line is written.

        None when nothing is known: no file, another boot, or not as we wrote it.
        """
        try:
            if self._path.stat().st_size > _MOST_OCTETS:
                return None
            # Behind the last line lies the room for others.
            first, *lines = self._path.read_bytes().partition(b"\0")[0].split(b"\n")
        except OSError:
            return None
        if first != _boot():
            return None
        found: dict[QueuePlace, Handed] = {}
        for line in lines[:-1]:  # a line without its end was cut short
            mark, _, place = line.partition(b" ")
            envelope, _, position = place.partition(b" ")
            if mark not in _MEANINGS or not position.isdigit():
                return None
            found[QueuePlace(EnvelopeId(envelope.decode("ascii", "replace")), int(position))] = (
                _MEANINGS[mark]
            )
        return found

    def begin(self) -> None:
        """Start anew: what a predecessor left was dealt with."""
        self.close()
        self._open.clear()
        self._rewrite()

    def note(self, envelope: EnvelopeId, positions: Iterable[int], handed: Handed) -> None:
        """Written before this returns. What was taken stays so when more of its letter is begun."""
        places = [QueuePlace(envelope, position) for position in positions]
        if handed == "begun":
            places = [place for place in places if self._open.get(place) != "taken"]
        for place in places:
            self._open[place] = handed
        self._append(b"".join(_line(place, handed) for place in places))

    def settled(self, envelope: EnvelopeId, positions: Iterable[int]) -> None:
        """The outcome is in the store."""
        for position in positions:
            self._open.pop(QueuePlace(envelope, position), None)
        if self._octets > REWRITTEN_FROM_OCTETS:
            self._rewrite()

    @property
    def unsettled(self) -> dict[QueuePlace, Handed]:
        """What was handed over and is not recorded, as far as this process knows."""
        return dict(self._open)

    def end(self) -> None:
        """Every lease was given back: nothing is left to be known."""
        self._forget()

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, octets: bytes) -> None:
        if self._file is None:
            return
        end = self._octets + len(octets)
        if end > len(self._file):
            self._rewrite()  # with what these lines say
            return
        self._file[self._octets : end] = octets
        self._octets = end

    def _forget(self) -> None:
        self.close()
        for each in (self._path, self._path.with_suffix(".new")):
            with suppress(OSError):
                each.unlink()

    def _rewrite(self) -> None:
        """With the lines that still matter, in one step: the old file stands until then."""
        self.close()
        lines = (_line(place, handed) for place, handed in self._open.items())
        octets = _boot() + b"\n" + b"".join(lines)
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = _room(fresh, max(REWRITTEN_FROM_OCTETS, len(octets)) + _ROOM_OCTETS)
            self._file[: len(octets)] = octets
            fresh.rename(self._path)
        except OSError as error:
            logger.warning("relay journal not written", extra={"reason": error.strerror})
            self._forget()
            return
        self._octets = len(octets)


def _room(path: Path, octets: int) -> mmap.mmap:
    """A new file in memory. Its blocks are taken now: on a full disk a store into a page that has
    none would be the end of the process. Raises OSError."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(number, 0, octets)
        return mmap.mmap(number, octets)
    finally:
        os.close(number)


def _line(place: QueuePlace, handed: Handed) -> bytes:
    return b"%b %b %d\n" % (_MARKS[handed], place.envelope.encode("ascii"), place.position)


def _boot() -> bytes:
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b"unknown"
