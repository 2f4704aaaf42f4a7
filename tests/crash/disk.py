"""A disk that orders nothing: what a power cut may leave of a trace.

A write, a change of length, a name made or removed stays *pending* until its file, or for a name
its directory, is synced. At a power cut any subset of what is pending may have reached the disk,
a write also in part. What was synced is there. (ALICE, Pillai et al., OSDI 2014; a rename within
one directory is atomic; what a file was lengthened by without its data reads as zeros.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.shim import Kind

_HEADER = struct.Struct("<IIIIQq")


@dataclass(frozen=True)
class Record:
    """One call of the trace."""

    kind: Kind
    inode: int
    at: int
    path: str
    other: str
    data: bytes


def records(trace: Path) -> Iterator[Record]:
    """The trace in order."""
    octets = trace.read_bytes()
    position = 0
    while position < len(octets):
        kind, path, other, data, inode, at = _HEADER.unpack_from(octets, position)
        start = position + _HEADER.size
        names, position = start + path + other, start + path + other + data
        yield Record(
            Kind(kind),
            inode,
            at,
            octets[start : start + path].decode(),
            octets[start + path : names].decode(),
            octets[names:position],
        )


@dataclass(frozen=True)
class Pending:
    """One change that may or may not have reached the disk: of a file, or of a directory."""

    number: int
    kind: Kind
    inode: int = 0
    at: int = 0
    data: bytes = b""
    directory: str = ""
    names: tuple[tuple[str, int | None], ...] = ()
    """Names of the directory and what they lead to from now on; None: nothing."""

    @property
    def is_data(self) -> bool:
        """Whether it is written octets, which can be torn."""
        return self.kind is Kind.WRITE


@dataclass
class _File:
    durable: bytes = b""
    pending: list[Pending] = field(default_factory=list)
    version: int = 0


@dataclass
class _Directory:
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)


Tear = Callable[[Pending], list[tuple[int, bytes]]]
"""What of a chosen write is there: pieces with their places."""


def whole(change: Pending) -> list[tuple[int, bytes]]:
    """All of it."""
    return [(change.at, change.data)]


@dataclass
class Image:
    """What is on the disk after a cut: directories and files, by path below the root."""

    directories: set[str]
    files: dict[str, bytes]


class Disk:
    """The state of the disk while a trace is followed."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._directories: dict[str, _Directory] = {"": _Directory()}
        self._inodes: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._number = 0
        self._contents: dict[tuple[int, int, tuple[int, ...]], bytes] = {}

    def follow(self, record: Record) -> None:
        """One more call was made."""
        kind = record.kind
        if kind in (Kind.WRITE, Kind.TRUNCATE):
            file = self._files[record.inode]
            file.pending.append(Pending(self._next(), kind, record.inode, record.at, record.data))
        elif kind is Kind.SYNC:
            self._sync(self._files[record.inode])
        elif kind is Kind.SYNC_DIRECTORY:
            directory = self._directories[record.path]
            directory.durable = _applied(directory, directory.pending)
            directory.pending = []
        elif kind is not Kind.MARK:
            self._name(record)

    def _name(self, record: Record) -> None:
        directory, _, name = record.path.rpartition("/")
        target: int | None = record.inode
        if record.kind is Kind.CREATE:
            self._files[record.inode] = _File()
        elif record.kind is Kind.MKDIR:
            self._directories[record.path] = _Directory()
            self._paths[record.inode] = record.path
        elif record.kind in (Kind.UNLINK, Kind.RMDIR):
            target = None
        names = [(name, target)]
        if record.kind is Kind.RENAME:
            old_directory, _, old = record.other.rpartition("/")
            if old_directory == directory:
                names.append((old, None))
            else:
                self._change(old_directory, record.kind, ((old, None),))
        self._change(directory, record.kind, tuple(names))

    def _change(
        self, directory: str, kind: Kind, names: tuple[tuple[str, int | None], ...]
    ) -> None:
        self._directories[directory].pending.append(
            Pending(self._next(), kind, directory=directory, names=names)
        )

    def _next(self) -> int:
        self._number += 1
        return self._number

    @staticmethod
    def _sync(file: _File) -> None:
        if file.pending:
            file.durable = _content(file.durable, file.pending, whole)
            file.pending = []
            file.version += 1

    def pending(self) -> list[Pending]:
        """Everything a power cut could take, in the order it was done."""
        found = [change for file in self._files.values() for change in file.pending]
        found += [change for each in self._directories.values() for change in each.pending]
        return sorted(found, key=lambda change: change.number)

    def image(self, chosen: Collection[int], tear: Tear | None = None) -> Image:
        """What is there when of all pending changes those `chosen` by number reached the disk."""
        found = Image(set(), {})
        self._list("", chosen, tear, found)
        return found

    def _list(self, path: str, chosen: Collection[int], tear: Tear | None, found: Image) -> None:
        directory = self._directories[path]
        names = directory.durable
        if directory.pending:
            names = _applied(directory, [c for c in directory.pending if c.number in chosen])
        for name, inode in names.items():
            below = f"{path}/{name}" if path else name
            if inode in self._paths:
                found.directories.add(below)
                self._list(below, chosen, tear, found)
            else:
                found.files[below] = self._octets(inode, chosen, tear)

    def _octets(self, inode: int, chosen: Collection[int], tear: Tear | None) -> bytes:
        file = self._files[inode]
        if not file.pending:
            return file.durable
        there = [change for change in file.pending if change.number in chosen]
        if tear is not None:
            return _content(file.durable, there, tear)
        key = (inode, file.version, tuple(change.number for change in there))
        if key not in self._contents:
            if len(self._contents) > 64:
                self._contents.clear()
            self._contents[key] = _content(file.durable, there, whole)
        return self._contents[key]


def _applied(directory: _Directory, changes: list[Pending]) -> dict[str, int]:
    names = dict(directory.durable)
    for change in changes:
        for name, target in change.names:
            if target is None:
                names.pop(name, None)
            else:
                names[name] = target
    return names


def _content(durable: bytes, changes: list[Pending], tear: Tear) -> bytes:
    octets = bytearray(durable)
    for change in changes:
        if change.kind is Kind.TRUNCATE:
            if change.at <= len(octets):
                del octets[change.at :]
            else:
                octets += bytes(change.at - len(octets))
            continue
        for at, data in tear(change):
            if at > len(octets):
                octets += bytes(at - len(octets))
            octets[at : at + len(data)] = data
    return bytes(octets)
