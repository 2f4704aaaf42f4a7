"""A directory that is one state of the disk after the other; only what differs is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.crash.disk import Image

_PLACES: dict[Path, Place] = {}


class Place:
    """`root` on a fast file system. What is judged in it may change anything but large contents,
    which it can only remove."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        os.mkdir(self._root, 0o700)
        self._kept: dict[str, bytes] = {}
        self._directories: set[str] = set()

    @classmethod
    def at(cls, root: Path) -> Place:
        """The place of this process at `root`, the same one when it has been asked for before."""
        if root not in _PLACES:
            _PLACES[root] = cls(root)
        return _PLACES[root]

    def become(self, image: Image) -> Path:
        """The root, holding exactly `image`."""
        self._clear(image)
        for path in sorted(image.directories - self._directories):
            os.mkdir(f"{self._root}/{path}", 0o700)
        self._directories = set(image.directories)
        for path, octets in image.files.items():
            if path not in self._kept:
                self._write(path, octets)
        return Path(self._root)

    def _write(self, path: str, octets: bytes) -> None:
        number = os.open(f"{self._root}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            rest = memoryview(octets)
            while rest:
                rest = rest[os.write(number, rest) :]
        finally:
            os.close(number)
        if _is_content(path):
            self._kept[path] = octets

    def _clear(self, image: Image) -> None:
        """Remove what is not in the image, and everything that may have changed."""
        for path in sorted(self._directories - image.directories, reverse=True):
            shutil.rmtree(f"{self._root}/{path}", ignore_errors=True)
            self._directories.discard(path)
        there = set()
        for path in list(self._files("")):
            if _is_content(path) and path in self._kept:
                if image.files.get(path) is self._kept[path]:
                    there.add(path)
                    continue
                self._kept.pop(path)
            os.unlink(f"{self._root}/{path}")
        self._kept = {path: octets for path, octets in self._kept.items() if path in there}
        for path in sorted(self._fleeting(), reverse=True):
            shutil.rmtree(f"{self._root}/{path}", ignore_errors=True)
        self._directories = {path for path in self._directories if not _is_fleeting(path)}

    def _files(self, below: str) -> Iterator[str]:
        with os.scandir(f"{self._root}/{below}") as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._files(path)
                else:
                    yield path

    def _fleeting(self) -> Iterator[str]:
        for home in os.listdir(self._root):
            for name in ("incoming", "run"):
                if os.path.isdir(f"{self._root}/{home}/{name}"):
                    for found in os.listdir(f"{self._root}/{home}/{name}"):
                        yield f"{home}/{name}/{found}"


def _is_content(path: str) -> bool:
    return "/blobs/" in path


def _is_fleeting(path: str) -> bool:
    return path.count("/") > 1 and path.split("/")[1] in ("incoming", "run")
