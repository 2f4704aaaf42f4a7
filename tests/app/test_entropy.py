"""Randomness that is drawn in advance is given once, to one process."""

from __future__ import annotations

import os
import time

import pytest

from mssmtp.outside import SystemEntropy


@pytest.mark.parametrize("octets", [0, 1, 12, 32, 256, 257, 5_000])
def test_as_many_octets_as_were_asked_for(octets: int) -> None:
    entropy = SystemEntropy()
    assert [len(entropy.token_bytes(octets)) for _ in range(100)] == [octets] * 100


def test_nothing_is_given_twice() -> None:
    entropy = SystemEntropy()
    given = [entropy.token_bytes(12) for _ in range(10_000)]
    assert len(set(given)) == len(given)


@pytest.mark.attack
def test_a_forked_process_draws_anew() -> None:
    """Two workers with the same nonces under one key would give its mail away."""
    entropy = SystemEntropy()
    entropy.token_bytes(16)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, entropy.token_bytes(64))
        os._exit(0)
    mine = entropy.token_bytes(64)
    assert os.read(reading, 64) != mine
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.attack
def test_what_was_drawn_long_ago_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies of a virtual machine may wake up with the same octets in hand."""
    entropy = SystemEntropy()
    entropy.token_bytes(16)
    kept = bytes(entropy._drawn)
    later_s = time.monotonic() + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert entropy.token_bytes(64) not in kept
