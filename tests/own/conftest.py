"""An operator whose certificate is on disk and whose domain is in the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN, A_SUBJECT
from tests.own.operator import Own


@pytest.fixture
def own(authority: Authority, healthy: dict[str, Identity], tmp_path: Path) -> Own:
    made = Own(authority, tmp_path)
    made.put(healthy[A_DOMAIN])
    made.publish((A_DOMAIN, A_SUBJECT.text))
    return made
