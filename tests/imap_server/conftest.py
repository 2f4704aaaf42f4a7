"""The rig as a fixture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN
from tests.imap_server.rig import Rig, make_rig


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server runs on uvloop; what clients do is tried on both loops."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name == "test_clients.py":
        loops["asyncio"] = asyncio.SelectorEventLoop
    return loops


@pytest.fixture
def rig(authority: Authority, healthy: dict[str, Identity], tmp_path: Path) -> Iterator[Rig]:
    """A home whose invariants are checked at the end."""
    made = make_rig(authority, healthy[A_DOMAIN], tmp_path)
    yield made
    report = made.store.check()
    made.store.close()
    assert report.problems == ()
