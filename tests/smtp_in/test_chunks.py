"""BDAT at the door: whole, cut, refused, hostile (RFC 3030, ATT-35, ATT-01)."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from mssmtp.errors import StorageFull
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted
from tests.stopped_clock import clock_stopped

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: x\r\n\r\n"
MESSAGE = HEADER + b"Bonjour.\r\n.\r\n..\r\nfin\r\n"


async def begin(wire: Wire) -> None:
    assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
    assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 ")


def bdat(octets: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%b\r\n" % (len(octets), b" LAST" if last else b"") + octets


async def test_chunks_of_any_size_make_the_same_letter(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for size in (1, 7, 50, len(MESSAGE)):
            await begin(wire)
            pieces = [MESSAGE[at : at + size] for at in range(0, len(MESSAGE), size)]
            wire.send(b"".join(map(bdat, pieces)) + bdat(b"", last=True))
            for piece in pieces:
                assert await wire.reply() == f"250 2.0.0 {len(piece)} octets recus"
            assert (await wire.reply()).startswith("250 2.0.0 Message")
            assert rig.store.kept[-1].message == MESSAGE
    assert len(rig.store.kept) == 4


async def test_a_large_chunk_is_streamed_and_the_next_command_is_found(rig: Rig) -> None:
    message = HEADER + b"0123456789\r\n" * 100_000
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        wire.send(bdat(message, last=True) + b"NOOP\r\n")
        assert (await wire.reply()).startswith("250 2.0.0 Message")
        assert (await wire.reply()) == "250 2.0.0 OK"
    assert rig.store.kept[0].message == message


SMUGGLED = b"\r\n.\r\nMAIL FROM:<anne.tournesol@cabinet-b.test>\r\n"


@pytest.mark.attack
async def test_att_35_an_end_of_data_inside_a_chunk_is_content(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        assert (await wire.say(bdat(HEADER + SMUGGLED, last=True))).startswith("250 2.0.0 M")
    (kept,) = rig.store.kept
    assert kept.message == HEADER + SMUGGLED


@pytest.mark.attack
@pytest.mark.parametrize("wrong", [b"a\nb", b"a\rb", b"a\0b", b"a\r", b"\n.\n"], ids=repr)
async def test_att_01_what_data_refuses_a_chunk_refuses_too(rig: Rig, wrong: bytes) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for cut in range(len(wrong) + 1):
            await begin(wire)
            wire.send(bdat(HEADER + wrong[:cut]) + bdat(wrong[cut:], last=True))
            answers = [(await wire.reply())[:9] for _ in range(2)]
            assert answers[1] == "550 5.6.0"
        assert (await wire.say("NOOP")).startswith("250 ")
    assert rig.store.kept == []


@pytest.mark.attack
@pytest.mark.requirement("OP-66")
async def test_att_35_a_message_of_chunks_is_bounded_like_any(rig: Rig) -> None:
    rig.limit(message_octets=10_000)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        part = b"x" * 4_998 + b"\r\n"
        wire.send(bdat(part) * 3 + bdat(b"", last=True))
        answers = [(await wire.reply())[:9] for _ in range(4)]
        assert answers == ["250 2.0.0", "250 2.0.0", "552 5.3.4", "552 5.3.4"]
        await begin(wire)
        assert (await wire.say(bdat(HEADER, last=True))).startswith("250 2.0.0 Message")
        await begin(wire)
        wire.send(b"BDAT 20001\r\nNOOP\r\n")
        assert (await wire.reply()).startswith("552 5.3.4")
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_35_chunks_that_were_never_finished_leave_nothing(rig: Rig) -> None:
    octets = bdat(HEADER) + bdat(b"x\r\n", last=True)
    async with rig.operators() as (door, port):
        for cut in (*range(0, len(octets), 7), len(octets) - 1):
            wire = await greeted(rig, port, rig.b)
            await begin(wire)
            wire.send(octets[:cut])
            await wire.writer.drain()
            await wire.close()
        for end in ("RSET", "EHLO again", "QUIT"):
            async with await greeted(rig, port, rig.b) as wire:
                await begin(wire)
                assert (await wire.say(bdat(HEADER * 400))).startswith("250 ")
                assert (await wire.say(end)).startswith("2")
    assert rig.store.kept == []
    assert rig.store.letters == []


@pytest.mark.attack
async def test_att_35_recipients_behind_a_refused_chunk_do_not_get_the_rest(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
        wire.send(bdat(HEADER) + f"RCPT TO:<{PAUL}>\r\n".encode() + bdat(b"x\r\n", last=True))
        codes = [(await wire.reply())[:3] for _ in range(3)]
        assert codes == ["554", "503", "554"]
        assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("503 "), "the transaction is over"
    assert rig.store.kept == []


@pytest.mark.attack
async def test_att_35_tiny_chunks_without_end_are_cut(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.smtp_reception._MAX_CHUNKS", 20)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        await begin(wire)
        wire.send(bdat(b"") * 30)
        answers = [(await wire.reply())[:3] for _ in range(21)]
        assert answers == ["250"] * 20 + ["421"]
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_41_a_chunk_that_never_comes_times_out(rig: Rig) -> None:
    rig.limit(idle_smtp_s=0.2)
    async with rig.operators() as (_, port):
        with clock_stopped():
            wire = await greeted(rig, port, rig.b)
            await begin(wire)
            wire.send(b"BDAT 100000 LAST\r\n" + HEADER)
        async with wire:
            assert (await wire.reply()).startswith("421 4.4.2")
            assert await wire.is_closed()


async def test_faults_of_the_store_are_told_once_and_for_every_chunk(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        rig.store.is_behind = True
        await begin(wire)
        wire.send(bdat(HEADER) + bdat(b"x\r\n", last=True))
        assert [(await wire.reply())[:9] for _ in range(2)] == ["451 4.3.2"] * 2
        rig.store.is_behind = False
        rig.store.commit_error = StorageFull()
        await begin(wire)
        assert (await wire.say(bdat(HEADER, last=True))).startswith("452 4.3.1")
        rig.store.commit_error, rig.store.write_error = None, ZeroDivisionError("a path")
        await begin(wire)
        wire.send(bdat(HEADER + b"x\r\n" * 100_000) + bdat(b"x\r\n", last=True))
        answers = [(await wire.reply())[:9] for _ in range(2)]
        assert answers[0] in ("250 2.0.0", "451 4.3.0")  # as fast as the writer's thread is
        assert answers[1] == "451 4.3.0"
        rig.store.write_error = None
        await begin(wire)
        assert (await wire.say(bdat(HEADER, last=True))).startswith("250 2.0.0 Message")
    assert len(rig.store.kept) == 1


@pytest.mark.attack
async def test_att_35_chunks_in_clear_are_consumed_and_forgotten(rig: Rig) -> None:
    async with rig.operators() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        assert "CHUNKING" not in await wire.say("EHLO x")
        wire.send(bdat(b"STARTTLS\r\n") + b"NOOP\r\n")
        assert (await wire.reply()).startswith("530 5.7.0")
        assert (await wire.reply()).startswith("250 ")
        await wire.start_tls(rig.client(rig.b))
        await wire.say("EHLO x")
        await begin(wire)
        assert (await wire.say(bdat(HEADER, last=True))).startswith("250 2.0.0 Message")


async def test_an_orderly_stop_waits_for_the_last_chunk(rig: Rig) -> None:
    async with rig.operators() as (door, port):
        wire = await greeted(rig, port, rig.b)
        await begin(wire)
        assert (await wire.say(bdat(HEADER))).startswith("250 ")
        stopping = asyncio.ensure_future(door.stop(30.0))
        assert (await wire.say(bdat(b"x\r\n", last=True))).startswith("250 2.0.0 Message")
        assert (await wire.reply()).startswith("421 4.3.2")
        await asyncio.wait_for(stopping, 30)
        await wire.close()
    assert len(rig.store.kept) == 1


VERBS = [b"NOOP", b"RSET", b"BDAT 3\r\nx\r\n", b"BDAT 2 LAST\r\n\r\n", b"DATA", b"MAIL FROM:<>"]


@pytest.mark.attack
async def test_att_35_any_three_commands_between_chunks_are_answered_one_by_one(rig: Rig) -> None:
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for verbs in itertools.product(VERBS, repeat=3):
            await wire.say("RSET")
            await begin(wire)
            wire.send(bdat(HEADER))
            assert (await wire.reply()).startswith("250 ")
            for verb in verbs:
                octets = verb if b"BDAT" in verb else verb + b"\r\n"
                assert (await wire.say(octets))[:3] in ("250", "503", "554", "550"), verbs
            rig.store.kept.clear()
            rig.store.letters.clear()
