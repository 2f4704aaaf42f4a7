"""Hostile clients at the doors, exhaustively where the space is small (ATT-01, 13, 35, 41)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random

import pytest

from tests.smtp_in.fakes import PASSWORD, PAUL, PEER, ZOE
from tests.smtp_in.plug import Plug, codes
from tests.smtp_in.rig import Rig, Wire, greeted
from tests.stopped_clock import clock_stopped

pytestmark = pytest.mark.attack

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: x\r\n\r\n"
ENVELOPE = f"MAIL FROM:<{PEER}>\r\nRCPT TO:<{ZOE}>\r\n".encode()
LETTER = HEADER + b"texte\r\n.\r\n"
SMUGGLED = f"From: <{PEER}>\r\nMAIL FROM:<{PEER}>\r\nRCPT TO:<{PAUL}>\r\nDATA\r\n".encode() + LETTER


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ---------------------------------------------------------------- pipelining where it is illegal

PLAIN = b64(f"\0{ZOE}\0{PASSWORD}")
WRONG = b64(f"\0{ZOE}\0wrong")
OURS = f"MAIL FROM:<{ZOE}>\r\nRCPT TO:<{PAUL}>\r\n"

PIPELINED = {
    "behind EHLO": ("operators", b"EHLO x\r\n" + ENVELOPE + b"NOOP\r\n", "250 250 250 250", False),
    "behind HELO": ("operators", b"HELO x\r\n" + ENVELOPE, "250 250 250", False),
    "in front of EHLO": ("operators", ENVELOPE + b"EHLO x\r\n", "503 503 250", False),
    "behind DATA that is taken": (
        "operators",
        b"EHLO x\r\n" + ENVELOPE + b"DATA\r\n" + LETTER + b"NOOP\r\n",
        "250 250 250 354 250 250",
        False,
    ),
    "behind DATA that is refused": (
        "operators",
        b"EHLO x\r\nMAIL FROM:<%b>\r\nDATA\r\n" % str(PEER).encode() + SMUGGLED,
        "250 250 554",
        True,
    ),
    "behind DATA without MAIL": ("operators", b"EHLO x\r\nDATA\r\n" + SMUGGLED, "250 503", True),
    "behind QUIT": ("operators", b"EHLO x\r\nQUIT\r\n" + ENVELOPE, "250 221", True),
    "behind RSET": ("operators", b"EHLO x\r\nRSET\r\n" + ENVELOPE, "250 250 250 250", False),
    "behind AUTH that is right": (
        "submission",
        f"EHLO x\r\nAUTH PLAIN {PLAIN}\r\n{OURS}".encode(),
        "250 235 250 250",
        False,
    ),
    "behind AUTH that is wrong": (
        "submission",
        f"EHLO x\r\nAUTH PLAIN {WRONG}\r\n{OURS}".encode(),
        "250 535 530 503",
        False,
    ),
    "where AUTH waits for an answer": (
        "submission",
        f"EHLO x\r\nAUTH LOGIN\r\n{OURS}".encode(),
        "250 334 501 503",
        False,
    ),
    "AUTH inside a letter": (
        "submission",
        f"EHLO x\r\nAUTH PLAIN {PLAIN}\r\n{OURS}AUTH PLAIN {PLAIN}\r\nSTARTTLS\r\n".encode(),
        "250 235 250 250 503 502",
        False,
    ),
}


@pytest.mark.parametrize("name", PIPELINED)
async def test_att_35_what_is_pipelined_where_it_may_not_be_is_never_misread(
    rig: Rig, name: str
) -> None:
    door_name, octets, answers, is_closed = PIPELINED[name]
    opening = rig.operators() if door_name == "operators" else rig.submission(implicit_tls=True)
    async with opening as (door, _):
        for cuts in ([], [len(octets) // 2], range(1, len(octets))):
            plug = Plug(door, certificate=rig.b.certificate)
            await plug.say(b"")
            edges = [0, *cuts, len(octets)]
            heard: list[str] = []
            for start, stop in itertools.pairwise(edges):
                heard += await plug.say(octets[start:stop])
            if is_closed and len(edges) > 2:
                # Octet by octet nobody can know that the client did not wait.
                assert " ".join(codes(heard)).startswith(answers.split()[0])
            else:
                assert " ".join(codes(heard)) == answers
                assert plug.is_over == is_closed
            await plug.cut()
            assert all(str(PAUL) not in str(kept.envelope) for kept in rig.store.kept)
            rig.store.kept.clear()


# ---------------------------------------------------------------- cut anywhere

LOGINS = {
    "PLAIN inline": [f"AUTH PLAIN {PLAIN}"],
    "PLAIN asked": ["AUTH PLAIN", PLAIN],
    "LOGIN inline": [f"AUTH LOGIN {b64(str(ZOE))}", b64(PASSWORD)],
    "LOGIN asked": ["AUTH LOGIN", b64(str(ZOE)), b64(PASSWORD)],
}


@pytest.mark.parametrize("name", LOGINS)
async def test_att_13_auth_cut_at_every_octet_logs_nobody_in(rig: Rig, name: str) -> None:
    dialog = "".join(f"{line}\r\n" for line in LOGINS[name]).encode()
    async with rig.submission(implicit_tls=True) as (door, _):
        for cut in range(len(dialog)):
            plug = Plug(door)
            await plug.say(b"EHLO x\r\n")
            assert "235" not in codes(await plug.say(dialog[:cut]))
            await plug.cut()
        assert rig.logins.asked == []
        for cut in range(len(dialog) - 2):  # the rest of the line never comes: another does
            plug = Plug(door)
            await plug.say(b"EHLO x\r\n")
            answers = codes(await plug.say(dialog[:cut] + b"\r\nNOOP\r\n*\r\nNOOP\r\n"))
            assert "235" not in answers
            assert answers[-1] in ("250", "535", "501")
            await plug.cut()
        plug = Plug(door)
        await plug.say(b"EHLO x\r\n")
        assert codes(await plug.say(dialog))[-1] == "235"
        await plug.cut()


async def test_att_35_a_session_cut_at_every_octet_keeps_only_whole_letters(rig: Rig) -> None:
    chunks = b"BDAT %d\r\n%bBDAT 3 LAST\r\nx\r\n" % (len(HEADER), HEADER)
    for ending in (b"DATA\r\n" + LETTER, chunks):
        octets = b"EHLO x\r\n" + ENVELOPE + ending
        async with rig.operators() as (door, _):
            for cut in range(len(octets) + 1):
                plug = Plug(door, certificate=rig.b.certificate)
                await plug.say(octets[:cut])
                await plug.cut()
                assert len(rig.store.kept) == (cut == len(octets)), cut
            rig.store.kept.clear()
            rig.store.letters.clear()


# ---------------------------------------------------------------- floods

WORDS = [
    b"NOOP", b"RSET", b"EHLO x", b"HELO", b"MAIL FROM:<anne.tournesol@cabinet-b.test>", b"DATA",
    b"MAIL FROM:<x@y.test> SIZE=1", b"RCPT TO:<zoe.tartempion@hopital-a.test>", b"RCPT TO:<>",
    b"VRFY x", b"EXPN x", b"AUTH PLAIN", b"STARTTLS", b"HELP", b"BDAT 4\r\nQUIT", b"GET / HTTP/1.1",
    b"\x00", b"x" * 600, b".", b"", b"BDAT 5 LAST\r\na\r\nb\n",
]  # fmt: skip


async def test_att_41_a_hundred_addresses_with_a_thousand_commands_each_harm_nobody(
    rig: Rig,
) -> None:
    rig.limit(connections=150, connections_per_address=20)
    dice = random.Random(41)  # noqa: S311 - reproducible
    async with rig.operators() as (door, port):

        async def flood(number: int) -> tuple[int, bool]:
            plug = Plug(door, f"192.0.2.{number}", certificate=rig.b.certificate)
            answers = 0
            for _ in range(20):
                batch = b"".join(dice.choice(WORDS) + b"\r\n" for _ in range(50))
                answers += len(codes(await plug.say(batch)))
            ended = plug.is_over
            await plug.cut()
            return answers, ended

        floods = [asyncio.ensure_future(flood(number)) for number in range(100)]
        async with await greeted(rig, port, rig.b) as honest:
            for line in ENVELOPE.splitlines():
                assert (await honest.say(line + b"\r\n")).startswith("250 ")
            assert (await honest.say("DATA")).startswith("354 ")
            assert (await honest.say(LETTER)).startswith("250 2.0.0")
        results = await asyncio.gather(*floods)
        assert all(ended for _, ended in results), "each is sent away"
        assert max(answers for answers, _ in results) < 600
        assert sum(door._addresses.values()) <= 1
    assert [kept.message for kept in rig.store.kept] == [HEADER + b"texte\r\n"]


async def test_att_41_a_command_a_chunk_or_a_login_that_trickles_is_cut(rig: Rig) -> None:
    rig.limit(idle_smtp_s=0.3)

    async def trickle(wire: Wire) -> str:
        async def drip() -> None:
            while True:
                wire.send(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        try:
            return await wire.reply()
        finally:
            dripping.cancel()

    async with rig.operators() as (_, port), rig.submission() as (_, users):
        with clock_stopped():
            line, chunk = await greeted(rig, port, rig.b), await greeted(rig, port, rig.b)
            login = await greeted(rig, users)
            for command in ENVELOPE.splitlines():
                await chunk.say(command + b"\r\n")
            chunk.send(b"BDAT 100000 LAST\r\n")
            await login.say("AUTH LOGIN")
        answers = await asyncio.gather(*map(trickle, (line, chunk, login)))
        assert [answer[:9] for answer in answers] == ["421 4.4.2"] * 3
        for wire in (line, chunk, login):
            await wire.close()
    assert rig.store.kept == []


# ---------------------------------------------------------------- lies about SIZE


@pytest.mark.requirement("OP-66", "CL-38")
@pytest.mark.parametrize("told", ["", " SIZE=0", " SIZE=10", " SIZE=9999"])
async def test_what_counts_is_what_comes_whatever_size_was_told(rig: Rig, told: str) -> None:
    rig.limit(message_octets=10_000)
    async with rig.operators() as (door, _):
        for octets, answer in ((9_000, "250"), (11_000, "552")):
            body = HEADER + b"x" * (octets - len(HEADER) - 2) + b"\r\n"
            chunk = b"BDAT %d LAST\r\n" % len(body) + body
            for content in (b"DATA\r\n" + body + b".\r\n", chunk):
                plug = Plug(door, certificate=rig.b.certificate)
                await plug.say(b"EHLO x\r\n")
                envelope = f"MAIL FROM:<{PEER}>{told}\r\nRCPT TO:<{ZOE}>\r\n".encode()
                assert codes(await plug.say(envelope + content))[-1] == answer
                assert codes(await plug.say(b"NOOP\r\n")) == ["250"]
                await plug.cut()
    assert len(rig.store.kept) == 2
