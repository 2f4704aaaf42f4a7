"""Values of several processes become one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

SHARE = "import pathlib, sys; from mssmtp import metrics; metrics.share(pathlib.Path(sys.argv[1]))"


def process(directory: Path, work: str = "") -> None:
    """A process of the server that does `work` on the shared metrics."""
    subprocess.run([sys.executable, "-c", f"{SHARE}; {work}", str(directory)], check=True)


def test_supervisor_that_measures_nothing_does_not_count(tmp_path: Path) -> None:
    process(tmp_path)  # the supervisor
    process(tmp_path, "metrics.crl_seconds_left.set(86400); metrics.whitelist_age_seconds.set(60)")
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))  # type: ignore[no-untyped-call]
    assert registry.get_sample_value("mssmtp_crl_seconds_left") == 86400
    assert registry.get_sample_value("mssmtp_whitelist_age_seconds") == 60
