"""docs/trust.md knows every command, every refusal and every alarm there is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from mssmtp import app as server
from mssmtp.cli import trust
from mssmtp.joining import Outside, steps
from mssmtp.trust_feed import State
from mssmtp.whitelist import RefusalReason
from tests.home import CLOCK, Home

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/trust.md").read_text("utf-8")
SAID = re.compile(r'\.(?:error|warning|say)\(\s*(?:logging\.\w+,\s*)?"([^"%]+)"')


def test_every_command_is_there() -> None:
    names = {
        command.name or command.callback.__name__
        for command in trust.app.registered_commands
        if command.callback
    }
    assert len(names) >= 9
    for name in names:
        assert f"mssmtp trust {name}" in PAGE, name


@pytest.mark.parametrize("reason", get_args(RefusalReason))
def test_every_refusal_of_a_list_is_there(reason: str) -> None:
    assert reason in PAGE


def test_every_standing_trouble_of_the_feed_is_there() -> None:
    said = {
        event
        for path in (ROOT / "mssmtp/trust_feed").glob("*.py")
        for event in SAID.findall(path.read_text("utf-8"))
    }
    assert {"CRL ends soon", "two lists of one date"} <= said
    missing = {event for event in said if event not in PAGE} - {"trust feed failed; it goes on"}
    assert missing <= {"own certificate unusable", "OCSP answer not taken"}, missing


@pytest.mark.requirement("OP-96")
def test_joining_is_told_in_the_same_order(home: Home) -> None:
    page = (ROOT / "docs/joining.md").read_text("utf-8")
    told = re.findall(r"^\| (\d+)\. ([^|]+) \|", page, re.MULTILINE)
    assert [int(number) for number, _ in told] == list(range(1, 11))
    snapshot = cache(lambda: server.stored_trust(home.settings).snapshot)
    order = steps(home.settings, snapshot, State(), Outside(), CLOCK.now())
    titles = [step.title for step in order]
    words = [
        "contract",
        "certificates",
        "list",
        "DNS",
        "doors",
        "MOTCO1",
        "MOTCO2",
        "report",
        "list",
        "directory",
    ]
    for word, title, (_, shown) in zip(words, titles, told, strict=True):
        assert word in title
        assert word in shown
