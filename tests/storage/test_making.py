"""What `init` makes must survive the power cut that follows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store
from tests.storage.support import SteppingClock, settings


def test_the_names_of_key_and_home_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost master key is every letter lost: its directory is synced too, and the home's."""
    synced: set[str] = set()
    fsync = os.fsync

    def noted(number: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{number}"))
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    key = tmp_path / "keys" / "master.key"
    wanted = settings(tmp_path / "home", master_key_file=key)
    Store.create(wanted, SteppingClock(), SystemEntropy())
    assert {str(path) for path in (key, key.parent, tmp_path / "home", tmp_path)} <= synced
