"""What MAIL and RCPT ask of those who carry the message reaches the store (RFC 3461, 8689, …)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mssmtp.config_policy import RateSettings
from mssmtp.mail import Recipient
from mssmtp.rates import Rates
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import NowClock, Rig, greeted, logged_in

OUTSIDE = "anne.tournesol@cabinet-b.test"
MESSAGE = f"From: <{ZOE}>\r\nSubject: x\r\n\r\nx\r\n".encode()


async def test_every_wish_goes_with_the_envelope(rig: Rig) -> None:
    wishes = "RET=HDRS ENVID=a+2Bb REQUIRETLS MT-PRIORITY=4 BY=3600;RT HOLDFOR=60"
    before = NowClock().now()
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{ZOE}> {wishes}")).startswith("250 2.1.0")
        asked = f"RCPT TO:<{OUTSIDE}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.test"
        assert (await wire.say(asked)).startswith("250 ")
        assert (await wire.say("DATA")).startswith("354 ")
        assert (await wire.say(MESSAGE + b".\r\n")).startswith("250 2.0.0")
    after = NowClock().now()
    (kept,) = rig.store.kept
    sent = kept.envelope
    assert (sent.ret, sent.envid, sent.require_tls, sent.priority) == ("HDRS", "a+2Bb", True, 4)
    assert sent.hold_until is not None
    assert before <= sent.hold_until - timedelta(seconds=60) <= after
    assert sent.deliver_by is not None
    assert (sent.deliver_by.mode, sent.deliver_by.trace) == ("R", True)
    assert before <= sent.deliver_by.deadline - timedelta(seconds=3600) <= after
    (queued,) = kept.queued
    assert queued == Recipient(
        queued.address, notify=frozenset({"SUCCESS", "DELAY"}), orcpt="rfc822;a+2Bb@c.test"
    )
    assert b" priority 4\r\n" in kept.octets


async def test_a_letter_held_for_later_waits_for_its_local_recipients_too(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{ZOE}> HOLDFOR=60")).startswith("250 ")
        for recipient in (PAUL, OUTSIDE):
            assert (await wire.say(f"RCPT TO:<{recipient}>")).startswith("250 ")
        assert (await wire.say("DATA")).startswith("354 ")
        assert (await wire.say(MESSAGE + b".\r\n")).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert kept.local == ()
    assert [str(one.address) for one in kept.queued] == [str(PAUL), OUTSIDE]


@pytest.mark.parametrize(("mode", "answer"), [("R", "550 5.4.7"), ("N", "250 2.0.0")])
async def test_a_deadline_that_passes_during_data_returns_the_letter(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, mode: str, answer: str
) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{ZOE}> BY=3600;{mode}")).startswith("250 ")
        assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("250 ")
        assert (await wire.say("DATA")).startswith("354 ")
        later = NowClock().now() + timedelta(hours=2)

        def now(self: NowClock) -> datetime:
            return later

        monkeypatch.setattr(NowClock, "now", now)
        assert (await wire.say(MESSAGE + b".\r\n")).startswith(answer)
    assert len(rig.store.kept) == (mode == "N")


async def test_an_operator_lowers_its_mail_but_raises_none(rig: Rig) -> None:
    letter = MESSAGE.replace(str(ZOE).encode(), str(PEER).encode())
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for asked in (9, -9):
            await wire.say(f"MAIL FROM:<{PEER}> MT-PRIORITY={asked}")
            await wire.say(f"RCPT TO:<{ZOE}>")
            await wire.say("DATA")
            assert (await wire.say(letter + b".\r\n")).startswith("250 2.0.0")
    assert [kept.envelope.priority for kept in rig.store.kept] == [0, -9]


async def test_a_box_that_calls_too_much_urgent_is_told_and_goes_as_any_other(rig: Rig) -> None:
    """RFC 6710 5: the priority is lowered, and 250 2.3.6 says so."""
    rig.rates = Rates(RateSettings(urgent_per_hour=1))
    told = []
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        for asked in (4, 6, -3):
            told.append(await wire.say(f"MAIL FROM:<{ZOE}> MT-PRIORITY={asked}"))
            await wire.say(f"RCPT TO:<{OUTSIDE}>")
            await wire.say("DATA")
            assert (await wire.say(MESSAGE + b".\r\n")).startswith("250 2.0.0")
    assert [each[:9] for each in told] == ["250 2.1.0", "250 2.3.6", "250 2.1.0"]
    assert [kept.envelope.priority for kept in rig.store.kept] == [4, 0, -3]
    assert [b" priority " in kept.octets for kept in rig.store.kept] == [True, False, True]
