"""A scanner at both doors: what it finds is refused, without its word mail waits (OP-68)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.antivirus import BUFFER_OCTETS, Clamd, Look, ScannerDown
from tests import clamd
from tests.clamd import FOUND, INFECTED, STREAM_OCTETS, FakeClamd
from tests.smtp_in.fakes import PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: x\r\n"
OWN = b"From: <zoe.tartempion@hopital-a.test>\r\nMessage-ID: <1@x.test>\r\nDate: x\r\n"
TOO_SLOW_S = 0.3

pytestmark = pytest.mark.xdist_group("clamd")


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd]:
    """A real clamd."""
    with clamd.running(tmp_path_factory.mktemp("clamd")) as place:
        yield Clamd(place, 20.0)


async def sent(wire: Wire, sender: object, recipient: object, message: bytes) -> str:
    """The reply to one letter."""
    assert (await wire.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
    assert (await wire.say(f"RCPT TO:<{recipient}>")).startswith("250 ")
    assert (await wire.say("DATA")).startswith("354 ")
    return await wire.say(message + b".\r\n")


async def received(wire: Wire, message: bytes) -> str:
    return await sent(wire, PEER, ZOE, message)


@pytest.mark.requirement("OP-68")
async def test_an_infected_letter_is_refused_at_the_operator_door_and_leaves_its_trace(
    rig: Rig, scanner: Clamd
) -> None:
    rig.antivirus = scanner
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        reply = await received(wire, HEADER + b"\r\n" + INFECTED + b"\r\n")
        assert reply.startswith("554 5.7.0 Virus detecte")
        assert FOUND in reply
        assert (await received(wire, HEADER + b"\r\nBonjour\r\n")).startswith("250 ")
    assert len(rig.store.kept) == len(rig.store.letters) == 1
    ((_, transfer),) = rig.store.rejected
    assert transfer.verdict == "reject: content.malware"


@pytest.mark.requirement("OP-68")
async def test_an_infected_attachment_is_refused_at_submission(rig: Rig, scanner: Clamd) -> None:
    rig.antivirus = scanner
    hidden = base64.encodebytes(b"x" * 1_000 + INFECTED + b"y" * 1_000).replace(b"\n", b"\r\n")
    message = (
        OWN + b'Content-Type: application/octet-stream; name="bilan.bin"\r\n'
        b"Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n" + hidden
    )
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await sent(wire, ZOE, PEER, message)).startswith("554 5.7.0 Virus detecte")
        assert (await sent(wire, ZOE, PEER, OWN + b"\r\nBonjour\r\n")).startswith("250 ")
    assert len(rig.store.kept) == 1


@pytest.mark.requirement("OP-68")
async def test_a_letter_too_long_for_the_scanner_waits_and_a_long_one_is_scanned_whole(
    rig: Rig, scanner: Clamd
) -> None:
    rig.antivirus = scanner
    line = b"x" * 900 + b"\r\n"
    whole = HEADER + b"\r\n" + line * (STREAM_OCTETS * 2 // 3 // len(line))
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await received(wire, whole)).startswith("250 ")
        assert (await received(wire, whole + INFECTED + b"\r\n")).startswith("554 5.7.0 ")
        assert (await received(wire, whole * 2)).startswith("451 4.7.1 ")
    assert len(rig.store.kept) == 1


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(5)


@pytest.mark.requirement("OP-68")
async def test_doctor_finds_out_how_long_a_message_it_takes(scanner: Clamd) -> None:
    await scanner.take(STREAM_OCTETS)
    with pytest.raises(ScannerDown):
        await scanner.take(2 * STREAM_OCTETS)


FAULTS = {
    "silent": FakeClamd(_silent, bytearray()),
    "gone": FakeClamd(_gone, bytearray()),
    "an error": FakeClamd.answering(b"stream: Can't allocate memory ERROR\0"),
    "limit": FakeClamd.answering(b"INSTREAM size limit exceeded. ERROR\0"),
    "half an answer": FakeClamd.answering(b"stream: OK"),
    "nonsense": FakeClamd.answering(b"stream: OK OK\0"),
    "no end": FakeClamd.answering(b"x" * 100_000),
}


@pytest.mark.requirement("OP-68")
@pytest.mark.parametrize("fault", FAULTS)
async def test_without_its_word_mail_waits_and_the_session_goes_on(
    rig: Rig, tmp_path: Path, fault: str
) -> None:
    async with FAULTS[fault].serving(tmp_path) as place:
        rig.antivirus = Clamd(place, TOO_SLOW_S)
        async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
            for body in (b"Bonjour\r\n", b"x" * 70 + b"\r\n"):
                reply = await received(wire, HEADER + b"\r\n" + body * 3_000)
                assert reply.startswith("451 4.7.1 Analyse antivirus")
            assert (await wire.say("NOOP")).startswith("250 ")
    assert rig.store.kept == []
    assert rig.store.letters == []
    assert rig.store.rejected == []


@pytest.mark.requirement("OP-68")
async def test_a_scanner_that_does_not_run_defers_at_both_doors(rig: Rig, tmp_path: Path) -> None:
    rig.antivirus = Clamd(str(tmp_path / "nobody.ctl"), TOO_SLOW_S)
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await received(wire, HEADER + b"\r\nBonjour\r\n")).startswith("451 4.7.1 ")
    rig.antivirus = Clamd("127.0.0.1:1", TOO_SLOW_S)
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await sent(wire, ZOE, PEER, OWN + b"\r\nBonjour\r\n")).startswith("451 4.7.1 ")
    assert rig.store.kept == []


async def test_it_is_given_the_letter_octet_for_octet_without_our_lines(
    rig: Rig, tmp_path: Path
) -> None:
    fake = FakeClamd.answering(b"stream: OK\0")
    message = HEADER + b"\r\n" + b"Bonjour, ligne \xe9\xff\r\n" * 20_000
    async with fake.serving(tmp_path) as place:
        rig.antivirus = Clamd(place, 20.0)
        async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
            assert (await received(wire, message)).startswith("250 ")
            assert (await received(wire, b"Subject: a header alone\r\n")).startswith("5")
    assert fake.taken == message + b"Subject: a header alone\r\n"


@pytest.mark.requirement("OP-68")
async def test_others_are_served_while_the_scanner_thinks(rig: Rig, tmp_path: Path) -> None:
    thinking, done = asyncio.Event(), asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        while octets := int.from_bytes(await reader.readexactly(4)):
            await reader.readexactly(octets)
        thinking.set()
        await done.wait()
        writer.write(b"stream: OK\0")
        await writer.drain()

    async with FakeClamd(play, bytearray()).serving(tmp_path) as place:
        rig.antivirus = Clamd(place, 20.0)
        async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
            letter = asyncio.create_task(received(wire, HEADER + b"\r\nBonjour\r\n"))
            await asyncio.wait_for(thinking.wait(), 10)
            async with await greeted(rig, port, rig.b) as other:
                assert (await other.say("NOOP")).startswith("250 ")
            assert not letter.done()
            done.set()
            assert (await letter).startswith("250 ")


async def _flood(look: Look) -> None:
    for _ in range(1_000):
        await look.feed(bytes(65_536))


@pytest.mark.attack
async def test_d11_what_a_slow_scanner_does_not_take_is_not_kept_in_memory(tmp_path: Path) -> None:
    async with FAULTS["silent"].serving(tmp_path) as place:
        look = await Clamd(place, TOO_SLOW_S).begin()
        with pytest.raises(ScannerDown):
            await _flood(look)
        assert look.waiting_octets <= BUFFER_OCTETS + 65_540
        look.abort()
