"""Nothing lost, doubled or stuck while peers fail, workers die and the list changes (D3, D4).

The short version of `python -m tests.smtp_soak`, and the proof that its judge misses nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.app.server import Site
from tests.authority import A_DOMAIN, B_DOMAIN
from tests.home import make_home
from tests.smtp_soak.journal import Arrived, Outcome, Sent
from tests.smtp_soak.judge import Evidence, violations
from tests.smtp_soak.peers import partners
from tests.smtp_soak.run import Soak, Wanted


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.requirement("OP-18", "OP-19")
def test_every_letter_is_delivered_or_reported_whatever_dies(
    tmp_path: Path, authority: Authority, healthy: dict[str, Identity]
) -> None:
    home = make_home(tmp_path / "home", authority, healthy[A_DOMAIN])
    site = Site(home, authority, healthy[B_DOMAIN])
    others = partners(authority, tmp_path / "partners", 3)
    outcome = asyncio.run(Soak(site, others, Wanted(30.0, "ci")).run())
    assert outcome.violations == []
    assert outcome.kills + outcome.crashes > 0
    assert outcome.letters["accepted"] > 20
    assert outcome.reports > 0


OURS = frozenset({"zoe@hopital-a.test", "ali@hopital-a.test"})
ZOE, LUC = "zoe@hopital-a.test", "luc@partenaire-0.test"
EVENTS = ("scellement", "remise", "relais")


def judged(
    copies: dict[str, int],
    reports: dict[tuple[str, str], int] | None = None,
    *,
    outcome: Outcome = "accepted",
    events: tuple[str, ...] = EVENTS,
    in_doubt: int = 0,
    wants_success: bool = False,
) -> list[str]:
    sent = Sent(1, "ali@hopital-a.test", (ZOE, LUC), outcome=outcome)
    sent.envelope = "E" if outcome == "accepted" else ""
    sent.wants_success = wants_success
    arrived = Arrived(Counter(copies), Counter(reports or {}))
    return list(violations(sent, arrived, Evidence(events, in_doubt), OURS))


def test_the_judge_is_content_with_what_is_right() -> None:
    assert judged({ZOE: 1, LUC: 1}) == []
    bounced = ("scellement", "remise", "rejet")
    assert judged({ZOE: 1}, {("failed", LUC): 1, ("delayed", LUC): 1}, events=bounced) == []
    assert judged({ZOE: 1, LUC: 2}, in_doubt=1) == []
    both = {("delivered", ZOE): 1, ("relayed", LUC): 1}
    assert judged({ZOE: 1, LUC: 1}, both, wants_success=True) == []
    assert judged({}, outcome="refused", events=()) == []
    assert judged({}, outcome="doubt", events=()) == []
    assert judged({ZOE: 1, LUC: 1}, outcome="doubt", events=()) == []


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (judged({ZOE: 1}), "lost"),
        (judged({LUC: 1}), "lost"),
        (judged({ZOE: 2, LUC: 1}), "has it once"),
        (judged({ZOE: 1, LUC: 2}), "twice without doubt"),
        (judged({ZOE: 1, LUC: 1}, {("failed", LUC): 1}), "twice without doubt"),
        (judged({ZOE: 1}, {("failed", LUC): 2}), "reported twice"),
        (judged({ZOE: 1, LUC: 1}, {("delayed", LUC): 2}), "reported twice"),
        (judged({ZOE: 1, LUC: 1}, {("relayed", LUC): 1}), "not asked for"),
        (judged({ZOE: 1, LUC: 1}, {("relayed", LUC): 1}, wants_success=True), "never told"),
        (judged({ZOE: 1, LUC: 1, "x@y.test": 1}), "were not accepted"),
        (judged({ZOE: 1}, outcome="refused", events=()), "was refused"),
        (judged({ZOE: 1}, outcome="doubt", events=()), "lost"),
        (judged({ZOE: 1, LUC: 1}, events=("scellement", "remise")), "its ledger says"),
        (judged({ZOE: 1, LUC: 1}, events=("remise", "relais")), "its ledger says"),
    ],
)
def test_the_judge_sees(wrong: list[str], what: str) -> None:
    assert len(wrong) >= 1
    assert what in wrong[0]
