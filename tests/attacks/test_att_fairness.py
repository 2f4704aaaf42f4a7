"""A client that sends without waiting never keeps a worker from serving others (D11, ATT-41)."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.attacks.wire import HONEST, Wire, flood, peer, reader
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]

ACTIONS = 20


def served_meanwhile(space: RunningSpace) -> None:
    """Honest clients of both protocols are answered, again and again, while the flood goes on.

    Before connections gave way they waited as long as it lasted: here, longer than a client does.
    """
    with reader(space, space.b, space.b.doctor(1), HONEST) as honest:
        for _ in range(ACTIONS):
            honest.ok(b"NOOP")
    for _ in range(ACTIONS):
        with Wire(space.b.smtp, HONEST) as wire:
            assert wire.reply().startswith("220")


@pytest.mark.parametrize("certificate", [None, "revoked", "name_not_listed"])
def test_att_41_refused_mail_commands_never_stall_the_worker(
    space: RunningSpace, certificate: str | None
) -> None:
    files = space.test_certificate(certificate) if certificate else None
    with ExitStack() as stack:
        wires = [stack.enter_context(peer(space, space.b, files)) for _ in range(2)]
        with flood(wires, b"MAIL FROM:<a@guest.test>\r\n" * 1_000):
            served_meanwhile(space)


def test_att_41_a_refused_peer_is_sent_away_soon(space: RunningSpace) -> None:
    with peer(space, space.b, space.test_certificate("revoked")) as wire:
        wire.send(b"MAIL FROM:<a@guest.test>\r\n" * 100)
        replies = [wire.reply()[:3] for _ in range(11)]
        assert replies == ["554"] * 10 + ["421"]
        assert wire.is_closed()
