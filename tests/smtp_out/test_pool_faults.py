"""What goes wrong with an idle connection is that connection's affair."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mssmtp.smtp_client import PeerConnection, Target
from mssmtp.smtp_pool import Pool, Reach, Speaker
from mssmtp.trust import Trust
from tests.smtp_out.fakes import FakeResolver
from tests.smtp_out.test_relay import World, identities, world

__all__ = ["identities", "world"]


class Broken:
    """An idle connection on which saying QUIT fails in a way nobody foresaw."""

    is_open = True
    target = Target("mx.b.test", "127.0.0.1", 25)

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def quit(self) -> None:
        self.asked.set()
        raise RuntimeError("the handler is closed")


def pool(world: World) -> tuple[Pool, Broken]:
    made = Pool(cast(Speaker, None), Reach({}, 0.0), FakeResolver(), cast(Trust, None), world.clock)
    broken = Broken()
    made.give_back(cast(PeerConnection, broken))
    return made, broken


async def test_a_connection_that_cannot_be_ended_does_not_end_the_relay(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep is a task of the relay's group: if it failed, every delivery would be cut."""
    made, broken = pool(world)
    sweep = asyncio.create_task(made.sweep())
    await broken.asked.wait()
    made.give_back(cast(PeerConnection, again := Broken()))
    await asyncio.wait(
        [sweep, asyncio.create_task(again.asked.wait())], return_when="FIRST_COMPLETED"
    )
    assert not sweep.done()
    sweep.cancel()
    assert "connection not ended" in caplog.text


async def test_closing_the_pool_never_fails(world: World) -> None:
    made, broken = pool(world)
    await made.close()
    assert broken.asked.is_set()
