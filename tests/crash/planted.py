"""Bugs planted into the hands, to show that the laboratory sees what it is made to see."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mssmtp.mail import BlobId
from mssmtp.storage import Store, Writing, files
from mssmtp.storage.files import BlobFiles, PartialFile
from tests.crash import session
from tests.crash.shim import Kind, Shim


def sync_removed(shim: Shim) -> None:
    """PRAGMA synchronous=OFF: the database never syncs."""
    real = session.SmallWal.execute

    def execute(self: sqlite3.Connection, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous=OFF"
        return real(self, sql, *values)  # type: ignore[arg-type]

    session.SmallWal.execute = execute  # type: ignore[method-assign]


def sync_of_contents_removed(shim: Shim) -> None:
    """A large letter is closed instead of synced."""
    PartialFile.sync = PartialFile.close  # type: ignore[method-assign]


def fdatasync_lies(shim: Shim) -> None:
    """The system says yes and does nothing."""
    shim.lie([Kind.SYNC])


def directory_not_synced(shim: Shim) -> None:
    """The final name of a large letter is left to chance."""

    def nothing(path: Path) -> None:
        return

    files.sync_directory = nothing


def row_before_blob(shim: Shim) -> None:
    """A large letter gets its final name only after its row is committed."""

    def later(self: BlobFiles, blob: BlobId) -> None:
        os.link(self._partial(blob), self.path(blob))
        files.sync_directory(self.path(blob).parent)
        self._partial(blob).unlink()

    BlobFiles.name = lambda self, blob: None  # type: ignore[method-assign]
    BlobFiles.publish = lambda self, blob: None  # type: ignore[method-assign]
    BlobFiles.adopt = later  # type: ignore[method-assign]


def reply_before_sync(shim: Shim) -> None:
    """The answer goes out when the job has run, before COMMIT."""
    real = Store.write

    def write(self: Store, job: Callable[[Writing], Any], **options: int) -> Future[Any]:
        answer: Future[Any] = Future()

        def run(writing: Writing) -> None:
            answer.set_result(job(writing))

        real(self, run, **options)
        return answer

    Store.write = write  # type: ignore[method-assign]


PLANTED: dict[str, Callable[[Shim], None]] = {
    planted.__name__: planted
    for planted in (
        sync_removed,
        sync_of_contents_removed,
        fdatasync_lies,
        directory_not_synced,
        row_before_blob,
        reply_before_sync,
    )
}
