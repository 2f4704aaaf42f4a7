"""The short walk of `python -m tests.fuzz_trust`, and that it would find something."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from lxml import etree

from mssmtp import pki, whitelist_signature
from mssmtp.pki import listed_name
from tests.authority import A_SUBJECT
from tests.fuzz_trust import NAMES
from tests.fuzzing import mutated
from tests.trust import hostile
from tests.trust.hostile import TARGETS, Found

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.attack
@pytest.mark.requirement("OP-32")
@pytest.mark.parametrize("name", NAMES)
def test_att_33_hostile_octets_are_judged_or_refused(name: str) -> None:
    """Some hundred inputs for each target, the same each time."""
    target = TARGETS[name]()
    chance = random.Random(33)  # noqa: S311 - repeatable, not secret
    for octets in (*target.seeds, b"", b"\x00", *(mutated(chance, target) for _ in range(400))):
        target.play(octets)


def walk(name: str, count: int = 400) -> None:
    target = TARGETS[name]()
    chance = random.Random(34)  # noqa: S311 - repeatable, not secret
    for _ in range(count):
        target.play(mutated(chance, target))


def test_the_walk_finds_a_list_that_nobody_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(root: etree._Element, signer: x509.Certificate) -> etree._Element:
        root.remove(root[-1])
        return root

    monkeypatch.setattr(whitelist_signature, "_verified_root", unchecked)
    with pytest.raises(Found):
        walk("list")


def test_the_walk_finds_another_name_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pki.certificate_name
    monkeypatch.setattr(pki, "certificate_name", lambda name: listed_name(A_SUBJECT.text))
    monkeypatch.setattr(hostile, "certificate_name", real)
    with pytest.raises(Found):
        walk("certificate", 2_000)


def test_the_walk_finds_a_careless_reader_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "listed_name", lambda text: listed_name(text.replace("\\", "")))
    with pytest.raises(Found):
        walk("name")


def test_all_targets_have_a_name_on_the_command_line() -> None:
    assert tuple(TARGETS) == NAMES


def test_the_command_says_how_it_was_led() -> None:
    command = [sys.executable, "-m", "tests.fuzz_trust", "--seconds", "0.1", "--random"]
    done = subprocess.run(
        [*command, "--target", "name"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "at random" in done.stdout
    assert "inputs" in done.stdout
