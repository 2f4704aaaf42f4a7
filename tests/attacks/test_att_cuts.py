"""A letter is taken whole and acknowledged, or leaves nothing (D1, D2)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.attacks.wire import Wire, peer, reader
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]

LETTER = b"From: x@guest.test\r\nSubject: coupe-%d\r\n\r\nx\r\n.\r\n"


def half_closed(wire: Wire) -> None:
    socket.socket.shutdown(wire.socket, socket.SHUT_WR)


def reset(wire: Wire) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


def closed_by_tls(wire: Wire) -> None:
    wire.socket.settimeout(1.0)
    with suppress(OSError):
        wire.socket.unwrap()  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", [half_closed, reset, closed_by_tls])
def test_att_01_data_cut_before_its_last_octet_is_never_taken(
    space: RunningSpace, end: Callable[[Wire], None]
) -> None:
    recipient = space.b.doctor(4)
    for cut in range(1, 8):
        with peer(space, space.b, space.guest) as wire:
            wire.say(b"MAIL FROM:<x@guest.test>")
            wire.say(f"RCPT TO:<{recipient}>".encode())
            wire.say(b"DATA")
            wire.send((LETTER % cut)[:-cut])
            end(wire)
            with suppress(OSError, ValueError):
                assert b"250" not in wire.socket.recv(65_536)
    with peer(space, space.b, space.guest) as wire:
        wire.say(b"MAIL FROM:<x@guest.test>")
        wire.say(f"RCPT TO:<{recipient}>".encode())
        wire.say(b"DATA")
        wire.send(LETTER % 0)
        assert wire.reply().startswith("250")
    with reader(space, space.b, recipient) as box:
        box.ok(b"SELECT INBOX")
        for cut in range(1, 8):
            assert box.ok(b"SEARCH SUBJECT coupe-%d" % cut)[0] == b"* SEARCH"
        assert box.ok(b"SEARCH SUBJECT coupe-0")[0] != b"* SEARCH"
