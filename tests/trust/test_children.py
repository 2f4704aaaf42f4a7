"""The two processes that read a list and a big CRL for us: what is made of their ends (OP-28)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from mssmtp.crl_child import read_apart
from mssmtp.demo.authority import Authority
from mssmtp.pki import Anchors
from mssmtp.revocation import BadRevocationList, Revocation
from mssmtp.whitelist import ListRefused, ListRules
from mssmtp.whitelist_child import verify_in_child

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
BIG = 262_144
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="module")
def rules(space: Authority, anchors: Anchors) -> ListRules:
    return ListRules(space.pin, anchors, Revocation.of(space.crls(), anchors), 1_048_576)


def ending(end: Exception | tuple[int, bytes]) -> Run:
    def run(*args: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        if isinstance(end, Exception):
            raise end
        return subprocess.CompletedProcess("child", end[0], end[1], b"")

    return run


# What would be taken from a child that ended well.
CRLS, LIST = b"A[]\n", b"A" + json.dumps([NOW.isoformat(), "0" * 64, "CN=x", 0]).encode() + b"\n"
REFUSAL = b'R["signature", ""]'
BAD_ENDS = {
    "hangs": subprocess.TimeoutExpired("child", 60),
    "does not start": OSError("no process"),
    "is killed after its CRLs": (-9, CRLS),
    "is killed after its list": (-9, LIST),
    "is killed after its refusal": (-9, REFUSAL),
    "fails after its CRLs": (1, CRLS),
    "fails after its list": (1, LIST),
    "says nothing": (0, b""),
    "says something else": (0, b"?" + REFUSAL[1:]),
}


@pytest.mark.attack
@pytest.mark.parametrize("end", BAD_ENDS.values(), ids=BAD_ENDS)
def test_a_child_that_does_not_end_well_has_said_nothing(
    anchors: Anchors,
    rules: ListRules,
    monkeypatch: pytest.MonkeyPatch,
    end: Exception | tuple[int, bytes],
) -> None:
    monkeypatch.setattr(subprocess, "run", ending(end))
    with pytest.raises(BadRevocationList, match="^not read "):
        read_apart(bytes(BIG), anchors)
    with pytest.raises(ListRefused, match="^no verification: "):
        verify_in_child(b"<a/>", rules, NOW)


def test_what_a_child_says_is_taken_when_it_ends_well(
    anchors: Anchors, rules: ListRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would prove nothing."""
    monkeypatch.setattr(subprocess, "run", ending((0, CRLS)))
    assert read_apart(bytes(BIG), anchors) == ()
    monkeypatch.setattr(subprocess, "run", ending((0, LIST)))
    assert verify_in_child(b"<a/>", rules, NOW).date == NOW
    monkeypatch.setattr(subprocess, "run", ending((0, b"Rnot readable")))
    with pytest.raises(BadRevocationList, match="^not readable$"):
        read_apart(bytes(BIG), anchors)
    monkeypatch.setattr(subprocess, "run", ending((0, REFUSAL)))
    with pytest.raises(ListRefused, match="^signature$"):
        verify_in_child(b"<a/>", rules, NOW)


def test_a_child_that_dies_refuses_the_list(
    rules: ListRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.whitelist_child.sys.executable", "/bin/false")
    with pytest.raises(ListRefused, match="^no verification: child ended with 1$"):
        verify_in_child(b"<a/>", rules, NOW)


@pytest.mark.attack
def test_no_child_is_started_for_a_small_crl_or_a_list_over_the_limit(
    anchors: Anchors, rules: ListRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    def run(*args: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        started.append(args)
        return subprocess.CompletedProcess("child", 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(BadRevocationList):
        read_apart(bytes(BIG - 1), anchors)
    with pytest.raises(ListRefused, match="^too big: 9 octets$"):
        verify_in_child(bytes(9), replace(rules, max_octets=8), NOW)
    assert started == []
    with pytest.raises(BadRevocationList):
        read_apart(bytes(BIG), anchors)
    with pytest.raises(ListRefused, match="^no verification"):
        verify_in_child(bytes(8), replace(rules, max_octets=8), NOW)
    assert len(started) == 2
