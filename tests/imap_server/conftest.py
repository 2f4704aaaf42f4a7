"""The rig as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN
from tests.imap_server.rig import Rig, make_rig


@pytest.fixture
def rig(authority: Authority, healthy: dict[str, Identity], tmp_path: Path) -> Iterator[Rig]:
    """A home whose invariants are checked at the end."""
    made = make_rig(authority, healthy[A_DOMAIN], tmp_path)
    yield made
    report = made.store.check()
    made.store.close()
    assert report.problems == ()
