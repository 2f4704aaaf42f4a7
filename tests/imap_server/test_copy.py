"""The short run of `python -m tests.imap_copy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import imap_copy

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


async def test_mac_06_letters_are_copied_to_dovecot_and_back(tmp_path: Path) -> None:
    told = await imap_copy.run(200, tmp_path)
    assert [line.count("the same") for line in told] == [1, 1]
