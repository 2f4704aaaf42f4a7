"""Golden dialogs of the SMTP doors, one per file of tests/transcripts/smtp.

First line: what it shows and where it is written. Second: `door: operators|submission`,
`tls: yes|no`, `certificate:` a listed domain. Then `> line`, `>> octets with escapes`, `< start of
a reply line` (in order), `! text` (nowhere in the replies to the last command), `closed`.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.smtp_in.rig import Rig, Wire

DIRECTORY = Path(__file__).parent.parent / "transcripts" / "smtp"
DIALOGS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DIRECTORY.glob("*.txt"))}


def octets_of(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


class Player:
    """Plays one dialog; remembers what came since the last thing sent."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.seen: list[str] = []
        self.checked = True

    async def play(self, line: str) -> None:
        mark, _, rest = line.partition(" ")
        if mark in (">", ">>"):
            await self.rest_of_reply()
            self.seen = []
            self.wire.send(octets_of(rest) if mark == ">>" else rest)
            self.checked = False
        elif mark == "<":
            await self.expect(rest)
        elif mark == "!":
            await self.rest_of_reply()
            assert not any(rest in line for line in self.seen), self.seen
        elif mark == "closed":
            assert await self.wire.is_closed()
        else:
            raise AssertionError(f"unknown mark: {line}")

    async def next_line(self) -> str:
        line = (await asyncio.wait_for(self.wire.reader.readline(), 10)).decode("ascii")
        assert line.endswith("\r\n"), f"connection closed after {self.seen}"
        self.seen.append(line[:-2])
        return line[:-2]

    async def expect(self, start: str) -> None:
        line = await self.next_line()
        assert line.startswith(start), f"expected {start!r}, got {line!r}"
        self.checked = True

    async def rest_of_reply(self) -> None:
        """What no `<` asked for: the other lines of a reply, or a reply that must be positive."""
        if not self.checked:
            line = await self.next_line()
            assert line[0] in "23", line
            self.checked = True
        while self.seen and self.seen[-1][3:4] == "-":
            await self.next_line()


@pytest.mark.parametrize("name", DIALOGS)
@pytest.mark.requirement("DEF-02", "OP-67", "OP-81")
async def test_transcript(rig: Rig, name: str) -> None:
    comment, header, *lines = DIALOGS[name].splitlines()
    assert comment.startswith(f"# smtp/{name}.txt ")
    settings = dict(re.findall(r"(\w+): (\S+)", header))
    opening = rig.operators() if settings["door"] == "operators" else rig.submission()
    async with opening as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        if settings["tls"] == "yes":
            await wire.say("EHLO before")
            identity = rig.healthy.get(settings.get("certificate", ""))
            await wire.start_tls(rig.client(identity))
        player = Player(wire)
        for line in lines:
            await player.play(line)
        await player.rest_of_reply()


def test_there_are_transcripts() -> None:
    assert len(DIALOGS) >= 8
