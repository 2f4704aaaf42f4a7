"""Budgets of a connection and of a door; orderly stop (DEF-02, ATT-41, ATT-37)."""

from __future__ import annotations

import asyncio
import base64
import logging

import pytest

from mssmtp import smtp_link
from tests.smtp_in.fakes import PASSWORD, PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in
from tests.stopped_clock import clock_stopped

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: x\r\n\r\n"


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
async def test_a_command_line_above_12288_octets_is_500_5_5_6(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say("NOOP " + "x" * 12_283)).startswith("250 ")
        assert (await wire.say("NOOP " + "x" * 12_284)).startswith("500 5.5.6")
        assert (await wire.say(b"x" * 1_000_000 + b"\r\n")).startswith("500 5.5.6")
        assert (await wire.say("NOOP")).startswith("250 ")


@pytest.mark.attack
async def test_unknown_commands_are_bounded(rig: Rig) -> None:
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        wire.send(b"GET / HTTP/1.1\r\n" * 40)
        replies = [await wire.reply() for _ in range(21)]
        assert all(reply.startswith("500 5.5.1") for reply in replies[:20])
        assert replies[20].startswith("421 4.7.0")
        assert await wire.is_closed()


@pytest.mark.attack
async def test_commands_that_move_nothing_are_bounded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.smtp_machine._MAX_IDLE_COMMANDS", 30)
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        wire.send(b"NOOP\r\n" * 31)
        replies = [(await wire.reply())[:3] for _ in range(31)]
        assert replies == ["250"] * 30 + ["421"]
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_41_commands_that_came_together_let_others_run_between_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, turns = asyncio.sleep, 0

    async def counted(seconds: float) -> None:
        nonlocal turns
        turns += 1
        await genuine(seconds)

    monkeypatch.setattr(smtp_link, "SLICE_S", 0.0)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        monkeypatch.setattr(asyncio, "sleep", counted)
        wire.send(b"NOOP\r\n" * 20)
        assert [(await wire.reply())[:3] for _ in range(20)] == ["250"] * 20
    assert turns >= 20


@pytest.mark.attack
async def test_att_41_connections_are_limited_per_address_and_freed(rig: Rig) -> None:
    rig.limit(connections_per_address=2)
    async with (
        rig.operators() as (door, port),
        await Wire.connect(port) as first,
        await Wire.connect(port) as second,
    ):
        assert (await first.reply()).startswith("220 ")
        assert (await second.reply()).startswith("220 ")
        async with await Wire.connect(port) as third:
            assert (await third.reply()).startswith("421 4.7.0")
            assert await third.is_closed()
        tasks = [link.task for link in door._links if link.task]
        await first.close()
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        async with await Wire.connect(port) as fourth:
            assert (await fourth.reply()).startswith("220 ")


async def in_data(rig: Rig, port: int) -> Wire:
    """A peer that may send the octets of its letter."""
    wire = await greeted(rig, port, rig.b)
    for command in (f"MAIL FROM:<{PEER}>", f"RCPT TO:<{ZOE}>", "DATA"):
        await wire.say(command)
    return wire


@pytest.mark.attack
async def test_att_41_an_idle_connection_is_told_and_closed(rig: Rig) -> None:
    rig.limit(idle_smtp_s=0.2)
    async with rig.operators() as (_, port):
        with clock_stopped():
            wire = await greeted(rig, port, rig.b)
        async with wire:
            assert (await wire.reply()).startswith("421 4.4.2")
            assert await wire.is_closed()


@pytest.mark.attack
async def test_att_41_data_that_trickles_is_cut(rig: Rig) -> None:
    rig.limit(idle_smtp_s=0.3)
    async with rig.operators() as (_, port):
        with clock_stopped():
            wire = await in_data(rig, port)

        async def trickle() -> None:
            while True:
                wire.send(b"x")
                await asyncio.sleep(0.02)

        async with wire:
            dripping = asyncio.ensure_future(trickle())
            try:
                assert (await wire.reply()).startswith("421 4.4.2")
            finally:
                dripping.cancel()
    assert rig.store.kept == []


async def test_a_working_server_does_not_time_out_its_client(rig: Rig) -> None:
    rig.limit(idle_smtp_s=0.1)
    async with rig.operators() as (_, port):
        with clock_stopped():
            wire = await in_data(rig, port)
            rig.store.hold()
            wire.send(HEADER + b"x\r\n.\r\n")
            await rig.store.is_waiting.wait()
        async with wire:
            await asyncio.sleep(0.3)  # longer than the limit: that is what is tested
            rig.store.release()
            assert (await wire.reply()).startswith("250 2.0.0")


async def test_an_orderly_stop_finishes_the_letter_in_hand_and_says_421(rig: Rig) -> None:
    async with rig.operators() as (door, port):
        busy, idle = await greeted(rig, port, rig.b), await greeted(rig, port, rig.b)
        await busy.say(f"MAIL FROM:<{PEER}>")
        await busy.say(f"RCPT TO:<{ZOE}>")
        await busy.say("DATA")
        busy.send(HEADER)
        await busy.writer.drain()
        stopping = asyncio.ensure_future(door.stop(30.0))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.is_closed()
        busy.send(b"x\r\n.\r\n")
        assert (await busy.reply()).startswith("250 2.0.0")
        assert (await busy.reply()).startswith("421 4.3.2")
        assert await busy.is_closed()
        await asyncio.wait_for(stopping, 30)
        await busy.close()
        await idle.close()
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, by platform
            await Wire.connect(port)
    assert len(rig.store.kept) == 1


async def test_a_stop_does_not_wait_longer_than_its_grace(rig: Rig) -> None:
    async with rig.operators() as (door, port):
        wire = await greeted(rig, port, rig.b)
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        await wire.say("DATA")
        await asyncio.wait_for(door.stop(0.05), 5)
        await wire.close()
    assert rig.store.kept == []


async def test_a_bug_in_a_command_is_451_without_its_text(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret /srv/mssmtp table accounts")

    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        monkeypatch.setattr(rig.store, "bal", broken)
        await wire.say(f"MAIL FROM:<{PEER}>")
        reply = await wire.say(f"RCPT TO:<{ZOE}>")
        assert reply.startswith("451 4.3.0")
        assert "secret" not in reply
        assert "RuntimeError" not in reply
        monkeypatch.undo()
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 ")


@pytest.mark.attack
async def test_att_37_no_log_line_holds_octets_of_mail_or_credentials(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("mail.log", "mail.debug", "asyncio"):  # as mssmtp.log.configure does
        logging.getLogger(name).setLevel(logging.WARNING)
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        await wire.say("RCPT TO:<paul.marelle@hopital-a.test>")
        await wire.say("DATA")
        letter = b"From: <zoe.tartempion@hopital-a.test>\r\nSubject: canari\r\n\r\ncanari\r\n.\r\n"
        assert (await wire.say(letter)).startswith("250 ")
        await wire.say("MAIL FROM:<canari@hopital-a.test>")
        await wire.say(b"EHLO x\rcanari\x1b[31m\r\n")
    said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    for secret in ("canari", "paul.marelle", "zoe.tartempion", "abcdefghij0123456789"):
        assert secret not in said


async def test_a_refused_mail_with_a_hundred_pipelined_recipients_keeps_the_connection(
    rig: Rig,
) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        lines = ["MAIL FROM:<x@hors-liste.example>", *([f"RCPT TO:<{ZOE}>"] * 100), "DATA"]
        wire.send("".join(f"{line}\r\n" for line in lines).encode())
        codes = [(await wire.reply())[:3] for _ in lines]
        assert codes == ["550"] + ["503"] * 101
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")


@pytest.mark.attack
async def test_a_thousand_wrong_passwords_are_refused_and_an_honest_login_served(rig: Rig) -> None:
    wrong = base64.b64encode(f"\0{ZOE}\0wrong".encode()).decode()
    async with rig.submission(implicit_tls=True) as (_, port):
        context = rig.client(None)
        for _ in range(200):
            async with await Wire.connect(port, context) as wire:
                await wire.reply()
                wire.send(b"EHLO x\r\n" + f"AUTH PLAIN {wrong}\r\n".encode() * 6)
                replies = [(await wire.reply())[:3] for _ in range(7)]
                assert replies == ["250"] + ["535"] * 5 + ["421"]
        async with await Wire.connect(port, context) as wire:
            await wire.reply()
            await wire.say("EHLO x")
            right = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode()).decode()
            assert (await wire.say(f"AUTH PLAIN {right}")).startswith("235 ")
    assert len(rig.logins.asked) == 1_001
