"""Eight clients on two workers: no wrong number, no flag that goes back, nothing untold (T15).

The short version of `python -m tests.imap_soak`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.app.server import Site
from tests.authority import A_DOMAIN, B_DOMAIN
from tests.home import make_home, put_boxes, put_list
from tests.imap_soak.play import Player
from tests.imap_soak.run import SMALL_COMMITS, soak
from tests.imap_soak.session import Session, View
from tests.imap_soak.truth import Truth


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
    outcome = asyncio.run(soak(site, 30.0, "ci", code=SMALL_COMMITS))
    assert outcome.violation == ""
    assert outcome.epochs >= 1
    assert {"store", "expunge", "move", "idle"} <= outcome.acts.keys()


class Unheard(Session):
    """One whose commands go nowhere."""

    async def command(self, text: str, literal: bytes = b"", *, numbers: bool = False) -> str:
        return "OK"


@pytest.mark.parametrize("dialect", [(), ("CONDSTORE",)])
async def test_what_is_marked_as_seen_without_a_modseq_has_no_whole_history(
    dialect: tuple[str, ...],
) -> None:
    truth = Truth()
    session = Unheard("aa", dialect, truth, ssl.create_default_context(), 0, ("", ""))
    session.view = View(5, [7])
    await Player(session, random.Random(1), Counter())._read()  # noqa: S311
    assert truth.holey == (set() if dialect else {(5, 7)})
