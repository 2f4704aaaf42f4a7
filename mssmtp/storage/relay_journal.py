"""What a relay has handed over and not recorded yet, in memory that outlives it (D4).

Between the final reply of a peer and the commit that records it lies a group commit, or minutes
when the disk is full; a worker killed there would deliver again. A line before the last octet of a
letter and one behind its 250 are two stores into mapped memory, no call and no sync: they survive
the death of the process. Not that of the machine: then everything is in doubt.

The memory is of no disk: a store into a page of a file on one that stands still holds up the loop
of every door (CL-79), and a file system that writes each time to another place may have no room
for it, which is the end of the process (D9). In the home is only a link, by which a successor finds
it.

Lines hold queue ids and positions, no address.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mssmtp.mail import EnvelopeId
from mssmtp.outside import MEMORY
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
_PREFIX: Final = "mssmtp-relay-"
_LINES, _FOR = "journal", "for"
"""In the directory in memory: the lines, and a link back to the name in the home."""
_BEING_MADE_S: Final = 60.0


class RelayJournal:
    """The lines of one relay. Used by one thread. What cannot be written costs only doubt: after a
    death everything it held is then marked."""

    def __init__(self, path: Path) -> None:
        """`path` is the link in the home; what it leads to is made by `begin`."""
        self._path = path
        self._room: Path | None = None
        self._file: mmap.mmap | None = None
        self._octets = 0
        self._open: dict[QueuePlace, Handed] = {}

    def left(self) -> dict[QueuePlace, Handed] | None:
        """What a predecessor of the same name left, to be asked before the first line is written.

        None when nothing is known: no file, another boot, or not as we wrote it.
        """
        octets, boot = _own_octets(self._path), _boot()
        if octets is None or boot is None:
            return None
        # Behind the last line lies the room for others.
        first, *lines = octets.partition(b"\0")[0].split(b"\n")
        if first != boot:
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
        self._forget()
        self._open.clear()
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._room = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY))
            _sweep(self._room)
            (self._room / _FOR).symlink_to(self._path.absolute())
            self._path.symlink_to(self._room / _LINES)
        except OSError as error:
            self._give_up(error)
            return
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
        """Let go of the memory, which stays."""
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
        self._octets = 0
        room, self._room = self._room or _room_of(self._path), None
        with suppress(OSError):
            self._path.unlink()
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)

    def _give_up(self, error: OSError) -> None:
        logger.warning("relay journal not written", extra={"reason": error.strerror})
        self._forget()

    def _rewrite(self) -> None:
        """With the lines that still matter, in one step: the old ones stand until then."""
        self.close()
        if self._room is None:
            return
        lines = (_line(place, handed) for place, handed in self._open.items())
        octets = (_boot() or b"unknown") + b"\n" + b"".join(lines)
        fresh = self._room / f"{_LINES}.new"
        try:
            self._file = _mapped(fresh, max(REWRITTEN_FROM_OCTETS, len(octets)) + _ROOM_OCTETS)
            self._file[: len(octets)] = octets
            fresh.rename(self._room / _LINES)
        except OSError as error:
            self._give_up(error)
            return
        self._octets = len(octets)


def _mapped(path: Path, octets: int) -> mmap.mmap:
    """A new file in memory. Its pages are taken now: where there is none left, a store into one
    would be the end of the process. Raises OSError."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(number, 0, octets)
        return mmap.mmap(number, octets)
    finally:
        os.close(number)


def _own_octets(path: Path) -> bytes | None:
    """None: not there, too long, or another user's, who may write to MEMORY as we do."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(number, "rb") as file:
            status = os.fstat(number)
            if status.st_uid != os.geteuid() or status.st_size > _MOST_OCTETS:
                return None
            return file.read(_MOST_OCTETS)
    except OSError:
        return None


def _room_of(path: Path) -> Path | None:
    """The directory in memory that `path` leads to."""
    try:
        room = path.readlink().parent
    except OSError:
        return None
    return room if room.parent == MEMORY and room.name.startswith(_PREFIX) else None


def _sweep(new: Path) -> None:
    """Remove what was there before `new` and no home leads to any more: its home is gone, or has
    begun anew."""
    made_before = new.stat().st_mtime - _BEING_MADE_S
    for room in new.parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = room.lstat()
            if status.st_uid != os.geteuid() or status.st_mtime > made_before:
                continue
            if _room_of((room / _FOR).readlink()) != room:
                shutil.rmtree(room, ignore_errors=True)


def _line(place: QueuePlace, handed: Handed) -> bytes:
    return b"%b %b %d\n" % (_MARKS[handed], place.envelope.encode("ascii"), place.position)


def _boot() -> bytes | None:
    """Which boot this is; None where the system does not say."""
    try:
        return _BOOT_ID.read_bytes().strip() or None
    except OSError:
        return None
