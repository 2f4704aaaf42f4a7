"""What a test must reach before a short limit begins to count takes no time by the loop's clock.

A limit of two tenths of a second is soon over on a machine that is busy with something else; then
the test fails at its first line, and not because of what it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def clock_stopped() -> Iterator[None]:
    """The running loop's clock stands still inside, and goes on from there afterwards.

    No timer of that loop is due meanwhile: nothing inside may wait for one.
    """
    loop = asyncio.get_running_loop()
    going = loop.time
    stood_at = going()
    patch = pytest.MonkeyPatch()
    patch.setattr(loop, "time", lambda: stood_at)
    try:
        yield
    finally:
        stood_s = going() - stood_at
        patch.setattr(loop, "time", lambda: going() - stood_s)
