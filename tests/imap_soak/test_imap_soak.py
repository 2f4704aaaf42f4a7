"""Eight clients on two workers: no wrong number, no flag that goes back, nothing untold (T15).

The short version of `python -m tests.imap_soak`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.app.server import Site
from tests.authority import A_DOMAIN, B_DOMAIN
from tests.home import make_home, put_boxes, put_list
from tests.imap_soak.run import soak


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_eight_clients_on_two_workers_believe_what_is(
    tmp_path: Path, authority: Authority, healthy: dict[str, Identity]
) -> None:
    home = make_home(tmp_path / "home", authority, healthy[A_DOMAIN])
    put_list(home, authority)
    put_boxes(home)
    site = Site(home, authority, healthy[B_DOMAIN])
    site.write()
    outcome = asyncio.run(soak(site, 2.0, "ci"))
    assert outcome.violation == ""
    assert outcome.epochs >= 1
    assert {"store", "expunge", "move", "idle"} <= outcome.acts.keys()
