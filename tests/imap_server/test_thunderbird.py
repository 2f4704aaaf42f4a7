"""Stock Thunderbird is a password client: its OAuth2 providers are built in, and it offers no
certificate that autoconfiguration names (CL-30)."""

from __future__ import annotations

import asyncio
import base64

import pytest

from mssmtp.identity.sasl import MECHANISMS
from mssmtp.logins import offered
from tests.identity.bound_client import connected
from tests.imap_server.rig import PASSWORD, ZOE, Rig


@pytest.mark.requirement("CL-30")
async def test_it_logs_in_by_password_and_is_asked_for_no_certificate(rig: Rig) -> None:
    """PLAIN stands beside whatever else is offered, and the handshake names no authority."""
    assert set(MECHANISMS) <= set(offered(rig.settings))

    def session(port: int) -> None:
        with connected(port) as wire:
            assert wire.connection.get_client_ca_list() == []
            assert b"AUTH=PLAIN" in wire.line()
            said = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode())
            wire.send(b"1 AUTHENTICATE PLAIN")
            assert wire.line().startswith(b"+")
            wire.send(said)
            assert wire.line().startswith(b"1 OK")

    async with rig.door() as (_, port):
        await asyncio.to_thread(session, port)
