"""Processor time of one APPEND, without network and TLS: door, conversation, store.

    python -m bench.one_append [--size 4] [--sessions 10] [--letters 2000] [--rounds 5]
                               [--profile loop|committer]

Octets go straight into connections of the IMAP door of this process, each of a person and a box of
its own, over a real store on the disk; an answer counts once it is OK, synced. Time is told as by
`bench.one_letter`: of the loop's thread (which plays the clients too), of the committer, of others.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from bench import one_letter
from bench.acceptance import message
from mssmtp.demo.authority import Authority
from mssmtp.imap_server import ImapDoor, _Connection
from tests.authority import A_SUBJECT, shared_keys
from tests.imap_server.rig import PASSWORD, make_rig

_BLOCK_OCTETS = 65_536


class _Client(asyncio.Transport):
    """The wire of one secured connection, with a mail program that appends again and again."""

    def __init__(self, door: ImapDoor) -> None:
        super().__init__({"peername": ("192.0.2.1", 4_000)})
        self._heard = bytearray()
        self._awaited: tuple[bytes, asyncio.Future[None]] | None = None
        self._link = _Connection(door)
        self._link.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._heard += data
        if self._awaited is not None and self._awaited[0] in self._heard:
            self._awaited[1].set_result(None)
            self._awaited = None

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self._link.connection_lost, None)

    async def answered(self, octets: bytes) -> None:
        """Until the answer to `octets` is OK."""
        self._heard.clear()
        heard = asyncio.get_running_loop().create_future()
        self._awaited = (b"a OK", heard)
        for start in range(0, len(octets), _BLOCK_OCTETS):
            if start:
                await asyncio.sleep(0)
            self._link.data_received(octets[start : start + _BLOCK_OCTETS])
        await heard

    async def append(self, letter: bytes, times: int) -> None:
        """Without waiting for the go-ahead (LITERAL+)."""
        for _ in range(times):
            await self.answered(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(letter), letter))


async def _measure(folder: Path, options: argparse.Namespace) -> list[list[float]]:
    authority = Authority(datetime.now(UTC), make_key=shared_keys())
    rig = make_rig(authority, authority.issue(A_SUBJECT), folder)
    names = rig.team(options.sessions)
    letter = message(names[0], names[0], options.size * 1_024)[:-3]
    each = options.letters // options.sessions
    rig.timing = rig.timing.__class__()
    with closing(rig.store):
        async with rig.door() as (door, _):
            clients = [_Client(door) for _ in names]
            for client, name in zip(clients, names, strict=True):
                await client.answered(f'a LOGIN {name} "{PASSWORD}"\r\n'.encode())
            return await one_letter.rounds(
                options, lambda: [client.append(letter, each) for client in clients]
            )


if __name__ == "__main__":
    one_letter.run(__doc__, _measure)
