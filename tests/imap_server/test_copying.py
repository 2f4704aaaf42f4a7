"""A COPY of many commits, over TLS, and a client that does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mssmtp.imap import progress
from mssmtp.imap.commands import copy, rename
from mssmtp.mail import Address
from mssmtp.storage import Writing
from tests.imap.world import message
from tests.imap_server.rig import ZOE, Rig, until

pytestmark = pytest.mark.end_to_end


async def test_a_client_that_vanishes_in_the_middle_of_a_copy_finds_it_done(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would be none (RFC 9051 6.4.7), and to undo it costs as much as to finish it."""
    for number in range(6):
        rig.deliver(message(number))
    monkeypatch.setattr(copy, "BATCH", 1)
    monkeypatch.setattr(progress, "PROGRESS_S", 0.0)  # each batch has something to say
    begun, gone = threading.Event(), threading.Event()
    carry, calls = Writing.copy, iter(range(10))

    def held(self: Writing, *given: Any) -> Any:
        if next(calls) == 1:
            begun.set()
            assert gone.wait(10)
        return carry(self, *given)

    monkeypatch.setattr(Writing, "copy", held)
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        (connection,) = door.connections
        await raw.send(b"a COPY 1:* Archive\r\n")
        assert await asyncio.to_thread(begun.wait, 10)
        raw.writer.transport.abort()
        await until(lambda: connection._lost)
        gone.set()
        await asyncio.wait([connection.task])
        honest = await rig.client(port)
        assert b"* 6 EXISTS\r\n" in await honest.ok(b"SELECT Archive")
    assert rig.store.check().counted["copies under way"] == 0


async def test_a_client_that_vanishes_in_the_middle_of_a_rename_of_inbox_finds_it_done(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be asked for again: the new name is taken by then."""
    for number in range(6):
        rig.deliver(message(number))
    monkeypatch.setattr(rename, "BATCH", 1)
    monkeypatch.setattr(progress, "PROGRESS_S", 0.0)
    begun, gone = threading.Event(), threading.Event()
    carry, calls = Writing.move, iter(range(10))

    def held(self: Writing, *given: Any) -> Any:
        if next(calls) == 1:
            begun.set()
            assert gone.wait(10)
        return carry(self, *given)

    monkeypatch.setattr(Writing, "move", held)
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        (connection,) = door.connections
        await raw.send(b"a RENAME INBOX Ancien\r\n")
        assert await asyncio.to_thread(begun.wait, 10)
        raw.writer.transport.abort()
        await until(lambda: connection._lost)
        gone.set()
        await asyncio.wait([connection.task])
        honest = await rig.client(port)
        assert b"* 6 EXISTS\r\n" in await honest.ok(b"SELECT Ancien")


async def test_a_copy_cut_short_by_the_end_of_the_server_is_known_as_such(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has to stop at once undoes nothing any more: its successor does."""
    for number in range(3):
        rig.deliver(message(number))
    monkeypatch.setattr(copy, "BATCH", 1)
    begun, ended = threading.Event(), threading.Event()
    carry, calls = Writing.copy, iter(range(10))

    def held(self: Writing, *given: Any) -> Any:
        if next(calls) == 1:
            begun.set()
            assert ended.wait(10)
        return carry(self, *given)

    monkeypatch.setattr(Writing, "copy", held)
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        await raw.send(b"a COPY 1:* Archive\r\n")
        assert await asyncio.to_thread(begun.wait, 10)
        await door.stop(0.01)
        ended.set()
    rig.store.write(lambda w: None).result()
    assert rig.store.check().counted["copies under way"] == 1

    def copied(reading: Any) -> int:
        bal = reading.bal(Address.parse(ZOE))
        return len(reading.uids(reading.mailbox(bal.id, "Archive").id))

    assert rig.store.read(copied).result() == 2
    assert rig.store.write(lambda w: w.give_up_copies()).result() == 1
    (left,) = rig.store.read(lambda r: r.copies_left()).result()
    assert not rig.store.write(lambda w: w.undo_copy(left)).result()
    assert rig.store.read(copied).result() == 0
