"""A session by a token outlives it, and ends after eight hours with a reason (OP-83)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.imap.world import Client, World


def by_token(client: Client) -> None:
    session = client.session
    session.principal_or_none = replace(session.principal, subject="899900000110")


@pytest.mark.requirement("OP-83")
@pytest.mark.parametrize("is_idle", [False, True])
def test_eight_hours_after_its_token_a_session_hears_bye(world: World, *, is_idle: bool) -> None:
    client, other = world.client(), world.client()
    by_token(client)
    world.clock.advance(timedelta(hours=8).total_seconds() - 1)
    client.ok("NOOP")  # the token has been over for hours
    by_token(client)
    world.clock.advance(1)
    client.received.clear()
    if is_idle:
        client.send(b"i IDLE\r\n")
    else:
        client.send(b"n NOOP\r\n")
    assert b"* BYE [EXPIRED] Session ouverte depuis 8 heures" in bytes(client.received)
    assert not client.is_open
    other.ok("NOOP")  # who has a password is not concerned
