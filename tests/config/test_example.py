"""The example file: generated from the settings, complete, and true when uncommented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mssmtp.config import Settings, known_keys, load
from mssmtp.config_example import OPERATOR_VALUES, render
from tests.home import typed

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "config" / "operator.toml"


def test_the_committed_example_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert typed("config-example").out == COMMITTED.read_text("utf-8")
    postgresql = ROOT / "config" / "postgresql.toml"
    assert typed("config-example", "--postgresql").out == postgresql.read_text("utf-8")
    assert load(postgresql).store.database is not None
    assert typed("config-example", "--check").code == 0


def test_the_check_fails_when_the_example_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = typed("config-example", "--check")
    assert answer.code == 1
    assert "Run: ./run config-example > config/operator.toml" in answer.err
    (tmp_path / "config").mkdir()
    (tmp_path / "config/operator.toml").write_text(COMMITTED.read_text("utf-8") + "\n# mine\n")
    assert typed("config-example", "--check").code == 1
    (tmp_path / "config/operator.toml").write_text(COMMITTED.read_text("utf-8"))
    answer = typed("config-example", "--check")
    assert "Run: ./run config-example --postgresql > config/postgresql.toml" in answer.err


def test_the_example_is_valid_and_sets_what_an_operator_fills_in(tmp_path: Path) -> None:
    settings = load(COMMITTED)
    assert settings.operator.name == OPERATOR_VALUES["operator.name"]
    assert settings.listen.operators is not None
    assert settings.listen.operators.port == 25


def test_every_setting_is_in_it_with_a_description() -> None:
    lines = COMMITTED.read_text("utf-8").splitlines()
    leaves = {
        key.rpartition(".")[2]
        for key in known_keys(Settings)
        if not any(other.startswith(f"{key}.") for other in known_keys(Settings))
    }
    for name in leaves:
        at = [i for i, line in enumerate(lines) if re.match(rf"(# )?{name} = ", line)]
        assert at, name
        assert all(lines[i - 1].startswith("# ") for i in at), name


def test_every_default_it_shows_is_the_true_one(tmp_path: Path) -> None:
    """Uncommenting all of them changes nothing; tables of which there are none stay away."""
    shown = re.compile(r"# (\w+ = (?!\(|\{ host).*)")
    committed = re.sub(r"(?ms)^# \[.*?(?=^\[|\Z)", "", COMMITTED.read_text("utf-8"))
    text = "\n".join(
        match.group(1) if (match := shown.fullmatch(line)) else line
        for line in committed.splitlines()
    )
    assert text.count("\n# ") < committed.count("\n# ") - 30
    uncommented = tmp_path / "all.toml"
    uncommented.write_text(text, "utf-8")
    assert load(uncommented) == load(COMMITTED)


def test_values_reach_the_file_in_every_form() -> None:
    values = OPERATOR_VALUES | {
        "operator.domains": ("a.test", "b.test"),
        "smtp_out.ports": {"mx.a.test": 10025},
        "smtp_out.nameserver_port": 5353,
        "limits.imap_compress": True,
        "listen.imap": "::1:143",
        "operator.name": 'quote " and \\',
    }
    read = tomllib.loads(render(values))
    assert read["operator"]["domains"] == ["a.test", "b.test"]
    assert read["smtp_out"] == {"ports": {"mx.a.test": 10025}, "nameserver_port": 5353}
    assert read["limits"]["imap_compress"] is True
    assert read["listen"]["imap"] == {"host": "::1", "port": 143}
    assert read["operator"]["name"] == 'quote " and \\'
