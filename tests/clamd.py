"""A real clamd with one signature of our own and no other; and one that does what a test says."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

INFECTED = b"MSSMTP-ESSAI-ANTIVIRUS-CECI-N-EST-PAS-UN-VIRUS"
"""What the signature matches, wherever it stands."""
FOUND = "Mssmtp.Essai.UNOFFICIAL"
STREAM_OCTETS = 3 << 20
"""Longest message it takes (StreamMaxLength)."""
_START_S = 20.0


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """The path of its socket."""
    program = shutil.which("clamd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("clamd is not installed")
    signatures = directory / "signatures"
    signatures.mkdir()
    (signatures / "essai.ndb").write_text(f"Mssmtp.Essai:0:*:{INFECTED.hex()}\n")
    place = directory / "clamd.ctl"
    settings = directory / "clamd.conf"
    settings.write_text(
        f"LocalSocket {place}\nDatabaseDirectory {signatures}\nTemporaryDirectory {directory}\n"
        f"StreamMaxLength {STREAM_OCTETS}\nForeground yes\nMaxThreads 4\n"
    )
    process = subprocess.Popen(
        [program, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(process, place)
        yield str(place)
    finally:
        process.terminate()
        process.wait(timeout=_START_S)


def _wait(process: subprocess.Popen[bytes], place: Path) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(place))
            probe.sendall(b"zPING\0")
            if probe.recv(16) == b"PONG\0":
                return
        time.sleep(0.02)
    raise AssertionError("clamd did not start")


Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeClamd:
    """Plays `play` on every connection; `taken` are the octets of the messages it was given."""

    play: Play
    taken: bytearray

    @asynccontextmanager
    async def serving(self, directory: Path) -> AsyncIterator[str]:
        """The path of its socket."""
        place = str(directory / "fake.ctl")
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task() or pytest.fail("no task"))
            try:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self.play(reader, writer)
            finally:
                writer.transport.abort()

        async with await asyncio.start_unix_server(connected, place):
            yield place
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @classmethod
    def answering(cls, answer: bytes) -> FakeClamd:
        """Takes the whole message, then says `answer`."""
        taken = bytearray()

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\0")
            while octets := int.from_bytes(await reader.readexactly(4)):
                taken.extend(await reader.readexactly(octets))
            writer.write(answer)
            await writer.drain()

        return cls(play, taken)
