"""Files of large blobs: written under `incoming/`, linked under `blobs/`, named by ids only.

A writer's process holds a lock in its own directory of `incoming/`. The partial name is unlinked
only after the row is committed: while the process lives it says whose the file is. Partial names
are not synced and may be lost with the power, the directory is: where a dead process left one, the
sweep looks at every file made since it started. Nothing a peer sends ever becomes part of a path
(ATT-23).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from mssmtp.errors import ConfigError, Damaged
from mssmtp.mail import BlobId
from mssmtp.storage.database import refusal
from mssmtp.storage.identifiers import ID_OCTETS

logger = logging.getLogger(__name__)

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def make_directories(home: Path) -> None:
    """The fixed directories of a home, mode 0700, durable."""
    for name in ("incoming", "blobs", "run"):
        (home / name).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    for shard in range(256):
        (home / "blobs" / f"{shard:02x}").mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    for path in (home / "blobs", home):
        sync_directory(path)


def require_directories(home: Path) -> None:
    """Make the directories of passing things; those of contents must be there.

    Raises ConfigError: a copy without them is not whole.
    """
    for name in ("incoming", "run"):
        (home / name).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    for shard in range(256):
        if not (home / "blobs" / f"{shard:02x}").is_dir():
            raise ConfigError(
                "store.home",
                f"the directory blobs/{shard:02x} is missing: half a copy",
                "Copy the whole home again, with the server stopped, or make a snapshot of it.",
            )


def is_left_behind(home: Path) -> bool:
    """Whether a process that worked on this home ended without letting go of it."""
    with ExitStack() as stack:
        return any(
            (directory / "lock").exists() and BlobFiles.is_dead(directory, stack)
            for directory in (home / "incoming").iterdir()
        )


def forget_left_behind(home: Path) -> None:
    """Let nothing say any more that a process ended without letting go; the sweep finds its files
    all the same. Durable, before the last connection folds the log: one of its own accord missing
    beside such a directory would be half a copy. Under the home's lock, or a start looks dead.
    """
    incoming = home / "incoming"
    with ExitStack() as stack, suppress(OSError):  # on a lost disk no log is folded either
        for directory in incoming.iterdir():
            if (directory / "lock").exists() and BlobFiles.is_dead(directory, stack):
                (directory / "lock").unlink()
                sync_directory(directory)
        sync_directory(incoming)


def sync_directory(path: Path) -> None:
    """Make names created in `path` durable."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many files, and their length together."""

    count: int
    octets: int


class PartialFile:
    """One blob on its way to disk."""

    __slots__ = ("_file", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, FILE_MODE), "wb", buffering=0)

    def write(self, octets: bytes) -> None:
        """Append all of `octets`."""
        rest = memoryview(octets)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def sync(self) -> None:
        """Make the content durable and close."""
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Close without any promise."""
        self._file.close()


class BlobFiles:
    """The blob files of one home as one process sees them."""

    def __init__(self, home: Path, worker: str, started: bytes) -> None:
        """`started` is an id: every blob this process makes has a greater one."""
        self._blobs = home / "blobs"
        self._all_incoming = home / "incoming"
        self._incoming = self._all_incoming / f"{worker}-{started.hex()}"
        self._incoming.mkdir(mode=DIRECTORY_MODE)
        sync_directory(self._all_incoming)
        self._discarded_from: set[Path] = set()
        self._lock = os.open(
            self._incoming / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give up this process's directory; an unfinished file in it is swept by the next start."""
        for shard in self._discarded_from:  # once the directory is gone nobody looks for them
            sync_directory(shard)
        (self._incoming / "lock").unlink(missing_ok=True)
        try:
            self._incoming.rmdir()
        except OSError:  # not empty: a letter is still held by somebody
            sync_directory(self._incoming)  # a lock that comes back would tell of half a copy
        forget_left_behind(self._all_incoming.parent)
        os.close(self._lock)

    def path(self, blob: BlobId) -> Path:
        """Final name of a blob."""
        name = blob.hex()
        return self._blobs / name[-2:] / name

    def _partial(self, blob: BlobId) -> Path:
        return self._incoming / blob.hex()

    def begin(self, blob: BlobId) -> PartialFile:
        """A new partial file. Raises StorageFull, StorageUnavailable."""
        try:
            return PartialFile(self._partial(blob))
        except OSError as error:
            raise refusal(error) from error

    def name(self, blob: BlobId) -> None:
        """Give a partial file, all of which is written, its final name; the partial name stays.

        Before either is synced: the journal of a file system takes content and name with the first
        sync, and the second finds nothing to do. What a crash leaves of it has no row (D2).
        """
        os.link(self._partial(blob), self.path(blob))

    def publish(self, blob: BlobId) -> None:
        """Make the final name of a synced file durable."""
        sync_directory(self.path(blob).parent)

    def adopt(self, blob: BlobId) -> None:
        """A row refers to the blob now, committed: forget the partial name."""
        self._partial(blob).unlink(missing_ok=True)

    def discard(self, blob: BlobId) -> None:
        """Remove a blob that no row refers to, now or, if the disk refuses, by a later sweep."""
        try:
            with suppress(FileNotFoundError):
                self.path(blob).unlink()
                self._discarded_from.add(self.path(blob).parent)
            self._partial(blob).unlink(missing_ok=True)
        except OSError:  # the caller is refusing the letter already, for a better reason
            logger.warning("a discarded file cannot be removed: left to the next sweep")

    def abandon(self, file: PartialFile, blob: BlobId) -> None:
        """Close and remove a file that will never be finished."""
        file.close()
        self.discard(blob)

    def remove(self, blob: BlobId) -> None:
        """Remove the file of a shredded blob."""
        self.path(blob).unlink(missing_ok=True)

    def gone(self, blobs: Iterable[BlobId]) -> list[BlobId]:
        """Those whose file is gone, also after a power cut."""
        found = [blob for blob in blobs if not self.path(blob).exists()]
        for shard in {self.path(blob).parent for blob in found}:
            sync_directory(shard)
        return found

    def source(self, blob: BlobId) -> Callable[[int, int], bytes]:
        """`(offset, octets)` reader of a blob; raises Damaged when the file is gone or cut."""
        path = self.path(blob)

        def read(offset: int, octets: int) -> bytes:
            try:
                number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError as error:
                raise Damaged("the content file is missing") from error
            except OSError as error:
                raise refusal(error) from error
            try:
                return os.pread(number, octets, offset)
            finally:
                os.close(number)

        return read

    def names(self) -> Iterator[BlobId]:
        """Every blob that has a file."""
        for shard in sorted(os.listdir(self._blobs)):
            for name in sorted(os.listdir(self._blobs / shard)):
                yield BlobId(bytes.fromhex(name))

    def sizes(self) -> tuple[Sizes, Sizes]:
        """Of the files kept, and of those that are being written."""
        return _sizes(self._blobs), _sizes(self._all_incoming)

    def octets(self, blob: BlobId) -> int | None:
        """Length of the file of a blob, None when there is none."""
        try:
            return self.path(blob).stat().st_size
        except FileNotFoundError:
            return None

    def names_in(self, shard: int, after: str, most: int) -> list[str] | None:
        """Names in one of the 256 directories, in order, beyond `after`; None: it is missing."""
        try:
            found = os.listdir(self._blobs / f"{shard:02x}")
        except FileNotFoundError:
            return None
        return sorted(name for name in found if name > after)[:most]

    def unfinished(self, but_for: Collection[Path] = ()) -> Iterator[BlobId]:
        """Blobs that some writer has in hand, or a crashed one left; not those in `but_for`."""
        for directory in set(self._all_incoming.iterdir()).difference(but_for):
            with suppress(FileNotFoundError):
                yield from _blobs_in(directory)

    def sweep(
        self, is_committed: Callable[[BlobId], bool], wait_for_commits: Callable[[], None]
    ) -> int:
        """Remove what crashed writers left (D2), not what live ones hold; how many files.

        A database server may still be busy with the last commit of a writer that is dead: it is
        waited for before anything is asked.
        """
        with ExitStack() as stack:
            dead = [
                directory
                for directory in self._all_incoming.iterdir()
                if directory != self._incoming and self.is_dead(directory, stack)
            ]
            if not dead:
                return 0
            wait_for_commits()
            left = {blob for directory in dead for blob in _blobs_in(directory)}
            since = min(map(_started, dead))
            left |= {blob for blob in self.names() if blob > since}
            # After the names: what a live writer no longer holds is committed or removed by now.
            held = set(self.unfinished(dead))
            removed = [blob for blob in left - held if not is_committed(blob)]
            for blob in removed:
                self.path(blob).unlink(missing_ok=True)
            for shard in {self.path(blob).parent for blob in removed}:
                sync_directory(shard)
            for directory in dead:
                shutil.rmtree(directory, ignore_errors=True)
            return len(removed)

    @staticmethod
    def is_dead(directory: Path, stack: ExitStack) -> bool:
        """Whether the owner of a directory is gone; its lock is ours then, as long as `stack`."""
        try:
            lock = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except FileNotFoundError:  # its owner has just closed it
            return False
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _sizes(directory: Path) -> Sizes:
    """Of the files one level below; those that go meanwhile are left out."""
    count = octets = 0
    for inner in directory.iterdir():
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(inner) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.name != "lock":
                        octets += entry.stat().st_size
                        count += 1
    return Sizes(count, octets)


def _blobs_in(directory: Path) -> Iterator[BlobId]:
    for entry in list(directory.iterdir()):
        if entry.name != "lock":
            yield BlobId(bytes.fromhex(entry.name))


def _started(directory: Path) -> bytes:
    """The id in the name of a process's directory; of an older release's, one before all."""
    try:
        started = bytes.fromhex(directory.name.rpartition("-")[2])
    except ValueError:
        return b""
    return started if len(started) == ID_OCTETS else b""
