"""Fixtures every room may use, groups of tests, and the promise of CI: nothing is skipped."""

from __future__ import annotations

import os

import pytest
from _pytest.nodeid import NodeId
from hypothesis import settings

from tests.authority import authority, healthy, snapshot
from tests.postgres import postgres

__all__ = ["authority", "healthy", "postgres", "snapshot"]

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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the `xdist_group` behind each node id, where the scheduler looks for it.

    pytest-xdist 3.8 writes it into an attribute that pytest 9.2 no longer reads: without this
    every process starts a trust space of its own.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")
