"""Mail is taken only from who is entitled to send it, at the moment it is taken."""

from __future__ import annotations

import time

import pytest

from tests.attacks.test_att_isolation import TAKES_EFFECT_S, suspended
from tests.attacks.wire import submitter
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]


def letter(author: object, *fields: str) -> bytes:
    lines = [f"From: {author}", *fields, "To: x@x.test", "Subject: x", "", "x"]
    return "\r\n".join(lines).encode()


def test_att_18_a_transaction_begun_before_the_suspension_sends_nothing(
    space: RunningSpace,
) -> None:
    account = space.b.doctor(3)
    with submitter(space, space.b, account) as wire:
        assert wire.say(f"MAIL FROM:<{account}>".encode())[:3] == "250"
        assert wire.say(f"RCPT TO:<{space.b.doctor(0)}>".encode())[:3] == "250"
        assert wire.say(b"DATA")[:3] == "354"
        with suspended(space.b, account):
            time.sleep(TAKES_EFFECT_S)
            wire.send(letter(account) + b"\r\n.\r\n")
            assert wire.reply().startswith("530 5.7.0")
