"""The feed compares what is published for us with what we asked for (OP-35)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority
from tests.trust.feeding import FakeClock, World


@pytest.mark.requirement("OP-35")
async def test_the_feed_looks_at_our_rows_when_a_list_comes(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, authority, FakeClock(authority.now))
    world.publish_crls()
    _, feed = world.worker()
    await feed.tick()
    (tmp_path / "own" / "own.pem").write_bytes(b"")  # that it cannot be compared is said too
    said = "our rows cannot be compared"
    assert said not in caplog.messages
    world.publish()
    world.clock.advance(minutes=5)
    await feed.tick()
    await feed.tick()
    assert caplog.messages.count(said) == 1
