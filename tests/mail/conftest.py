"""Doors in front of which peers are counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN
from tests.imap_server import rig as imap_server
from tests.smtp_in import rig as smtp_in


@pytest.fixture
def smtp(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot, tmp_path: Path
) -> smtp_in.Rig:
    """The doors of SMTP over a fake store."""
    return smtp_in.make_rig(authority, healthy, snapshot, tmp_path)


@pytest.fixture
def imap(
    authority: Authority, healthy: dict[str, Identity], tmp_path: Path
) -> Iterator[imap_server.Rig]:
    """The door of IMAP over a store."""
    made = imap_server.make_rig(authority, healthy[A_DOMAIN], tmp_path)
    yield made
    made.store.close()
