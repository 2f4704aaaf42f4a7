"""Letters that come as literals: taken by large portions, and none lost or waited for in vain."""

from __future__ import annotations

import asyncio

import pytest

from mssmtp.imap import incoming
from mssmtp.imap.framer import Framer
from tests.imap_server.rig import Rig
from tests.stopped_clock import clock_stopped

PIECE = 16_384
LETTER = b"Subject: essai\r\n\r\n" + b"%0100d\r\n" % 7 * 10_000


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many octets the conversation was given each time."""
    given: list[int] = []
    feed = Framer.feed

    def noted(framer: Framer, octets: bytes) -> None:
        given.append(len(octets))
        feed(framer, octets)

    monkeypatch.setattr(Framer, "feed", noted)
    return given


async def test_the_conversation_is_not_woken_for_each_piece_of_a_letter(
    rig: Rig, fed: list[int]
) -> None:
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        fed.clear()
        whole = b"x APPEND INBOX {%d+}\r\n%b\r\n" % (len(LETTER), LETTER)
        for start in range(0, len(whole), PIECE):
            await raw.send(whole[start : start + PIECE])
            await asyncio.sleep(0)
        assert b"x OK" in (await raw.until(b"x "))[-1]
        assert sum(fed) == len(whole)
        assert len(fed) <= len(whole) // incoming.MOST_AT_ONCE + 4
        assert LETTER.splitlines(keepends=True)[-1] in await raw.ok(b"FETCH 1 BODY.PEEK[]")
        assert b"* 1 FETCH (RFC822.SIZE %d)\r\n" % len(LETTER) in await raw.ok(
            b"FETCH 1 RFC822.SIZE"
        )


async def test_what_has_come_of_a_letter_is_taken_before_silence_ends_it(
    rig: Rig, fed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that carries little is no silence: each portion begins the time anew (ATT-41)."""
    monkeypatch.setattr(incoming, "MID_COMMAND_S", 0.3)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        fed.clear()
        with clock_stopped():
            await raw.send(b"x APPEND INBOX {%d+}\r\n" % len(LETTER))
            await raw.send(LETTER[:1_000])
        assert b"* BYE Nothing was heard for too long" in await raw.ends()
        assert sum(fed) == len(b"x APPEND INBOX {%d+}\r\n" % len(LETTER)) + 1_000


async def test_a_client_that_leaves_in_the_middle_is_not_waited_for(
    rig: Rig, fed: list[int]
) -> None:
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        await raw.send(b"x APPEND INBOX {%d+}\r\n%b" % (len(LETTER), LETTER[:1_000]))
        (connection,) = door.connections
        raw.close()
        await asyncio.wait_for(asyncio.shield(connection.task), 10)
        assert not door.connections
