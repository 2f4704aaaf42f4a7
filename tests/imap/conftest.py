"""Fixtures of the IMAP room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imap.world import World, worlds


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A store with people, checked at the end."""
    yield from worlds(tmp_path)
