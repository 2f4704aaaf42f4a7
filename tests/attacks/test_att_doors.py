"""The SMTP doors in this process: what only a look inside can show."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from mssmtp import smtp_reception
from mssmtp.smtp import content
from tests.smtp_in.fakes import ZOE
from tests.smtp_in.rig import Rig, greeted

pytestmark = pytest.mark.attack

PEER = "anne.tournesol@cabinet-b.test"


@pytest.mark.parametrize("fields", [10, 10_000])
async def test_att_07_a_large_header_section_is_never_read_on_the_loop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fields: int
) -> None:
    read_in: list[str] = []
    genuine = content.authors

    def noted(*arguments: object) -> content.Authors:
        read_in.append(threading.current_thread().name)
        return genuine(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(content, "authors", noted)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        await wire.say("DATA")
        wire.send(f"From: {PEER}\r\n".encode() + b"X-A: b\r\n" * fields + b"\r\nx\r\n.\r\n")
        assert (await wire.reply()).startswith("250 ")
    assert [name == "MainThread" for name in read_in] == [fields == 10]


async def test_att_25_a_transaction_of_a_peer_that_left_the_list_sends_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_reception, "_ASK_AGAIN_S", 0.0)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        await wire.say("DATA")
        rig.trust.swap(replace(rig.trust.snapshot, whitelist=None))
        wire.send(f"From: {PEER}\r\n\r\nx\r\n.\r\n".encode())
        assert (await wire.reply()).startswith("451 4.7.5")
    assert rig.store.kept == []
