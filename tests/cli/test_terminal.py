"""What others wrote reaches the administrator's terminal as text (lists, certificates, replies)."""

from __future__ import annotations

import json

import pytest

from mssmtp.cli.output import err, fail, out, print_json, print_table

pytestmark = pytest.mark.attack

HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\u2028e\x7ff"
STEERING = frozenset(HOSTILE) - frozenset("abcdef[2J31m")


def test_no_character_of_a_peer_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(HOSTILE, markup=False, style="bold")
    err.print(f"[red]{HOSTILE}", markup=False)
    print_table(HOSTILE, (HOSTILE,), [(HOSTILE,)])
    with pytest.raises(SystemExit):
        fail(HOSTILE, HOSTILE, HOSTILE)
    shown = "".join(capsys.readouterr())
    assert not STEERING & set(shown)
    assert "a?[2Jb?31mc?d?e?f" in shown


def test_json_says_the_same_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HOSTILE, "town": "Saint-Étienne"})
    shown = capsys.readouterr().out
    assert not STEERING & set(shown)
    assert json.loads(shown) == {"name": HOSTILE, "town": "Saint-Étienne"}
    assert "Saint-Étienne" in shown


def test_our_own_lines_and_colours_stay(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("[green]one[/]\ntwo")
    assert capsys.readouterr().out == "one\ntwo\n"
