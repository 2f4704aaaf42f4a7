"""A box of the production space that writes to a test domain is told so (OP-99)."""

from __future__ import annotations

import logging

import pytest

from mssmtp.config import LimitSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.mail import Domain
from mssmtp.own import OwnKeys
from mssmtp.policy import Engine
from mssmtp.trust import Snapshot, Trust
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, unsigned_whitelist
from tests.smtp_in.fakes import ZOE
from tests.smtp_in.rig import Rig, logged_in

TRAINING = "formation-b.mssante.example"


@pytest.fixture
def listed(rig: Rig) -> Rig:
    """The rig with a training domain in its list."""
    rows = ((A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text), (TRAINING, B_SUBJECT.text))
    known = rig.trust.snapshot
    listed = unsigned_whitelist(rig.authority, *rows)
    rig.trust = Trust(Snapshot(listed, known.revocation, known.anchors))
    return rig


@pytest.mark.requirement("OP-99")
@pytest.mark.parametrize("space", ["production", "test"])
async def test_mail_to_a_test_domain_passes_with_a_warning_in_production(
    listed: Rig, space: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(OwnKeys, "space", space)
    async with listed.submission() as (_, port), await logged_in(listed, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        told = await wire.say(f"RCPT TO:<luc@{TRAINING}>")
        ordinary = await wire.say(f"RCPT TO:<luc@{B_DOMAIN}>")
    assert told.startswith("250 2.1.5")
    is_warned = space == "production"
    assert (TRAINING in told) is is_warned
    assert TRAINING not in ordinary
    warned = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert any("test domain" in each.message for each in warned) is is_warned


@pytest.mark.requirement("OP-99")
@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("cert-valide-audit.espacedeconfiance.mssante.fr", True),
        ("recette.mssante.example", True),
        ("ch-test.mssante.example", True),
        ("ch-testard.mssante.example", False),
        ("information.mssante.example", False),
        ("oc.mssante.fr", False),
    ],
)
def test_a_test_domain_is_told_by_a_whole_word_of_its_name(domain: str, expected: bool) -> None:
    engine = Engine(PolicySettings(), LimitSettings())
    assert engine.is_for_tests(Domain(domain)) is expected
