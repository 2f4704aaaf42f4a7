"""A check beside a running server: what is being removed is no loss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssmtp.mail import Bal, BlobId
from mssmtp.storage import Store
from mssmtp.storage.files import BlobFiles
from tests.storage.support import accept, message
from tests.storage.test_tidying import expunge_all


@pytest.mark.parametrize("deep", [False, True])
def test_a_letter_expunged_during_the_check_is_no_problem(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch, *, deep: bool
) -> None:
    """The file goes with the commit; the snapshot of the check still names it."""
    accept(store, store.seal(message(body=os.urandom(200_000))), [zoe])
    octets = BlobFiles.octets

    def overtaken(self: BlobFiles, blob: BlobId) -> int | None:
        monkeypatch.undo()
        expunge_all(store, zoe)
        return octets(self, blob)

    monkeypatch.setattr(BlobFiles, "octets", overtaken)
    assert store.check(deep=deep).problems == ()


def test_a_file_that_is_missing_stays_a_problem(store: Store, zoe: Bal, home: Path) -> None:
    accept(store, store.seal(message(body=os.urandom(200_000))), [zoe])
    (path,) = (path for path in (home / "blobs").rglob("*") if path.is_file())
    octets = path.read_bytes()
    path.unlink()
    assert any("its file is missing" in problem for problem in store.check().problems)
    path.write_bytes(octets)
