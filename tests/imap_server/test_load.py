"""The short run of `python -m tests.imap_load`: the figures are for whoever runs it by hand."""

from __future__ import annotations

import pytest

from tests import imap_load

pytestmark = [pytest.mark.end_to_end, pytest.mark.soak, pytest.mark.timeout(120)]


@pytest.mark.requirement("CL-36")
async def test_many_sessions_wait_read_slowly_and_ask_beside_one_another() -> None:
    """Sixty sessions of one user at once, a slow reader, every mailbox asked, heavy commands."""
    async with imap_load.server() as one:
        told = await imap_load.idle(one, 60)
        assert told[0].startswith("60 sessions in IDLE: ")
        assert "all of them told" in told[1]
        assert "FETCH of 50 beside it" in (await imap_load.slow(one, 0.5, octets=2_000_000))[1]
        assert len(await imap_load.status(one, 20)) == 2
        assert len(await imap_load.fair(one, 100)) == 1 + len(imap_load.HEAVY)
