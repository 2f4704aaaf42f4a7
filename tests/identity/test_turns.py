"""Slow checks of one peer wait behind one another and behind nobody else's (ATT-41)."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from mssmtp.identity import BadCredentials
from mssmtp.logins import PER_ADDRESS, Logins, Passwords
from mssmtp.mail import Principal


class Slow:
    """Every password is wrong, which is found once the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []
        self.changed = threading.Condition()

    def is_known(self, login: str, password: str) -> bool:
        return False

    def authenticate(self, login: str, password: str, address: str = "") -> Principal:
        with self.changed:
            self.begun.append(address)
            self.changed.notify_all()
        self.gate.wait(10)
        raise BadCredentials

    def has_begun(self, address: str) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: address in self.begun, 10)


@pytest.mark.attack("ATT-41")
@pytest.mark.parametrize(
    ("guesser", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::{}", "2001:db8:0:2::1")]
)
async def test_att_41_a_peer_has_its_turns_and_others_theirs(guesser: str, other: str) -> None:
    slow = Slow()
    logins = Logins(cast(Passwords, slow), "imap")
    places = [guesser.format(number) for number in range(PER_ADDRESS + 2)]
    checks = [
        asyncio.create_task(logins.check("zoe", "guess", place, lambda: False))
        for place in (*places, other)  # the other one comes last and is served
    ]
    assert await asyncio.to_thread(slow.has_begun, other)
    assert set(slow.begun) == {*places[:PER_ADDRESS], other}
    assert len(slow.begun) == PER_ADDRESS + 1
    slow.gate.set()
    answers = await asyncio.gather(*checks, return_exceptions=True)
    assert all(isinstance(each, BadCredentials) for each in answers)
    assert len(slow.begun) == len(checks)
    logins.close()
