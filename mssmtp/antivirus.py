"""A scanner's word on a message while it arrives: clamd by INSTREAM (OP-68, clamd(8)).

`zINSTREAM`, then pieces of four octets of length and that many octets, the last of length 0; one
answer, ended by NUL. Nothing of a message is kept here: what clamd does not take yet waits in one
buffer, and beyond that the sender waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from mssmtp import metrics
from mssmtp.config import AntivirusSettings, loopback
from mssmtp.errors import MailError
from mssmtp.smtp import replies

logger = logging.getLogger(__name__)
T = TypeVar("T")

BUFFER_OCTETS = 262_144
"""Octets of one message that wait for clamd; a door reads no more meanwhile."""
ANSWER_OCTETS = 4_096
"""Longest answer of clamd that is read."""
_FOUND = b" FOUND"
_CLEAN = b"stream: OK"


class ScannerDown(MailError):
    """The scanner that the settings name gave no verdict: the message waits at its sender."""

    smtp = replies.SCANNER_DOWN


@dataclass(frozen=True, slots=True)
class Clamd:
    """Where clamd listens: a Unix socket, or a port of this machine."""

    place: str
    timeout_s: float

    @classmethod
    def of(cls, settings: AntivirusSettings) -> Clamd | None:
        """None when no scanner is configured."""
        return None if settings.clamd is None else cls(settings.clamd, settings.timeout_s)

    async def begin(self) -> Look:
        """A connection that takes one message. Raises ScannerDown."""
        reader, writer = await self._connected()
        writer.transport.set_write_buffer_limits(BUFFER_OCTETS)
        writer.write(b"zINSTREAM\0")
        return Look(reader, writer, self.timeout_s)

    async def take(self, octets: int) -> None:
        """Give it a message of so many octets. Raises ScannerDown: real ones would wait for ever.

        When StreamMaxLength of clamd.conf is below limits.message_octets, for one.
        """
        look = await self.begin()
        try:
            for start in range(0, octets, BUFFER_OCTETS):
                await look.feed(bytes(min(BUFFER_OCTETS, octets - start)))
            look.end()
            await look.verdict()
        finally:
            look.abort()

    async def version(self) -> str:
        """What clamd says of itself and its signatures. Raises ScannerDown."""
        reader, writer = await self._connected()
        try:
            writer.write(b"zVERSION\0")
            return (await _answer(reader, self.timeout_s)).decode("ascii", "replace")
        finally:
            writer.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.place.startswith("/"):
            opening = asyncio.open_unix_connection(self.place, limit=ANSWER_OCTETS)
        else:
            host, port = loopback(self.place)
            opening = asyncio.open_connection(host, port, limit=ANSWER_OCTETS)
        return await _in_time(opening, self.timeout_s)


class Look:
    """One message in clamd's hands. Every step may raise ScannerDown; then `abort` is left."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> None:
        self._reader, self._writer, self._timeout_s = reader, writer, timeout_s

    @property
    def waiting_octets(self) -> int:
        """What clamd has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def feed(self, octets: bytes) -> None:
        """The next octets of the message; returns when there is room for more."""
        if not octets:  # an empty piece would be the end
            return
        self._writer.writelines((len(octets).to_bytes(4), octets))
        if self.waiting_octets > BUFFER_OCTETS:
            await _in_time(self._writer.drain(), self._timeout_s)

    def end(self) -> None:
        """The message is whole: clamd may look at it while it is sealed."""
        self._writer.write(bytes(4))

    async def verdict(self) -> str:
        """The name of what was found; "" for a clean message. Call once, after `end`."""
        try:
            said = await _answer(self._reader, self._timeout_s)
        finally:
            self.abort()
        if said == _CLEAN:
            metrics.scanned.labels("clean").inc()
            return ""
        if not said.endswith(_FOUND):  # "INSTREAM size limit exceeded. ERROR"
            raise _down(said.decode("ascii", "replace"))
        metrics.scanned.labels("found").inc()
        name = said.removeprefix(b"stream: ").removesuffix(_FOUND)
        return name.decode("utf-8", "replace") or "?"

    def abort(self) -> None:
        """Let go of the connection; clamd drops what it has. Harmless at any time."""
        self._writer.transport.abort()


def signatures_of(version: str) -> datetime | None:
    """When the signatures were made: `ClamAV 1.0.7/27450/Sat Nov  9 09:41:23 2024`, in UTC.

    None when it does not say, as with signatures of one's own alone.
    """
    try:
        made = datetime.strptime(version.rpartition("/")[2], "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return made.replace(tzinfo=UTC)


async def _answer(reader: asyncio.StreamReader, timeout_s: float) -> bytes:
    try:
        return (await _in_time(reader.readuntil(b"\0"), timeout_s))[:-1]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise _down("no whole answer") from error


async def _in_time(step: Awaitable[T], timeout_s: float) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await step
    except TimeoutError as error:
        raise _down("too slow") from error
    except OSError as error:
        raise _down(os.strerror(error.errno) if error.errno else "connection lost") from error


def _down(why: str) -> ScannerDown:
    metrics.scanned.labels("failed").inc()
    logger.error("the scanner gave no verdict", extra={"why": why})
    return ScannerDown(why)
