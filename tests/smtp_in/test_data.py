"""DATA at the door: smuggling, limits, faults (ATT-01, ATT-07, DEF-02, OP-66, D1, D2)."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp.errors import StorageFull
from mssmtp.smtp import receiver as receiver_module
from tests.smtp_in.fakes import PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: x\r\n\r\n"
SMUGGLED = b"MAIL FROM:<anne.tournesol@cabinet-b.test>\r\nRCPT TO:<paul.marelle@hopital-a.test>\r\n"


async def begin(wire: Wire) -> None:
    assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
    assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 ")
    assert (await wire.say("DATA")).startswith("354 ")


FAKE_ENDS = [
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r\r\n",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
]


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
@pytest.mark.parametrize("fake_end", FAKE_ENDS, ids=repr)
async def test_att_01_nothing_is_smuggled_behind_a_fake_end(rig: Rig, fake_end: bytes) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        wire.send(HEADER + b"text" + fake_end + SMUGGLED + b"DATA\r\n" + HEADER + b"y\r\n.\r\n")
        assert (await wire.reply()).startswith("550 5.6.0")
        if b"\0" not in fake_end:
            assert await wire.is_closed()
    assert rig.store.kept == []
    assert rig.store.letters == []


@pytest.mark.attack
async def test_att_01_the_detector_fires_on_a_lenient_receiver(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module.DataReceiver, "_inspect", lambda self, piece: None)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        assert (await wire.say(HEADER + b"text\n.\nMAIL\r\n.\r\n")).startswith("250 ")
    assert len(rig.store.kept) == 1


@pytest.mark.requirement("DEF-02")
async def test_a_bare_line_feed_or_nul_is_refused_and_the_next_letter_is_served(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for bad in (b"one\ntwo\r\n", b"one\0two\r\n", b"one\rtwo\r\n"):
            await begin(wire)
            assert (await wire.say(HEADER + bad + b".\r\n")).startswith("550 5.6.0")
        await begin(wire)
        assert (await wire.say(HEADER + b"good\r\n.\r\n")).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    assert kept.message == HEADER + b"good\r\n"


LINES = [b"text", b".", b"..", b".x", b"", b"\xe9\xff 8 bit", b"x" * 5_000, b"--b1", b" \t"]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(LINES), max_size=40), st.integers(0, 2**32))
def test_octets_below_the_trace_headers_are_those_that_were_sent(
    rig: Rig, lines: list[bytes], seed: int
) -> None:
    message = HEADER + b"".join(line + b"\r\n" for line in lines)
    stuffed = HEADER + b"".join(
        (b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines
    )
    octets = stuffed + b".\r\n"
    random_cuts = random.Random(seed)  # noqa: S311 - reproducible splits

    async def cross() -> None:
        async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
            await begin(wire)
            at = 0
            while at < len(octets):
                step = random_cuts.choice([1, 7, 100, 4_000])
                wire.send(octets[at : at + step])
                await wire.writer.drain()
                at += step
            assert (await wire.reply()).startswith("250 2.0.0")

    rig.store.kept.clear()
    asyncio.run(cross())
    assert rig.store.kept[0].message == message


@pytest.mark.requirement("CL-38", "OP-66")
async def test_an_announced_size_above_the_limit_is_refused_at_mail(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}> SIZE=62914561")).startswith("552 5.3.4")
        assert (await wire.say(f"MAIL FROM:<{PEER}> SIZE=62914560")).startswith("250 ")


@pytest.mark.attack
@pytest.mark.requirement("OP-66")
async def test_an_unannounced_size_is_refused_at_the_end_and_nothing_is_kept(rig: Rig) -> None:
    rig.limit(message_octets=100_000)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        fill = b"x" * 98 + b"\r\n"
        body = fill * ((100_000 - len(HEADER)) // 100)
        rest = 100_000 - len(HEADER) - len(body) - 2
        message = HEADER + body + b"z" * rest + b"\r\n"
        assert len(message) == 100_000
        assert (await wire.say(message + b".\r\n")).startswith("250 2.0.0")
        await begin(wire)
        assert (await wire.say(message[:-2] + b"z\r\n.\r\n")).startswith("552 5.3.4")
        assert (await wire.say("NOOP")).startswith("250 ")
    assert len(rig.store.kept) == 1


@pytest.mark.attack
async def test_a_flood_is_cut(rig: Rig) -> None:
    rig.limit(message_octets=50_000)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        wire.send(HEADER + b"x" * 200_000)
        assert (await wire.reply()).startswith("552 5.3.4")
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_07_a_hundred_thousand_headers_are_refused_in_bounded_memory(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        octets = b"".join(b"X-%d: a\r\n" % n for n in range(100_000))
        assert (await wire.say(octets + b"\r\nbody\r\n.\r\n")).startswith("554 5.6.0")
        await begin(wire)
        assert (await wire.say(HEADER + b"good\r\n.\r\n")).startswith("250 2.0.0")


@pytest.mark.attack
async def test_att_09_a_leading_fold_is_refused(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        assert (await wire.say(b"\tfolded\r\n" + HEADER + b".\r\n")).startswith("550 5.6.0")


@pytest.mark.requirement("OP-63")
async def test_ugly_mail_is_kept_octet_for_octet(rig: Rig) -> None:
    ugly = [
        HEADER + b"undeclared \xe9\xe8 and a long line " + b"x" * 20_000 + b"\r\n",
        HEADER[:-2] + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nunended\r\n',
        HEADER[:-2] + b"no colon here\r\n\r\nbody",
        HEADER[:-2],
    ]
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for message in ugly:
            await begin(wire)
            ended = message if message.endswith(b"\r\n") else message + b"\r\n"
            assert (await wire.say(ended + b".\r\n")).startswith("250 2.0.0")
            assert rig.store.kept[-1].message == ended


async def test_a_full_disk_is_452_and_the_session_goes_on(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        rig.store.write_error = StorageFull()
        await begin(wire)
        assert (await wire.say(HEADER + b"x\r\n" * 100_000 + b".\r\n")).startswith("452 4.3.1")
        rig.store.write_error, rig.store.commit_error = None, StorageFull()
        await begin(wire)
        assert (await wire.say(HEADER + b"x\r\n.\r\n")).startswith("452 4.3.1")
        rig.store.commit_error = None
        await begin(wire)
        assert (await wire.say(HEADER + b"x\r\n.\r\n")).startswith("250 2.0.0")
    assert len(rig.store.kept) == 1
    assert len(rig.store.letters) == 1


async def test_our_own_bug_is_451_and_bounces_nothing(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for kind in ("write_error", "commit_error"):
            setattr(rig.store, kind, ZeroDivisionError("table mailboxes, /srv/home"))
            await begin(wire)
            reply = await wire.say(HEADER + b"x\r\n" * 60_000 + b".\r\n")
            assert reply.startswith("451 4.3.0")
            assert "mailboxes" not in reply
            setattr(rig.store, kind, None)
    assert rig.store.kept == []


async def test_250_comes_only_after_the_commit(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        rig.store.hold()
        await begin(wire)
        wire.send(HEADER + b"x\r\n.\r\n")
        await rig.store.is_waiting.wait()
        waiting = asyncio.ensure_future(wire.reply())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert rig.store.kept == []
        rig.store.release()
        assert (await waiting).startswith("250 2.0.0")


async def test_a_connection_lost_in_data_leaves_no_trace(rig: Rig) -> None:
    async with rig.operators() as (door, port):
        wire = await greeted(rig, port, rig.b)
        await begin(wire)
        wire.send(HEADER + b"x" * 300_000)
        await wire.writer.drain()
        tasks = [link.task for link in door._links if link.task is not None]
        await wire.close()
        await asyncio.gather(*tasks)
    assert rig.store.open_writers == 0
    assert rig.store.kept == []


async def test_what_follows_the_end_is_the_next_command(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        wire.send(HEADER + b"x\r\n.\r\nNOOP\r\nQUIT\r\n")
        codes = [(await wire.reply())[:3] for _ in range(3)]
        assert codes == ["250", "250", "221"]
        assert await wire.is_closed()
