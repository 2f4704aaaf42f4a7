"""`mssmtp store crash-test` is a door to the laboratory of a checkout (tests/crash/)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mssmtp.cli import store_crash_test

ROOT = Path(__file__).parents[2]


def test_its_options_are_those_of_the_laboratory() -> None:
    command = [sys.executable, "-m", "mssmtp", "store", "crash-test", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert "--repeat STATE" in done.stdout


def test_an_installed_release_says_that_it_has_no_laboratory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store_crash_test, "_MODULE", "tests.crash.elsewhere")
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    with pytest.raises(SystemExit) as ended:
        store_crash_test.crash_test(context)
    assert ended.value.code == 2
    assert "in a checkout" in capsys.readouterr().err
