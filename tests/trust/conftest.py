"""A trust space for each file: its tests revoke, and issue with serial numbers of their own."""

from __future__ import annotations

from datetime import datetime

import pytest

from mssmtp.demo.authority import Authority
from mssmtp.pki import Anchors
from tests.authority import shared_keys


@pytest.fixture(scope="module")
def space() -> Authority:
    return Authority(datetime.fromisoformat("2026-03-02T09:00:00+00:00"), make_key=shared_keys(10))


@pytest.fixture(scope="module")
def anchors(space: Authority) -> Anchors:
    return Anchors.from_pem(space.anchors_pem)
