"""Fixtures every room may use, and the promise of CI: nothing is skipped there."""

from __future__ import annotations

import os

import pytest

from tests.authority import authority, healthy, snapshot

__all__ = ["authority", "healthy", "snapshot"]


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
