"""A session by a token outlives it, and ends after eight hours with a reason (OP-83)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.smtp_in.fakes import ZOE
from tests.smtp_in.rig import NowClock, Rig, logged_in


@pytest.mark.requirement("OP-83")
@pytest.mark.parametrize("by_token", [True, False])
async def test_eight_hours_after_its_token_a_session_hears_421(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, *, by_token: bool
) -> None:
    now = [0.0]
    monkeypatch.setattr(NowClock, "monotonic", lambda self: now[0])
    if by_token:
        rig.logins.principal = replace(rig.logins.principal, subject="899900000110")
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        now[0] = 8 * 3_600 - 1.0
        assert (await wire.say("NOOP")).startswith("250 ")
        now[0] += 1
        said = await wire.say(f"MAIL FROM:<{ZOE}>")
        assert said.startswith("421 4.7.0 Session ouverte" if by_token else "250 "), said
        if by_token:
            assert await wire.is_closed()
