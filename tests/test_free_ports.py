"""Two runs of the tests at once are never given the same port."""

from __future__ import annotations

import subprocess
import sys

from tests.free_ports import free_ports, take
from tests.space import ROOT


def test_a_port_is_given_once_among_all_processes() -> None:
    (ours,) = free_ports(1)
    assert not take([ours])
    other = f"from tests.free_ports import take; print(take([{ours}]))"
    done = subprocess.run(
        [sys.executable, "-c", other], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
