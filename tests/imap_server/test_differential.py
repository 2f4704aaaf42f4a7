"""Generated sessions beside Debian's Dovecot: the short run of the long command."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.dovecot import Dovecot
from tests.imap_server import differential
from tests.imap_server.differential import DIED, Difference, Outcome, PeerGone, Theirs

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


def test_every_difference_from_dovecot_has_its_reason() -> None:
    played, found = differential.run(range(1, 26))
    assert played > 400
    unknown = [each for each in found if each.reason is None]
    assert unknown == [], "\n".join(differential.shown(e.ours, e.theirs) for e in unknown)


def test_a_difference_without_a_reason_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differential, "REASONS", [])
    _, found = differential.run(range(1, 4))
    assert any(each.reason is None for each in found)


# ---------------------------------------------------------------- a peer that dies

SILENCE = Outcome("", "", {})
THREAD = b"THREAD ORDEREDSUBJECT us-ascii ALL"


class Starting:
    """Starts nothing, and counts."""

    def __init__(self) -> None:
        self.started = 0

    @contextmanager
    def __call__(self) -> Iterator[Dovecot]:
        self.started += 1
        yield Peer(Path(), 0)


class Peer(Dovecot):
    """One that has said nothing."""

    @property
    def log(self) -> str:
        return ""


def test_only_a_thread_by_subject_may_stay_without_an_answer() -> None:
    said = Outcome("OK", "", {})
    assert DIED.holds(b"UID " + THREAD, said, SILENCE)
    assert not DIED.holds(b"THREAD REFS us-ascii ALL", said, SILENCE)
    assert not any(each.holds(b"NOOP", said, SILENCE) for each in differential.REASONS)


def test_a_peer_that_died_is_started_again_and_no_session_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played: list[int] = []

    def compare(seed: int, place: Path, peer: Dovecot) -> tuple[int, list[Difference]]:
        if seed == 3 and 3 not in played:
            played.append(seed)
            raise PeerGone("no greeting")
        played.append(seed)
        silent = [Difference(seed, THREAD, SILENCE, SILENCE, DIED)] if seed == 5 else []
        return 7, silent

    monkeypatch.setattr(differential, "compare", compare)
    start = Starting()
    total, found = differential.run(range(1, 11), start)
    assert (total, len(found)) == (70, 1)
    assert played == [1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10]
    assert start.started == 3


def test_a_peer_that_dies_again_and_again_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(seed: int, place: Path, peer: Dovecot) -> tuple[int, list[Difference]]:
        return 1, [Difference(seed, THREAD, SILENCE, SILENCE, DIED)]

    monkeypatch.setattr(differential, "compare", compare)
    start = Starting()
    with pytest.raises(PeerGone, match="7 times, the last after b'THREAD"):
        differential.run(range(1, 51), start)
    assert start.started == 7


@pytest.mark.parametrize("said", [b"", b"* OK ready\r\n", b"* OK ready\r\nlogin NO later\r\n"])
def test_a_peer_that_lets_nobody_in_is_gone(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def answer() -> None:
            connection, _ = door.accept()
            connection.sendall(said)
            connection.close()

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(PeerGone):
            Theirs(door.getsockname()[1], "seed1")
        thread.join()
