"""The short walk of `python -m tests.fuzz_imap`, and that it would find something."""

from __future__ import annotations

import random

import pytest

from mssmtp.imap import syntax
from mssmtp.message import structure
from tests.fuzz_imap import NAMES
from tests.fuzzing import mutated
from tests.imap.hostile import TARGETS

COUNTS = {"framer": 150, "parser": 300, "name": 400, "structure": 150, "session": 100}


def walk(name: str, count: int, seed: int = 11) -> None:
    target = TARGETS[name]()
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for octets in (b"", b"\x00", *(mutated(chance, target) for _ in range(count))):
        target.play(octets)


@pytest.mark.attack
@pytest.mark.parametrize("name", NAMES)
def test_att_11_hostile_octets_are_read_or_refused(name: str) -> None:
    walk(name, COUNTS[name])


@pytest.mark.attack
@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_pass(name: str) -> None:
    target = TARGETS[name]()
    for octets in target.seeds[:: 4 if name == "session" else 1]:
        target.play(octets)


def test_all_targets_have_a_name_on_the_command_line() -> None:
    assert tuple(TARGETS) == NAMES


def test_the_walk_finds_octets_that_no_string_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "string", lambda value: b'"' + value + b'"')
    with pytest.raises(AssertionError):
        walk("structure", 100)


def test_the_walk_finds_a_defect_that_is_not_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(cursor: syntax.Cursor, wanted: bytes) -> None:
        assert cursor.takes(wanted), "IndexError, or what a careless parser raises"

    monkeypatch.setattr(syntax.Cursor, "expect", careless)
    with pytest.raises(AssertionError):
        walk("parser", 300)
