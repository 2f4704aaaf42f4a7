"""Fixtures every room may use, groups of tests, and the promise of CI: nothing is skipped."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.authority import authority, healthy, snapshot
from tests.distribution import ByPart, longest_first, name_groups
from tests.postgres import postgres
from tests.schema_once import schema_once

__all__ = ["authority", "healthy", "postgres", "schema_once", "snapshot"]

# A build that must be green draws the same examples each time; everywhere else they are new ones.
settings.register_profile(
    "suite", deadline=None, derandomize=bool(os.environ.get("MSSMTP_NOTHING_SKIPPED"))
)
settings.load_profile("suite")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A green run that skipped something says nothing about it: in CI it is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("MSSMTP_NOTHING_SKIPPED") or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} skipped, and nothing may be skipped here", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Nothing of what is collected goes away: not looked through while it grows, nor afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only where several processes share the tests: elsewhere they are played as they are read."""
    if getattr(config.option, "loadgroup", False):
        name_groups(items)
        longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPart | None:
    """`--dist loadgroup` is a part at a time here."""
    return ByPart(config, log) if config.getoption("dist") == "loadgroup" else None
