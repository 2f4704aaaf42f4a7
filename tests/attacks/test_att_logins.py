"""Guessing passwords keeps nobody else from logging in (ATT-14, F13)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.attacks.wire import HONEST, Wire, plain, reader
from tests.crash.kills import supervisor, workers
from tests.space import Account, RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]

TOLERATED_S = 2.0
"""Of processor time, which knows no other load of the machine: the honest login itself takes one
slow hash behind a few others."""
GUESSERS = 120
_numbers = itertools.count()


def guess() -> bytes:
    """A login that was never seen, so that every guess costs the server a slow hash."""
    return b"AUTH PLAIN " + plain(f"u{next(_numbers)}@cabinet-b.test", "x" * 20) + b"\r\n"


@contextmanager
def guessers(space: RunningSpace, count: int) -> Iterator[None]:
    """Sessions on 465 that each have several guesses waiting."""
    with ExitStack() as stack:
        for _ in range(count):
            wire = stack.enter_context(Wire(space.b.submissions)).secure(space.user_context())
            wire.send(b"EHLO x\r\n" + guess() + guess() + guess() + guess())
        yield


def processor_s(space: RunningSpace) -> float:
    """Processor time that the attacked workers have used."""
    ticks = 0
    for pid in workers(supervisor(space.b)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def log_in_s(space: RunningSpace, account: Account, source: str) -> float:
    """How much the workers did until a submission login of `account` was answered."""
    begun = processor_s(space)
    with Wire(space.b.submissions, source).secure(space.user_context()) as wire:
        wire.reply()
        wire.say(b"EHLO x")
        assert wire.say(b"AUTH PLAIN " + plain(account.address, account.password))[:3] == "235"
    return processor_s(space) - begun


def test_att_14_guessers_do_not_delay_the_login_of_somebody_elsewhere(
    space: RunningSpace,
) -> None:
    with guessers(space, GUESSERS):
        assert log_in_s(space, space.b.doctor(3), HONEST) < TOLERATED_S


def test_att_14_guessers_behind_the_same_address_do_not_delay_who_is_known(
    space: RunningSpace,
) -> None:
    account = space.b.doctor(4)
    log_in_s(space, account, "127.0.0.1")
    with guessers(space, GUESSERS):
        assert log_in_s(space, account, "127.0.0.1") < TOLERATED_S


def test_att_14_guesses_of_those_who_have_left_cost_nothing(space: RunningSpace) -> None:
    for _ in range(3):
        with guessers(space, GUESSERS):
            pass
    assert log_in_s(space, space.b.of_type("INT"), "127.0.0.1") < TOLERATED_S


ODD = (
    "",
    "*",
    "(",
    "'or'1'='1",
    "%",
    "\x7f",
    "\ufb01",
    "\u017foe",
    "zoe.tartempion\t@cabinet-b.test",
)


def test_att_22_odd_logins_are_wrong_logins_and_nothing_else(space: RunningSpace) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(reader(space, space.b, None)) for _ in ODD]
        for wire, login in zip(wires, ODD, strict=True):
            octets = login.encode()
            wire.send(b"a LOGIN {%d+}\r\n%b {0+}\r\n\r\n" % (len(octets), octets))
        for wire in wires:
            assert wire.until(b"a")[-1].startswith(b"a NO [AUTHENTICATIONFAILED]")
