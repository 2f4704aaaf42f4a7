"""In CI a skipped test is a failed run (`tests/conftest.py`)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.conftest import pytest_sessionfinish


class Reporter:
    """The terminal of a run in which `count` tests were skipped."""

    def __init__(self, count: int) -> None:
        self.stats = {"passed": [object()], "skipped": [object()] * count}
        self.lines: list[str] = []

    def write_line(self, line: str, **style: bool) -> None:
        self.lines.append(line)


def ended(count: int, status: int = pytest.ExitCode.OK) -> int:
    reporter = Reporter(count)
    plugins = SimpleNamespace(get_plugin=lambda name: reporter)
    session = SimpleNamespace(config=SimpleNamespace(pluginmanager=plugins), exitstatus=status)
    pytest_sessionfinish(session)  # type: ignore[arg-type]
    assert bool(reporter.lines) == (session.exitstatus != status)
    return int(session.exitstatus)


def test_a_skipped_test_fails_a_run_in_which_nothing_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MSSMTP_NOTHING_SKIPPED", "1")
    assert ended(1) == pytest.ExitCode.TESTS_FAILED
    assert ended(0) == pytest.ExitCode.OK
    assert ended(1, pytest.ExitCode.INTERRUPTED) == pytest.ExitCode.INTERRUPTED


def test_elsewhere_a_skipped_test_is_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSMTP_NOTHING_SKIPPED", raising=False)
    assert ended(3) == pytest.ExitCode.OK
