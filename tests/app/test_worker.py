"""What one worker's tasks owe each other."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import cast

import pytest

from mssmtp import serving
from mssmtp.app import Door, Rooms
from mssmtp.own import OwnKeys, OwnWatch
from mssmtp.smtp_out import Relay
from mssmtp.storage import Store
from mssmtp.trust_feed import TrustFeed


class Slow:
    """A room whose stop takes as long as the others' of the barrier."""

    def __init__(self, together: asyncio.Barrier) -> None:
        self._together = together

    async def stop(self, grace_s: float) -> None:
        await self._together.wait()


async def test_doors_and_relay_share_one_grace() -> None:
    together = asyncio.Barrier(3)
    doors = {name: cast(Door, Slow(together)) for name in ("operators", "imaps")}
    rooms = Rooms(
        cast(TrustFeed, None),
        cast(Relay, Slow(together)),
        cast(OwnWatch, None),
        cast(OwnKeys, None),
        doors,
    )
    await asyncio.wait_for(serving._finish(rooms), 5)
    assert serving.GRACE_S < serving.SUPERVISOR_GRACE_S


class BrokenStore:
    """Writes fail in a way nobody foresaw."""

    def __init__(self) -> None:
        self.asked = 0
        self.twice = asyncio.Event()

    def write(self, job: object) -> Future[None]:
        self.asked += 1
        if self.asked == 2:
            self.twice.set()
        failed: Future[None] = Future()
        failed.set_exception(RuntimeError("broken"))
        return failed


async def test_a_prune_that_fails_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_PRUNE_EVERY_S", 0.0)
    store = BrokenStore()
    pruning = asyncio.create_task(serving._prune_daily(cast(Store, store)))
    await asyncio.wait_for(store.twice.wait(), 5)
    pruning.cancel()
