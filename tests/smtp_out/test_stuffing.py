"""What goes out behind DATA, for every short content there is (ATT-01)."""

from __future__ import annotations

import itertools
import re

import pytest

from mssmtp.smtp.receiver import DataLimits, DataReceiver
from mssmtp.smtp_wire import DotStuffer, NotTransmissible

LIMITS = DataLimits(size_octets=1_000, flood_octets=4_000)
_AMBIGUOUS = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")


def emitted(content: bytes, at: int) -> bytes | None:
    """The octets of DATA for `content` in two blocks; None: it is refused."""
    stuffer = DotStuffer()
    try:
        return stuffer.feed(content[:at]) + stuffer.feed(content[at:]) + stuffer.finish()
    except NotTransmissible:
        return None


@pytest.mark.attack
def test_att_01_every_short_content_is_refused_or_arrives_as_it_was() -> None:
    for length in range(8):
        for combination in itertools.product((b"\r", b"\n", b".", b"\0", b"x"), repeat=length):
            content = b"".join(combination)
            octets = emitted(content, length // 2)
            assert (octets is None) == bool(_AMBIGUOUS.search(content)), content
            if octets is None:
                continue
            receiver = DataReceiver(LIMITS)
            arrived = receiver.feed(octets)
            assert receiver.done, content
            assert receiver.clean, content
            assert (receiver.rest, receiver.ambiguous) == (b"", False), content
            assert arrived.removesuffix(b"\r\n") == content.removesuffix(b"\r\n"), content
            assert emitted(content, 0) == octets, content
