"""The rig as a fixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.trust import Snapshot
from tests.smtp_in.rig import Rig, make_rig


@pytest.fixture
def rig(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot, tmp_path: Path
) -> Rig:
    """Operator hopital-a.test with three boxes; cabinet-b.test is listed too."""
    return make_rig(authority, healthy, snapshot, tmp_path)
