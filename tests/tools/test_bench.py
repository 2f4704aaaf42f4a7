"""The benchmarks run; what they measure is read on a quiet machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import beside_peers, peers

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(120)
def test_the_store_is_measured_alone(tmp_path: Path) -> None:
    options = {
        "--engines": "sqlite",
        "--workers": "2",
        "--writers": "3",
        "--sizes": "4,200",
        "--rounds": "1",
        "--seconds": "0.1",
        "--directory": str(tmp_path),
    }
    command = [sys.executable, "-m", "bench.delivery", "--json"]
    for option in options.items():
        command += option
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)
    assert {(line["what"], line["octets"] // 1_024) for line in lines} == {
        ("delivery", 4),
        ("delivery", 200),
        ("append", 4),
        ("append", 200),
    }
    assert all(line["per_second"][0] > 0 for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_every_measurement_beside_the_peers_has_a_goal() -> None:
    assert set(beside_peers.MEASURES) == set(beside_peers.GOALS)


def test_missing_peers_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "NEEDED", {"/nonexistent/postfix": "postfix"})
    with pytest.raises(SystemExit, match="apt-get install --no-install-recommends postfix"):
        beside_peers.require_peers()


@pytest.mark.timeout(120)
def test_the_national_list_is_measured() -> None:
    command = [sys.executable, "-m", "bench.whitelist", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "a list of 8,655 rows" in done.stdout
    assert "verify, parse:" in done.stdout
    assert "MiB at the peak" in done.stdout
    assert done.stdout.count("lookup, ") == 5
