"""aioimaplib: a client on the same loop as the door."""

from __future__ import annotations

from typing import Any

import aioimaplib
import pytest

from tests.imap.world import message
from tests.imap_server.rig import PASSWORD, ZOE, Rig

pytestmark = pytest.mark.end_to_end


async def test_aioimaplib_works_and_hears_in_idle(rig: Rig) -> None:
    rig.deliver(message(1))
    async with rig.door() as (_, port):
        client: Any = aioimaplib.IMAP4_SSL("127.0.0.1", port, timeout=10, ssl_context=rig.context)
        await client.wait_hello_from_server()
        assert (await client.login(ZOE, PASSWORD)).result == "OK"
        assert (await client.select("INBOX")).result == "OK"
        idling = await client.idle_start(10)
        rig.deliver(message(2))
        assert await client.wait_server_push(10) == [b"2 EXISTS", b"2 RECENT"]
        client.idle_done()
        await idling
        fetched = await client.fetch("2", "(UID RFC822)")
        assert bytes(fetched.lines[1]) == message(2)
        assert (await client.uid("store", "2", "+FLAGS", "(\\Seen $MDNSent)")).result == "OK"
        assert (await client.append(message(3), "Drafts", "\\Draft")).result == "OK"
        assert (await client.copy("1", "Archive")).result == "OK"
        assert (await client.move("1", "Trash")).result == "OK"
        assert (await client.search("ALL")).lines[0] == b"1"
        assert (await client.logout()).result == "OK"
