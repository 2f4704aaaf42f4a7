"""Rules of the settings as a mail client meets them: pace, domains written otherwise, patients."""

from __future__ import annotations

import pytest

from mssmtp.config_policy import DomainRuleSettings, RateSettings
from mssmtp.mail import Domain
from mssmtp.rates import Rates
from tests.authority import B_DOMAIN
from tests.smtp_in.fakes import PAUL, ZOE
from tests.smtp_in.rig import Rig, logged_in


def ruled(rig: Rig, **changes: object) -> None:
    policy = rig.settings.policy.model_copy(update=changes)
    rig.settings = rig.settings.model_copy(update={"policy": policy})


async def test_a_box_that_writes_too_fast_is_told_how_long_to_wait(rig: Rig) -> None:
    rig.rates = Rates(RateSettings(per_hour=6, burst=2))
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        nobody = await wire.say("RCPT TO:<personne@hopital-a.test>")
        told = [await wire.say(f"RCPT TO:<luc{n}@{B_DOMAIN}>") for n in range(3)]
    assert nobody.startswith("550 5.1.1"), "who is refused anyway does not count"
    assert [each[:9] for each in told] == ["250 2.1.5", "250 2.1.5", "450 4.7.1"]
    assert "10 min" in told[2]
    # Another session is the same box.
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("450 4.7.1")


async def test_a_domain_that_is_written_otherwise_is_named_in_the_reply(rig: Rig) -> None:
    rule = DomainRuleSettings(domain="ancien.test", action="rewrite", to=Domain(B_DOMAIN))
    ruled(rig, domain_rules=(rule,))
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        told = await wire.say("RCPT TO:<Luc.Dupont@ancien.test>")
        await wire.say("DATA")
        await wire.say(f"From: <{ZOE}>\r\nTo: <Luc.Dupont@ancien.test>\r\n\r\ntexte\r\n.")
    assert told.startswith("250 2.1.5")
    assert f"Luc.Dupont@{B_DOMAIN}" in told
    (kept,) = rig.store.kept
    (recipient,) = kept.queued
    assert str(recipient.address) == f"Luc.Dupont@{B_DOMAIN}"
    assert recipient.orcpt == "rfc822;Luc.Dupont@ancien.test"
    assert b"To: <Luc.Dupont@ancien.test>" in kept.octets, "the letter itself is not touched"


@pytest.mark.requirement("OP-88")
@pytest.mark.parametrize(("setting", "code"), [("refuse", "550 5.1.3"), ("warn", "250 2.1.5")])
async def test_a_wrong_ins_is_refused_or_taken_with_a_word_of_warning(
    rig: Rig, setting: str, code: str
) -> None:
    ruled(rig, check_ins=setting, patient_domains=(Domain(B_DOMAIN),))
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        wrong = await wire.say(f"RCPT TO:<199019999999978@{B_DOMAIN}>")
        right = await wire.say(f"RCPT TO:<199019999999979@{B_DOMAIN}>")
    assert wrong.startswith(code)
    assert "INS" in wrong
    assert right.startswith("250 2.1.5")
    assert "INS" not in right
